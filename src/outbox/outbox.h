/*-------------------------------------------------------------------------
 *
 * outbox.h
 *	  All access to the tables of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_OUTBOX_H
#define TC_OUTBOX_H

#include "access/htup.h"
#include "access/transam.h"
#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "base/extension.h"
#include "request/identity.h"
#include "request/method.h"
#include "request/queue_key.h"
#include "request/replies.h"

/*---- for the verbs, in the caller's transaction ----*/

/*
 * Number of the queue of this database for that key; it is made, as part of
 * the transaction, if there is none.  Positive, unless it is of requests that
 * are never sent: the worker looks at positive numbers only.
 */
#define TC_QUEUE_IS_SUPPRESSED(number) ((number) < 0)
extern int64 tc_queue_number(const QueueKey *key);

/* A queue of a role, for some server and namespace */
typedef struct OwnQueue
{
	Oid			role;
	int64		number;
} OwnQueue;

/*
 * The queues of this database for that key, whichever number they have been
 * given: of its role, or else of all others whose privileges the role has.
 * palloc'd, sorted by role, their number in *count.
 */
extern OwnQueue *tc_own_queues(const QueueKey *key, int *count);
extern OwnQueue *tc_privileged_queues(const QueueKey *key, int *count);

/* The recorded activity that a request is about */
typedef struct RequestKey
{
	const char *key;
	int64		queue;			/* in which it is recorded */
	int64		id;				/* of the recording; 0: the request waits for
								 * it */
} RequestKey;

/*
 * Take the id that the next request gets, then record the encoded request
 * under it.  The xid of its identity is that of the top-level transaction; the
 * row goes with the subtransaction that made it.  key is NULL unless the request
 * names its activity by one.  awaited_until: how long it waits for its
 * activity, or for its key; 0 = it does not.
 */
extern int64 tc_outbox_next_id(void);

/* The id that was drawn last, or one near to it; 0 if that is not known. */
extern int64 tc_outbox_last_id(void);

extern void tc_outbox_insert(const RequestIdentity *identity, int64 queue,
							 RequestMethod method, const uint8 *request, size_t len,
							 const RequestKey *key, TimestampTz awaited_until);

/*
 * Is there a request of that id that is not finished, as of now, whoever made
 * it?
 */
extern bool tc_outbox_has(int64 id);

/*---- for the worker; each of them needs a transaction unless it says otherwise ----*/

/*
 * A snapshot kept as a value: which transactions had ended when it was
 * taken.  xip holds those below xmax that had not, ascending.
 */
typedef struct ReadSnapshot
{
	uint64		xmax;
	int			nxip;
	uint64		xip[FLEXIBLE_ARRAY_MEMBER];
} ReadSnapshot;

/* The active snapshot as a value, in CurrentMemoryContext. */
extern ReadSnapshot *tc_snapshot_take(void);

/* Does the snapshot see what the transaction did (if it committed)?  NULL sees nothing. */
extern bool tc_snapshot_sees(const ReadSnapshot *snapshot, uint64 xid);

/*
 * Position of a reader in a queue.  What is read next is what `goal` sees
 * and `done` does not, in the order (xid, id), from behind (xid, id) on.
 */
typedef struct ReadPosition
{
	ReadSnapshot *done;			/* NULL: nothing has been read yet */
	ReadSnapshot *goal;			/* NULL: no batch is being read */
	int			xip_index;		/* next of done->xip; nxip: reading from
								 * done->xmax on */
	uint64		xid;			/* last row read; 0 = none in this range */
	int64		id;
	MemoryContext context;		/* of the snapshots */
} ReadPosition;

/*
 * Move a position back so that rows of transactions from xid on are read
 * again.
 */
extern void tc_read_position_rewind(ReadPosition *position, uint64 xid);

/* Free what a position holds. */
extern void tc_read_position_forget(ReadPosition *position);

/* A row as the worker gets it */
typedef struct OutboxRow
{
	int64		id;
	uint64		xid;
	ItemPointerData tid;
	RequestMethod method;
	bool		maybe_sent;
	int			attempts;
	TimestampTz requested_at;
	TimestampTz next_attempt_at;	/* 0 = none */
	TimestampTz awaited_until;	/* 0 = is not */
	TimestampTz expires_at;		/* 0 = not given */
	bool		is_absent;		/* the activity, when it was looked for;
								 * nothing was sent since */
	const uint8 *request;		/* valid until the consumer returns */
	size_t		len;
	const char *former_identities;	/* the same; NULL = none */
	int64		recorded_activity;	/* which it names by a key; 0 = by none */
	const char *awaited_key;	/* that was not recorded yet, then nothing was
								 * ever sent; else NULL */
	const char *problem;		/* why the bytes cannot be read, then request
								 * is NULL; or NULL */
} OutboxRow;

