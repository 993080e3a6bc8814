/*-------------------------------------------------------------------------
 *
 * reading.c
 *	  Which queues there are, and what is read of them when.
 *
 * Rows are read when a wake says that there may be new ones, as far as there
 * is room for them and they can be sent; requests that were tried before are
 * read again when they are due.  All that a turn needs of the database is
 * done in one short transaction: finding queues that are new, today's
 * options, rows, and saying why a queue waits.
 *
 * Nothing is sent here, and an error stops the queue that had it for a
 * while, not the others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/foreign_text.h"
#include "process/worker_slots.h"
#include "request/request.h"
#include "worker/channel_pool.h"
#include "worker/doubt.h"
#include "worker/error_notes.h"
#include "worker/flow.h"
#include "worker/known_queues.h"
#include "worker/reading.h"
#include "worker/recheck.h"
#include "worker/recording.h"
#include "worker/transaction.h"

/* Rows read from a queue in one turn; and before it is known whether its channel can be connected */
#define READ_CHUNK 1024
#define READ_FIRST 64

/* Nothing more is read while so many outcomes cannot be recorded */
#define UNRECORDED_MAX 20000

/* A queue whose rows cannot be read, or whose options cannot be used, waits that long */
#define QUEUE_BROKEN_MS 60000

/* After an error while reading nothing is read for that long, doubling */
#define READ_RETRY_MIN_MS 10
#define READ_RETRY_MS 1000

/* A queue whose rows could not be read so often in a row is left alone for a while */
#define READ_TRIES 8

/* Where options are not known */
#define DEFAULT_REQUEST_TIMEOUT_MS 10000

/* A request whose row is found damaged is looked at again after that long */
#define DAMAGED_RETRY_MS 3600000

static bool report_held;		/* there are new ones, maybe with requests that are held */
static uint32 unanswered[TC_WAKE_WORDS];	/* bits of wakes for which no row was read yet */
static bool some_unanswered;
static bool some_muted;			/* wakes for queues that cannot be read now */
static bool stopped;
static bool rows_were_read;		/* and must not be sent before the WAL is flushed */
static int64 read_not_before;	/* monotonic ms, after an error */
static int	read_failures;		/* in a row */
static LoopTimer timer;
static Queue *current;			/* whose rows are being read, for error handling */

/* For consume_row() */
typedef struct Reader
{
	Queue	   *queue;
	int			left;
} Reader;

static void channel_changed(PooledChannel *channel);
static void timer_due(void *arg);
static void look_behind_wakes(void);
static bool wants_rows(Queue *queue);
static bool wants_retries(Queue *queue);
static bool wants_options(Queue *queue);
static bool needs_database(void);
static bool queues_want(void);
static void resume_if_recorded(void);
static void look_for_queues(void);
static void find_work(void *arg);
static void report_held_if_new(void);
static void read_work(void *arg);
static void reading_failed(void);
static bool has_rows(Queue *queue);
static bool consume_nothing(void *arg, const OutboxRow *row);
static void options_changed(void);
static void use_options(Queue *queue);
static void find_server(Queue *queue);
static void read_queue(Queue *queue);
static void reload_retries(Queue *queue);
static bool consume_row(void *arg, const OutboxRow *row);
static void note_doubt(Request *request, const OutboxRow *row);
static bool consume_retry(void *arg, const OutboxRow *row);
static void note_damage(Request *request, const char *problem);
static void flush_wal(void);

void
tc_reading_init(void)
{
	tc_known_queues_init();
	tc_doubt_init();
	tc_channels_init(channel_changed);
	tc_error_notes_init();
	tc_recheck_want();
}

