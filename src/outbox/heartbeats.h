/*-------------------------------------------------------------------------
 *
 * heartbeats.h
 *	  Recorded activities for which heartbeats are sent, for the worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEATS_H
#define TC_HEARTBEATS_H

#include "executor/tuptable.h"
#include "storage/block.h"

#include "outbox/outbox.h"
#include "outbox/row_scan.h"

/* A recording with heartbeats; bytes are valid as long as its tuple is */
typedef struct HeartbeatRow
{
	int64		id;
	uint64		xid;
	ItemPointerData tid;
	Datum		key;			/* text */
	RequestIdentity identity;
	RequestMethod method;
	const uint8 *heartbeat;		/* encoded; NULL: it cannot be read */
	size_t		len;
	TimestampTz expires_at;		/* DT_NOEND = never */
	int64		interval_ms;	/* 0: as Temporal's timeout says */
	int64		session;		/* without which there are none; 0: whatever
								 * sessions there are */
} HeartbeatRow;

/* Takes a row; false: enough, this row was the last that is taken now. */
typedef bool (*HeartbeatConsumer) (void *arg, const HeartbeatRow *row);

/* Are there recordings at all, and can they be read at once? */
typedef enum RecordedState
{
	RECORDED_NONE,
	RECORDED_SOME,
	RECORDED_LOCKED				/* somebody has locked the table, or dropped
								 * its index */
} RecordedState;

extern RecordedState tc_recorded_state(void);

/*
 * Give the consumer the next recordings with heartbeats of a queue, and move
 * the position behind the last one given.  Returns true if the batch is
 * exhausted.  An error if somebody has locked the table.
 */
extern bool tc_heartbeats_read(int64 queue, ReadPosition *position, HeartbeatConsumer consumer,
							   void *arg);

/* Rows that were read before, as they are now */
typedef struct HeartbeatRows
{
	RowScan		scan;
	OwnQueue   *queues;			/* of tc_heartbeat_is_replaced(), ... */
	int			nqueues;		/* ... -1: not looked for yet */
	BlockNumber nblocks;
	TupleTableSlot *slot;
} HeartbeatRows;

/*
 * Give the consumer the row of a queue that was read at tid, wherever it is
 * now; false if it is there no more.
 */
extern void tc_heartbeat_rows_open(HeartbeatRows *rows);
extern bool tc_heartbeat_row(HeartbeatRows *rows, int64 queue, uint64 xid, int64 id, ItemPointer tid,
							 HeartbeatConsumer consumer, void *arg);

/*
 * Was it replaced?  Of several rows for a key the last one counts: one before it
 * is there if it was committed later, or if somebody was about to remove it and
 * did not.  All rows are of one queue, of that key.
 */
extern bool tc_heartbeat_is_replaced(HeartbeatRows *rows, const HeartbeatRow *row, const QueueKey *key);
extern void tc_heartbeat_rows_close(HeartbeatRows *rows);

/*---- heartbeat_answers.c ----*/

/* Why no heartbeats are sent any more, besides the error codes of Temporal's refusals */
#define TC_SESSION_ENDED "SESSION_ENDED"
#define TC_VERDICT_DELIVERED "VERDICT_DELIVERED"

/* What was answered to the heartbeats of a recording, the last time that it changed */
typedef struct HeartbeatAnswer
{
	int64		id;				/* of the recording */
	int64		queue;
	uint64		xid;
	HeartbeatReply reply;
	const char *error_code;		/* then no more are sent; or NULL */
	TimestampTz at;
} HeartbeatAnswer;

/* What was answered to heartbeats of a recording; false: nothing yet, or that cannot be seen now. */
extern bool tc_heartbeat_answer_find(int64 id, HeartbeatReply *reply, bool *ended);

/* Why no heartbeats of a recording are sent any more; palloc'd, or NULL as above. */
extern char *tc_heartbeat_answer_error(int64 id);

/* Note an answer in place of the one before it.  False if that cannot be done now. */
extern bool tc_heartbeat_answers_put(const HeartbeatAnswer *answers, int count);

/*
 * A step of a pass over all answers, as tc_activities_tidy(): those without a
 * recording go.
 */
extern bool tc_heartbeat_answers_tidy(BlockNumber *block);

#endif							/* TC_HEARTBEATS_H */