/* Takes a row; false: enough, this row was the last that is taken now. */
typedef bool (*RowConsumer) (void *arg, const OutboxRow *row);

/*
 * Give the consumer the next rows of a queue, and move the position behind
 * the last one given.  Returns true if the batch is exhausted.
 */
extern bool tc_outbox_read(int64 queue, ReadPosition *position,
						   RowConsumer consumer, void *arg);

/*
 * Give the consumer the row of that id; false if there is none.
 */
extern bool tc_outbox_read_one(int64 id, RowConsumer consumer, void *arg);

/* Counting rows of a queue, some at a time */
typedef struct RowCount
{
	int64		rows;			/* so far; 0 = it has not begun */
	TimestampTz since;			/* when the first of these was requested */
	uint64		xid;			/* the last one */
	int64		id;
} RowCount;

/*
 * Count rows of a queue that are behind the position, max further ones at the
 * most: those of transactions that committed late are not counted.  True if
 * these were the last ones.
 */
extern bool tc_outbox_count_on(int64 queue, const ReadPosition *position, int max, RowCount *count);

/* About how many rows of a queue are behind the position, max at the most. */
extern int	tc_outbox_count(int64 queue, const ReadPosition *position, int max);

/*
 * How many requests of this database wait for a server, max at the most, and
 * what it was called when they were made; also for other processes than the
 * worker.
 */
extern int	tc_outbox_count_for_server(Oid server, int max, char **name);

/*
 * The queue of a number: was it made in this database of this cluster, and if
 * so what it is, palloc'd.  False if the active snapshot sees no such queue,
 * or somebody has locked the table.
 */
extern bool tc_queue_find(int64 number, QueueRow *row, bool *is_from_here);

/* A queue that has rows, or had some */
typedef struct FoundQueue
{
	int64		number;
	bool		made_here;		/* if not, its requests are held */
	QueueRow	row;			/* if made here; palloc'd */
} FoundQueue;

/*
 * Queues that may have rows, apart from those of the nknown given numbers,
 * which are sorted: a palloc'd array, sorted by number, its length in *count.
 * Looked at are at most so many numbers behind *position, which is moved; it
 * is 0 when there are no more.
 * NULL if somebody has locked the table of queues.
 */
extern FoundQueue *tc_outbox_find_queues(const int64 *known, int nknown, int64 *position,
										 int max, int *count);

/*
 * Say in the log that requests of another cluster or database are held, if
 * there are some among the first ones, and it was not said before.
 */
extern void tc_outbox_report_held(void);

/* The error code of what waits for its activity, or has waited in vain */
#define TC_ACTIVITY_NOT_FOUND "ACTIVITY_NOT_FOUND"

/* Of what has waited for its key in vain, or has found several */
#define TC_KEY_NOT_RECORDED "KEY_NOT_RECORDED"
#define TC_KEY_AMBIGUOUS "KEY_AMBIGUOUS"

/* What became of a request */
typedef enum OutcomeKind
{
	OUTCOME_DELIVERED,			/* Temporal took it */
	OUTCOME_UNCONFIRMED,		/* it may have: that could not be proved */
	OUTCOME_REJECTED,			/* Temporal refused it for good */
	OUTCOME_SUPERSEDED,			/* a heartbeat in whose place a later request
								 * is sent */
	OUTCOME_RETRY				/* not finished: try again at next_attempt_at */
} OutcomeKind;

typedef struct Outcome
{
	OutcomeKind kind;
	int64		id;
	uint64		xid;
	ItemPointerData tid;		/* where the row was read */
	int			attempts;
	bool		maybe_sent;		/* OUTCOME_RETRY */
	TimestampTz at;				/* when it was known */
	TimestampTz next_attempt_at;	/* OUTCOME_RETRY */
	const char *error_code;		/* constant, or NULL */
	char	   *error_message;	/* in the database's encoding, or NULL */
	bool		has_heartbeat_reply;
	HeartbeatReply heartbeat_reply;
	bool		recorded;		/* set by tc_outbox_record() */
	bool		gone;			/* the same: its row was not there any more */
	int			not_kept;		/* the same: so many heartbeats are only
								 * counted because of it */
	TimestampTz replaced_at;	/* the same: when one of these had ended that
								 * was kept until now; 0 = none */
} Outcome;

/*
 * A verdict by a key was delivered, and what was recorded under the key, in
 * that queue, is about to be removed.  False: not now.
 */
typedef bool (*KeyFinisher) (int64 queue, const char *key);