void
tc_reading_wake(const uint32 bits[TC_WAKE_WORDS])
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	uint32		unknown[TC_WAKE_WORDS];	/* bits of no known queue */
	uint32		muted[TC_WAKE_WORDS] = {0}; /* of such that cannot be read now */
	uint32		listening[TC_WAKE_WORDS] = {0};

	memcpy(unknown, bits, sizeof(unknown));
	for (int i = 0; i < nqueues; i++)
	{
		Queue	   *queue = queues[i];

		if (!tc_wake_bit_is_set(bits, queue->number))
			continue;
		tc_wake_bit_clear(unknown, queue->number);
		/* known already, and of no use: further ones would be in vain */
		if (queue->unread && !wants_rows(queue))
		{
			tc_wake_bit_set(muted, queue->number);
			tc_worker_mute_wakes(queue->number);
			some_muted = true;
		}
		else
		{
			tc_wake_bit_set(listening, queue->number);
			tc_wake_bit_set(unanswered, queue->number);
			some_unanswered = true;
		}
		queue->unread = true;
		tc_queue_activate(queue);
	}
	for (int i = 0; i < TC_WAKE_WORDS; i++)
	{
		if (unknown[i] != 0)
			tc_known_queues_find();
		if ((muted[i] & ~listening[i]) != 0)
			tc_known_queues_find_soon();
	}
	if (tc_wake_bit_is_set(bits, TC_WAKE_RECHECK))
		tc_recheck_want();
}

/* Let nothing of a queue wait any longer. */
static void
try_now(Queue *queue)
{
	tc_flow_pause_until(queue, 0);
	tc_queue_retry_all(queue);
}

void
tc_reading_wake_all(bool now)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	tc_recheck_want();
	tc_known_queues_find();
	for (int i = 0; i < nqueues; i++)
	{
		queues[i]->unread = true;
		if (now)
			try_now(queues[i]);
		tc_queue_activate(queues[i]);
	}
}

void
tc_reading_turn(void)
{
	resume_if_recorded();
	if (needs_database())
	{
		bool		only_find = !tc_recheck_is_wanted() && !queues_want();

		/* before the snapshot that a batch begins with */
		if (some_muted && !only_find)
		{
			tc_worker_hear_wakes();
			some_muted = false;
		}
		if (tc_run_transaction(only_find ? find_work : read_work, NULL))
			read_failures = 0;
		else
			reading_failed();
	}
	if (tc_error_notes_are_due())
	{
		int			nqueues;
		Queue	  **queues = tc_known_queues(&nqueues);

		tc_error_notes_turn(queues, nqueues);
	}
	/* also if an error came after rows had been read: they will be sent */
	if (rows_were_read)
	{
		if (tc_doubt_note_sending())
			flush_wal();
		else
			tc_timer_set(&timer, tc_monotonic_ms() + READ_RETRY_MS, timer_due, NULL);
	}
	if (some_unanswered)
		look_behind_wakes();
}

bool
tc_reading_wants(Queue *queue)
{
	return wants_rows(queue) || wants_retries(queue) || wants_options(queue);
}

bool
tc_reading_is_possible(void)
{
	return read_not_before <= tc_monotonic_ms();
}

bool
tc_reading_allows_sending(void)
{
	return !rows_were_read;
}

bool
tc_reading_wants_queues(void)
{
	return tc_known_queues_due() || tc_recheck_is_wanted();
}

void
tc_reading_stop(void)
{
	stopped = true;
}

bool
tc_reading_is_idle(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	if (tc_known_queues_wanted() || tc_recheck_is_wanted())
		return false;
	for (int i = 0; i < nqueues; i++)
		if (queues[i]->unread)
			return false;
	return true;
}

int
tc_reading_count_waiting(const char *server, Oid role, int64 number, int max)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	int			count = 0;

	for (int i = 0; i < nqueues && count < max; i++)
	{
		const Queue *queue = queues[i];

		if (strcmp(queue->row.server_name, server) != 0 ||
			(OidIsValid(role) && queue->row.key.role != role) ||
			(number != 0 && queue->number != number))
			continue;
		count += queue->count[REQUEST_READY] + queue->count[REQUEST_RETRYING] +
			queue->count[REQUEST_BLOCKED] + tc_queue_in_flight(queue);
		if (queue->unread && count < max)
			count += tc_outbox_count(queue->number, &queue->position, max - count);
	}
	return Min(count, max);
}

