/*-------------------------------------------------------------------------
 *
 * key_waits.h
 *	  Requests that wait until their key is recorded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_KEY_WAITS_H
#define TC_KEY_WAITS_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"

#include "outbox/recorded_activity.h"

/* A request that waits */
typedef struct KeyWait
{
	int64		key_hash;
	int64		queue;			/* its own */
	int64		id;
	TimestampTz awaited_until;
	ItemPointerData tid;		/* where that is said; not for those to be
								 * added */
} KeyWait;

/* How long a request waits that is to be given up at a time, or never (0) */
static inline TimestampTz
tc_key_wait_until(TimestampTz awaited_until, TimestampTz expires_at)
{
	return expires_at == 0 ? awaited_until : Min(awaited_until, expires_at);
}

/* Those of a queue whose keys have the same hash: mostly that is one key */
typedef struct KeyGroup
{
	int64		key_hash;
	int64		queue;
} KeyGroup;

/* In the transaction that makes a request that waits; its tid is of no use. */
extern void tc_key_wait_insert(const KeyWait *wait);

/*
 * All others are for the worker, in its transactions.  A table that somebody
 * has locked is an error, as are damaged rows.
 */

/* Lock what is looked at here for the rest of the transaction, without waiting. */
extern void tc_key_waits_begin(void);

/* The same; false if that cannot be done now. */
extern bool tc_key_waits_try_begin(void);

/*
 * Is anything known to wait for a key of that hash, as far as indexes are there
 * to look?  False if that cannot be known now.
 */
extern bool tc_key_is_awaited(uint64 key_hash, bool *is_awaited);

/* Say of requests that they wait; of some of them that may be said already. */
extern void tc_key_waits_add(const KeyWait *waits, int count);
extern void tc_key_wait_remove(const KeyWait *wait);

/*
 * Go on to the group behind a position, of the same hash or of any; the
 * position becomes that of the group.  False if there is none.
 */
extern bool tc_key_group_next(KeyGroup *position, bool same_hash);

/* The same, to the group of the same queue with the next hash. */
extern bool tc_key_group_next_of_queue(KeyGroup *position);

/* The first requests of a group, in the order of ids; returns how many. */
extern int	tc_key_group_waits(const KeyGroup *group, KeyWait *waits, int max);

/*
 * Some of those whose time is over at `now`, and was not before `from`; when
 * that of the next one is goes to *next, DT_NOEND if there are no others.
 */
extern int	tc_key_waits_due(TimestampTz from, TimestampTz now, KeyWait *waits, int max,
							 TimestampTz *next);

/* What became of a request that waits */
typedef enum KeyResolution
{
	KEY_RESOLVED,				/* it is one for the activity now, made by
								 * this transaction */
	KEY_BUSY,					/* somebody is changing its row */
	KEY_UNREADABLE				/* what was recorded, or the request */
} KeyResolution;

/* Have a request that waits be one for an activity. */
extern KeyResolution tc_key_wait_resolve(int64 id, const RecordedActivity *activity,
										 bool maybe_sent);

#endif							/* TC_KEY_WAITS_H */