/*
 * Record outcomes.  A row that is gone counts as recorded: somebody
 * discarded it.  One that another transaction is changing is not recorded;
 * nothing here waits for other transactions.  Returns whether, after the
 * transaction, tc_delivery_summarize() is due.
 */
extern bool tc_outbox_record(Outcome *outcomes, int count, KeyFinisher before_finish);

/*---- queue_error.c ----*/

/*
 * Say, or with error_code NULL no longer say, why all requests of a queue
 * wait.  False, as below, if somebody has locked the table.
 */
extern bool tc_outbox_set_queue_error(int64 queue, const char *error_code,
									  const char *error_message, TimestampTz next_attempt_at);

/* Forget what a former worker said of its queues. */
extern bool tc_outbox_clear_queue_errors(void);

/*---- queue_pause.c ----*/

/* The error code of what waits because it was paused */
#define TC_PAUSED "PAUSED"

typedef enum PauseState
{
	PAUSE_NONE,
	PAUSE_ON,
	PAUSE_UNKNOWN				/* somebody has locked the table */
} PauseState;

/*
 * Are requests of a queue, which go into that namespace, paused as of now,
 * whatever the active snapshot sees?  *words, palloc'd, says by whom.
 */
extern PauseState tc_queue_pause(const QueueKey *key, const char *namespace_name, char **words);

/*---- queue_tidying.c ----*/

/* Are there so many queues that it is worth while to look for unused ones? */
extern bool tc_queues_are_many(void);

/*
 * A step of one of two passes over temporal_internal.queue, see there for what must be
 * between them, from behind the number *position on, which is moved; it is 0
 * when all were looked at.  False if that cannot be done now.
 */
extern bool tc_queues_retire(int64 *position);
extern bool tc_queues_remove(int64 *position);

/*---- delivery_segments.c ----*/

/*
 * Begin the next segment of temporal_internal.delivery if it is time to, truncating
 * what it held; says in *begun whether it did.  Returns when to call again.
 * Passes over (and says to come back soon) while somebody reads the segment.
 */
extern TimestampTz tc_delivery_rotate(bool *begun);

/*
 * When the segments of temporal_internal.delivery were begun, the first one and the
 * last one.  The first is DT_NOBEGIN if there is one of which that is not
 * known.  False if somebody has locked the table that says so.
 */
extern bool tc_delivery_begun(TimestampTz *first, TimestampTz *last);

/* The segment of temporal_internal.delivery that is being filled; -1 if that cannot be seen at once. */
extern int	tc_delivery_segment(void);

/* Are there full pages of the segment that its index does not know of? */
extern bool tc_delivery_has_grown(Relation segment);

/*
 * Have the index of the segment know of pages that are full.  To be called in
 * a transaction of its own, which must lose nothing if it fails.
 */
extern void tc_delivery_summarize(void);

/* Columns of temporal_internal.queue */
#define QUEUE_NATTS 9
typedef enum QueueAttr
{
	QUEUE_NUMBER = 1,
	QUEUE_SYSTEM_IDENTIFIER,
	QUEUE_DATABASE,
	QUEUE_REQUESTED_BY,
	QUEUE_SERVER,
	QUEUE_REQUESTED_BY_NAME,
	QUEUE_SERVER_NAME,
	QUEUE_NAMESPACE,
	QUEUE_UNUSED_SINCE
} QueueAttr;

/* Is a queue of that origin one of this database of this cluster? */
extern bool tc_is_made_here(int64 system_identifier, Oid database);

/* Columns of temporal_internal.outbox; temporal_internal.rejected has one more. */
#define OUTBOX_NATTS 19
#define REJECTED_NATTS 20
typedef enum OutboxAttr
{
	OUTBOX_ID = 1,
	OUTBOX_XID,
	OUTBOX_REQUESTED_AT,
	OUTBOX_QUEUE,
	OUTBOX_WRITTEN_BY,
	OUTBOX_METHOD,
	OUTBOX_MAYBE_SENT,
	OUTBOX_REQUEST,
	OUTBOX_ATTEMPTS,
	OUTBOX_NEXT_ATTEMPT_AT,
	OUTBOX_ERROR_CODE,
	OUTBOX_ERROR_MESSAGE,
	OUTBOX_FORMER_IDENTITIES,
	OUTBOX_DECISIONS,
	OUTBOX_KEY,
	OUTBOX_RECORDED_IN,
	OUTBOX_RECORDED_ACTIVITY,
	OUTBOX_AWAITED_UNTIL,
	OUTBOX_EXPIRES_AT,
	REJECTED_FINISHED_AT
} OutboxAttr;

#endif							/* TC_OUTBOX_H */
