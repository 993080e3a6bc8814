/*-------------------------------------------------------------------------
 *
 * intake.c
 *	  Rows of the outbox become requests in memory.
 *
 * - A row that was taken in is not read again until its request is dropped,
 *	 nor is it skipped: position and memory change together, row by row, and an
 *	 error or a rollback takes neither back, because nothing is written here.
 * - A queue is no longer unread only when a batch has been read to its end that
 *	 began in this turn, hence after all wakes that were taken: see wakes.c.
 * - What was read must not be sent before tc_intake_make_durable(): rows of
 *	 transactions with synchronous_commit = off are visible before they are
 *	 durable, and the next worker has to know that something may be sent.
 *
 * A row that cannot be sent is no error: if its bytes are no request, it is
 * rejected; if they cannot be read, it stays as it is and is looked at again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/foreign_text.h"
#include "worker/coalesce.h"
#include "worker/doubt.h"
#include "worker/intake.h"
#include "worker/key_waits.h"
#include "worker/queue.h"
#include "worker/recording.h"
#include "worker/wakes.h"
#include "worker/wants.h"

/* Rows read from a queue in one turn; and before it is known whether its channel can be connected */
#define READ_CHUNK 1024
#define READ_FIRST 64

/* Where options are not known */
#define DEFAULT_REQUEST_TIMEOUT_MS 10000

/* A request whose row is found damaged is looked at again after that long */
#define DAMAGED_RETRY_MS 3600000

/* What is not recorded yet is looked at again after that time */
#define UNRECORDED_RETRY_MS 20

/* Rows were read that are not certain to be durable */
static bool undurable;

/* For take_in() */
typedef struct Reader
{
	Queue	   *queue;
	int			left;
} Reader;

static bool take_in(void *arg, const OutboxRow *row);
static void expire_if_ready(Request *request);
static void take_in_malformed(Queue *queue, const OutboxRow *row);
static bool note_xid(void *arg, const OutboxRow *row);
static void note_doubt(Request *request, const OutboxRow *row);
static bool take_retry(void *arg, const OutboxRow *row);
static void note_damage(Request *request, const char *problem);
static void flush_wal(void);

void
tc_intake_read(Queue *queue)
{
	Reader		reader = {queue, tc_queue_can_send(queue) ? READ_CHUNK : READ_FIRST};
	bool		begins = queue->position.goal == NULL;

	if (tc_outbox_read(queue->number, &queue->position, take_in, &reader))
		tc_queue_set_unread(queue, !begins);
}

bool
tc_intake_has_rows(Queue *queue)
{
	uint64		xid;
	bool		begins = queue->position.goal == NULL;

	if (tc_outbox_read(queue->number, &queue->position, note_xid, &xid))
	{
		tc_queue_set_unread(queue, !begins);
		return false;
	}
	tc_read_position_rewind(&queue->position, xid);
	return true;
}

static bool
note_xid(void *arg, const OutboxRow *row)
{
	*(uint64 *) arg = row->xid;
	return false;
}

static bool
take_in(void *arg, const OutboxRow *row)
{
	Reader	   *reader = arg;
	Queue	   *queue = reader->queue;
	bool		maybe_sent = row->maybe_sent || (tc_doubt_covers(row->xid) && !row->is_absent) ||
		tc_doubt_is_of_copy(row->requested_at);
	Request    *request;
	bool		malformed;

	if (row->awaited_key != NULL)
	{
		/* it is read anew when it can be sent */
		tc_key_wait_note(queue, row);
		return --reader->left > 0 && !tc_key_waits_are_many(queue);
	}
	undurable = true;
	request = tc_queue_add(queue, row, maybe_sent, &malformed);
	if (request != NULL && queue->unread_rows > 0)
		queue->unread_rows--;
	if (malformed)
		take_in_malformed(queue, row);
	else if (request != NULL)
	{
		bool		was_blocked = request->state == REQUEST_BLOCKED;

		if (maybe_sent)
			note_doubt(request, row);
		tc_coalesce(request);
		/* its turn has come, and its bytes are at hand */
		if (was_blocked && request->state == REQUEST_RETRYING)
			tc_request_reload(request, row);
		expire_if_ready(request);
	}
	reader->left--;
	return reader->left > 0 && tc_queue_takes_rows(queue) && tc_queue_has_room_for_rows(queue);
}

