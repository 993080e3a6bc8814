/*-------------------------------------------------------------------------
 *
 * key_marks.h
 *	  Keys that were recorded while requests wait for keys.
 *
 * Keys are known by their hashes.  What does not find room is not named: then
 * the worker looks at all that wait, first at those of the queue, if one of the
 * keys that are named is of the same.  Each of some groups of roles has its own
 * room, so that one role's keys do not take that of others.  A key is told with
 * the queue in which it was recorded: there it is mostly awaited.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_KEY_MARKS_H
#define TC_KEY_MARKS_H

#define TC_KEY_SHARES 32
#define TC_KEYS_OF_SHARE 16
#define TC_KEYS_MAX (TC_KEY_SHARES * TC_KEYS_OF_SHARE)
#define TC_KEY_SHARE_OF(role) ((int) ((role) % TC_KEY_SHARES))

/* So many keys of a transaction are named */
#define TC_KEYS_OF_WAKE 8

typedef struct RecordedKey
{
	uint64		hash;
	int64		queue;
	Oid			role;
	bool		and_others;		/* in the same queue, which found no room */
} RecordedKey;

/* What a transaction has recorded */
typedef struct KeyWake
{
	int			nkeys;
	RecordedKey keys[TC_KEYS_OF_WAKE];
	bool		more;			/* and further ones */
} KeyWake;

/* Part of a worker's slot: its spinlock protects them */
typedef struct KeyMarks
{
	bool		awaited;		/* else nobody need tell */
	bool		unnamed;		/* some did not find room */
	uint8		counts[TC_KEY_SHARES];
	RecordedKey keys[TC_KEY_SHARES][TC_KEYS_OF_SHARE];
} KeyMarks;

#endif							/* TC_KEY_MARKS_H */