/* Runs beneath the wire: must not raise errors. */
static void
channel_changed(PooledChannel *channel)
{
	dlist_iter	iter;

	dlist_foreach(iter, &channel->queues)
		tc_queue_activate(dlist_container(Queue, channel_node, iter.cur));
}

/* The timer only wakes the loop. */
static void
timer_due(void *arg)
{
}

/*
 * A wake for which its queues had no rows may have been for a queue that is
 * not known yet and shares their bit.
 */
static void
look_behind_wakes(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	some_unanswered = false;
	for (int i = 0; i < nqueues; i++)
	{
		if (!tc_wake_bit_is_set(unanswered, queues[i]->number))
			continue;
		if (queues[i]->unread)
			some_unanswered = true;
		else
		{
			tc_wake_bit_clear(unanswered, queues[i]->number);
			tc_known_queues_find();
		}
	}
}

bool
tc_queue_is_connected(const Queue *queue)
{
	return queue->channel != NULL &&
		tc_channel_state(queue->channel->channel) == CHANNEL_READY;
}

bool
tc_retry_is_due(Queue *queue)
{
	Request    *next = tc_queue_next_retry(queue);

	return next != NULL && next->due <= tc_monotonic_ms();
}

/* Is it time to read rows?  Before a channel is ready only to see whether there are any. */
static bool
wants_rows(Queue *queue)
{
	if (!queue->unread || tc_flow_is_paused(queue) || stopped ||
		tc_recording_count() > UNRECORDED_MAX || !tc_queue_takes_rows(queue))
		return false;
	if (tc_queue_is_connected(queue))
		return queue->count[REQUEST_READY] < queue->window &&
			tc_queue_has_room(queue, 2 * queue->window + READ_CHUNK);
	if (queue->channel != NULL &&
		(tc_channels_backing_off(queue->channel) ||
		 (queue->channel->lacks_room && !tc_queue_may_have(queue, SHARE_CONNECTIONS))))
		return false;
	return tc_queue_loaded(queue) == 0 && tc_queue_may_have(queue, SHARE_BYTES);
}

static bool
wants_retries(Queue *queue)
{
	return !tc_flow_is_paused(queue) && !stopped && tc_queue_is_connected(queue) && tc_retry_is_due(queue) &&
		queue->count[REQUEST_READY] < queue->window &&
		tc_queue_has_room(queue, 2 * queue->window + READ_CHUNK);
}

static bool
wants_options(Queue *queue)
{
	if (queue->look_again)
		return queue->look_after <= tc_monotonic_ms();
	return queue->channel == NULL && !tc_flow_is_paused(queue) &&
		(queue->unread || queue->count[REQUEST_READY] > 0 ||
		 queue->count[REQUEST_CONFIRMING] > 0 || tc_retry_is_due(queue));
}

static bool
needs_database(void)
{
	return tc_reading_is_possible() && (tc_reading_wants_queues() || queues_want());
}

static bool
queues_want(void)
{
	dlist_iter	iter;

	if (tc_channels_options_changed())
		return true;
	dlist_foreach(iter, tc_active_queues())
		if (tc_reading_wants(dlist_container(Queue, active_node, iter.cur)))
			return true;
	return false;
}

/*
 * When recording has caught up, rows are wanted again, also of queues that
 * were put to sleep meanwhile.
 */
static void
resume_if_recorded(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	static bool behind = false;

	if (tc_recording_count() > UNRECORDED_MAX)
		behind = true;
	else if (behind)
	{
		behind = false;
		for (int i = 0; i < nqueues; i++)
			if (queues[i]->unread)
				tc_queue_activate(queues[i]);
	}
}

static void
look_for_queues(void)
{
	if (tc_known_queues_look())
		report_held = true;
}

/* No queue is read here: the worker may not hear of what is committed after this snapshot. */
static void
find_work(void *arg)
{
	look_for_queues();
	report_held_if_new();
}