/* If it may have been applied it stays ready, to be looked up. */
static void
expire_if_ready(Request *request)
{
	PooledChannel *channel = request->queue->channel;

	if (request->state == REQUEST_READY && channel != NULL &&
		tc_request_has_expired(request, channel->config))
		(void) tc_request_expire(request);
}

static void
take_in_malformed(Queue *queue, const OutboxRow *row)
{
	Request    *request = tc_queue_add_malformed(queue, row);

	if (row->problem != NULL)
		note_damage(request, row->problem);
	else
	{
		request->outcome = OUTCOME_REJECTED;
		request->outcome_at = GetCurrentTimestamp();
		request->error_code = "MALFORMED";
	}
	tc_recording_add(request);
}

/*
 * What may have been sent by others can be applied until its deadline is over.
 * When a worker that could say so sent it, the row has the time; what was
 * adopted may have been sent elsewhere up to now.
 */
static void
note_doubt(Request *request, const OutboxRow *row)
{
	int			timeout_ms = request->queue->channel != NULL ?
		request->queue->channel->config->request_timeout_ms : DEFAULT_REQUEST_TIMEOUT_MS;
	int64		latest = tc_monotonic_ms() + timeout_ms + TC_DEADLINE_MARGIN_MS;

	request->doubt_until = 0;
	if (row->maybe_sent && row->next_attempt_at == 0)
		request->doubt_until = latest;
	else if (row->maybe_sent)
		request->doubt_until = tc_monotonic_ms() +
			TimestampDifferenceMilliseconds(GetCurrentTimestamp(), row->next_attempt_at);
	if (tc_doubt_covers(row->xid) || tc_doubt_is_of_copy(row->requested_at))
		request->doubt_until = Max(request->doubt_until, tc_doubt_began_at() +
								   timeout_ms + TC_DEADLINE_MARGIN_MS);
	/* a clock that was put back must not let it wait for longer */
	request->doubt_until = Min(request->doubt_until, latest);
}

void
tc_intake_reload(Queue *queue)
{
	for (int left = READ_CHUNK; left > 0 && tc_queue_wants_retries(queue); left--)
	{
		Request    *request = tc_queue_next_retry(queue);

		if (!tc_outbox_read_one(request->id, take_retry, request))
		{
			/* somebody discarded it */
			tc_recording_remove(request);
			tc_request_forget(request);
		}
	}
}

static bool
take_retry(void *arg, const OutboxRow *row)
{
	Request    *request = arg;

	undurable = true;
	request->expires_at = row->expires_at;

	/*
	 * what is sent must not be in a row that says that nothing was, if this
	 * worker crashes: that is about to be recorded
	 */
	if (row->is_absent && !request->is_absent && request->unrecorded)
		tc_request_retry_at(request, tc_monotonic_ms() + UNRECORDED_RETRY_MS);
	else if (row->problem == NULL)
	{
		tc_request_reload(request, row);
		expire_if_ready(request);
	}
	else
	{
		note_damage(request, row->problem);
		tc_request_retry_at(request, tc_monotonic_ms() + DAMAGED_RETRY_MS);
		tc_recording_add(request);
	}
	return false;
}

/*
 * The bytes of a request cannot be read.  Its row stays as it is, so that it
 * can be sent if the table is repaired: the next worker will see.
 */
static void
note_damage(Request *request, const char *problem)
{
	request->outcome = OUTCOME_RETRY;
	request->attempts++;
	request->next_attempt_at = 0;
	request->error_code = "DATA_CORRUPTED";
	tc_request_set_message(request, tc_words_from_server(problem));
}

void
tc_intake_note_undurable(void)
{
	undurable = true;
}

bool
tc_intake_is_durable(void)
{
	return !undurable;
}

bool
tc_intake_make_durable(void)
{
	if (undurable && tc_doubt_note_sending())
	{
		flush_wal();
		undurable = false;
	}
	return !undurable;
}

/*
 * All that was visible is durable then.  The insert position may stand just
 * behind a page header, up to which no record reaches: then the flush has to
 * stop before it.
 */
static void
flush_wal(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		lsn -= SizeOfXLogLongPHD;
	else if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		lsn -= SizeOfXLogShortPHD;
	XLogFlush(lsn);
}
