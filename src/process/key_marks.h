/*-------------------------------------------------------------------------
 *
 * key_marks.h
 *	  Keys that were recorded while requests wait for keys.
 *
 * Keys are known by their hashes.  What does not find room is not named: then
 * the worker looks at all that wait.  Each of some groups of roles has its own
 * room, so that one role's keys do not take that of others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_KEY_MARKS_H
#define TC_KEY_MARKS_H

#define TC_KEY_SHARES 32
#define TC_KEYS_OF_SHARE 16
#define TC_KEYS_MAX (TC_KEY_SHARES * TC_KEYS_OF_SHARE)

/* So many keys of a transaction are named */
#define TC_KEYS_OF_WAKE 8

/* What a transaction has recorded */
typedef struct KeyWake
{
	int			nkeys;
	uint64		keys[TC_KEYS_OF_WAKE];
	Oid			roles[TC_KEYS_OF_WAKE];
	bool		more;			/* and further ones */
} KeyWake;

/* Part of a worker's slot: its spinlock protects them */
typedef struct KeyMarks
{
	bool		awaited;		/* else nobody need tell */
	bool		unnamed;		/* some did not find room */
	uint8		counts[TC_KEY_SHARES];
	uint64		keys[TC_KEY_SHARES][TC_KEYS_OF_SHARE];
} KeyMarks;

#endif							/* TC_KEY_MARKS_H */