/* What a turn needs of the database. */
static void
read_work(void *arg)
{
	dlist_iter	iter;

	if (tc_known_queues_due())
		look_for_queues();
	if (tc_recheck_is_wanted())
		tc_recheck_work();
	if (tc_channels_options_changed())
		options_changed();

	dlist_foreach(iter, tc_active_queues())
	{
		Queue	   *queue = dlist_container(Queue, active_node, iter.cur);

		current = queue;
		if (wants_options(queue) &&
			(queue->look_again || queue->count[REQUEST_READY] > 0 ||
			 queue->count[REQUEST_CONFIRMING] > 0 || tc_retry_is_due(queue) || has_rows(queue)))
			use_options(queue);
		if (wants_retries(queue))
			reload_retries(queue);
		if (wants_rows(queue))
			read_queue(queue);
		current = NULL;
	}
	report_held_if_new();
}

/* Last, and once: it looks at any rows, which may be damaged. */
static void
report_held_if_new(void)
{
	if (!report_held)
		return;
	report_held = false;
	tc_outbox_report_held();
}

/*
 * After an error in read_work(): most go by themselves, so it is tried again
 * soon.  If one does not, the queue that has it waits, and the others go on.
 */
static void
reading_failed(void)
{
	int64		now = tc_monotonic_ms();
	int64		wait = Min(READ_RETRY_MS, READ_RETRY_MIN_MS << Min(read_failures, 10));

	read_failures++;
	if (current != NULL && read_failures >= READ_TRIES)
	{
		current->look_after = now + (tc_transaction_error_is_transient() ?
									 READ_RETRY_MS : QUEUE_BROKEN_MS);
		tc_flow_pause_until(current, current->look_after);
		read_failures = 0;
	}
	current = NULL;
	tc_recheck_want();
	read_not_before = now + wait;
	tc_timer_set(&timer, read_not_before, timer_due, NULL);
}

/*
 * Is there a row to be read?  If not there is no reason to look at options, or
 * to say what is wrong with them.
 */
static bool
has_rows(Queue *queue)
{
	uint64		xid;
	bool		new_batch = queue->position.goal == NULL;

	if (tc_outbox_read(queue->number, &queue->position, consume_nothing, &xid))
	{
		queue->unread = !new_batch;
		return false;
	}
	tc_read_position_rewind(&queue->position, xid);
	return true;
}

static bool
consume_nothing(void *arg, const OutboxRow *row)
{
	*(uint64 *) arg = row->xid;
	return false;
}

/*
 * Options or rights have changed: no queue sends before its own have been
 * looked at.  One that they kept from sending looks again, too.
 */
static void
options_changed(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	tc_channels_options_seen();
	for (int i = 0; i < nqueues; i++)
	{
		if (queues[i]->channel != NULL)
		{
			queues[i]->look_again = true;
			queues[i]->look_after = 0;
		}
		else if (queues[i]->error_code != NULL)
			tc_flow_pause_until(queues[i], 0);
		else
			continue;
		tc_queue_activate(queues[i]);
	}
}

/*
 * Find the channel for a queue by today's options, if its role may use it.
 * Other queues keep their backoff: theirs have not changed.
 */
static void
use_options(Queue *queue)
{
	bool		was_stopped = queue->channel == NULL;
	bool		is_new;
	ServerProblem problem;
	PooledChannel *channel;
	char	   *namespace_name;
	bool		is_own_namespace;

	find_server(queue);
	channel = tc_channels_get(&queue->row, &namespace_name, &is_own_namespace, &problem);
	is_new = channel != queue->channel;
	if (queue->channel != NULL)
	{
		dlist_delete(&queue->channel_node);
		tc_channels_release(queue->channel);
	}
	queue->channel = channel;
	if (channel != NULL)
		dlist_push_tail(&channel->queues, &queue->channel_node);
	if (channel == NULL)
	{
		tc_flow_pause_until(queue, tc_monotonic_ms() + QUEUE_BROKEN_MS);
		tc_flow_cannot_send(queue, problem.code, tc_words_from_server(problem.message),
							queue->paused_until);
		tc_queue_unload(queue);
		tc_queue_step_aside(queue);
	}
	else
	{
		is_new |= tc_queue_set_namespace(queue, namespace_name,
										 tc_namespace_to_utf8(namespace_name), is_own_namespace);
		if (is_new)
		{
			tc_flow_pause_until(queue, 0);
			tc_queue_retry_all(queue);
		}
		if (was_stopped)
			tc_flow_clear_error(queue);
		queue->window = Min(queue->window, channel->config->max_in_flight);
	}
	queue->look_again = false;
	tc_queue_activate(queue);
}

/* What its server is called now.  If it is gone, the queue may have been given another one. */
static void
find_server(Queue *queue)
{
	ForeignServer *server = GetForeignServerExtended(queue->row.key.server, FSV_MISSING_OK);
	QueueRow	row;
	bool		made_here;

	if (server != NULL)
		tc_queue_set_server(queue, server->serverid, server->servername);
	else if (tc_queue_find(queue->number, &row, &made_here) && made_here &&
			 row.key.server != queue->row.key.server)
		tc_queue_set_server(queue, row.key.server, row.server_name);
}

static void
read_queue(Queue *queue)
{
	Reader		reader = {queue, tc_queue_is_connected(queue) ? READ_CHUNK : READ_FIRST};
	bool		new_batch = queue->position.goal == NULL;

	/*
	 * The wakes taken so far are answered by a batch that begins now.  Behind
	 * one that began before may be what was committed since.
	 */
	if (tc_outbox_read(queue->number, &queue->position, consume_row, &reader))
		queue->unread = !new_batch;
}

static bool
consume_row(void *arg, const OutboxRow *row)
{
	Reader	   *reader = arg;
	Queue	   *queue = reader->queue;
	bool		maybe_sent = row->maybe_sent || tc_doubt_covers(row->xid);
	Request    *request;
	bool		malformed;

	rows_were_read = true;
	tc_wake_bit_clear(unanswered, queue->number);
	request = tc_queue_add(queue, row, maybe_sent, &malformed);
	if (malformed)
	{
		request = tc_queue_add_malformed(queue, row);
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
	else if (request != NULL)
	{
		if (maybe_sent)
			note_doubt(request, row);
		if (request->state == REQUEST_READY && queue->channel != NULL &&
			tc_request_has_expired(request, queue->channel->config))
			(void) tc_request_expire(request);
	}
	reader->left--;
	return reader->left > 0 && tc_queue_takes_rows(queue) &&
		tc_queue_has_room(queue, 2 * queue->window + READ_CHUNK);
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
	if (tc_doubt_covers(row->xid))
		request->doubt_until = Max(request->doubt_until, tc_doubt_began_at() +
								   timeout_ms + TC_DEADLINE_MARGIN_MS);
	/* a clock that was put back must not let it wait for longer */
	request->doubt_until = Min(request->doubt_until, latest);
}

static void
reload_retries(Queue *queue)
{
	for (int left = READ_CHUNK; left > 0 && wants_retries(queue); left--)
	{
		Request    *request = tc_queue_next_retry(queue);

		if (!tc_outbox_read_one(request->id, consume_retry, request))
		{
			/* somebody discarded it */
			tc_recording_remove(request);
			tc_request_forget(request);
		}
	}
}

static bool
consume_retry(void *arg, const OutboxRow *row)
{
	Request    *request = arg;

	rows_were_read = true;
	if (row->problem == NULL)
		tc_request_reload(request, row);
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
	tc_request_set_error(request, tc_words_from_server(problem));
}

/*
 * Nothing is sent before the commit it follows from is durable: the rows
 * of transactions with synchronous_commit = off are visible earlier than
 * that.  The insert position may stand just behind a page header, up to
 * which no record reaches: then the flush has to stop before it.
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
	rows_were_read = false;
}
