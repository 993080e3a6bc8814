/*-------------------------------------------------------------------------
 *
 * dispatch.c
 *	  From the outbox over the channels to the outcomes.
 *
 * A turn has three parts: a transaction that reads what is new or due; then,
 * outside of any transaction, sending; then, when enough has been answered or
 * a few milliseconds have passed, a transaction that records outcomes.  No
 * transaction is ever open while the network is used, and an error in one of
 * them stops one queue, or one batch of outcomes, for a while.
 *
 * How much may be in flight is decided in flow.c, in which order in queue.c,
 * what is recorded how in recording.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "common/string.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "channels.h"
#include "dispatch.h"
#include "event_loop.h"
#include "flow.h"
#include "outcome.h"
#include "proof.h"
#include "queue.h"
#include "recording.h"
#include "temporal_complete.h"
#include "transaction.h"

/* Rows read from a queue in one turn; and before it is known whether its channel can be connected */
#define READ_CHUNK 1024
#define READ_FIRST 64

/* Nothing more is read while so many outcomes cannot be recorded */
#define UNRECORDED_MAX 20000

/* A queue whose rows cannot be read, or whose options cannot be used, waits that long */
#define QUEUE_BROKEN_MS 60000

/* After an error while reading nothing is read for that long */
#define READ_RETRY_MS 1000

/* A request whose row is found damaged is looked at again after that long */
#define DAMAGED_RETRY_MS 3600000

/* A stream that was refused so often, unprocessed, counts as a failure */
#define REFUSALS_MAX 3

/* All known queues, sorted by name; those to be looked at in this turn */
static Queue **queues;
static int	nqueues;
static dlist_head active = DLIST_STATIC_INIT(active);

/* Requests whose call is over */
static dlist_head answered = DLIST_STATIC_INIT(answered);

/* What was visible when this worker started may have been sent by another one */
static ReadSnapshot *start_snapshot;

static int *free_places;
static int	nfree_places;

static MemoryContext dispatch_context;	/* lives as long as the worker */
static MemoryContext turn_context;	/* reset after each turn */

static bool find_queues;		/* look for queues that are not known yet */
static uint32 unanswered[TC_WAKE_WORDS];	/* bits of wakes for which no row was read yet */
static bool some_unanswered;
static bool stopping;
static bool rows_were_read;		/* and their transactions may not be flushed yet */
static bool activated;			/* a queue became active since sending began */
static int64 read_not_before;	/* monotonic ms, after an error */
static LoopTimer read_timer;
static Queue *reading;			/* whose rows are being read, for error handling */

/* For consume_row() */
typedef struct Reader
{
	Queue	   *queue;
	int			left;
} Reader;

static void activate(Queue *queue);
static void channel_changed(PooledChannel *channel);
static void timer_due(void *arg);
static void process_answers(void);
static void process_answer(Request *request);
static void proof_found(Request *request, ProofVerdict verdict, const char *words,
						int64 next_look);
static void set_error_message(Request *request, const char *message);
static bool has_expired(const Request *request, const ServerConfig *config);
static void expire(Request *request);
static void note_outcome(Request *request, OutcomeKind kind);
static bool needs_database(void);
static void read_work(void *arg);
static void discover_queues(void);
static void use_options(Queue *queue);
static void read_queue(Queue *queue);
static void reload_retries(Queue *queue);
static bool consume_row(void *arg, const OutboxRow *row);
static bool consume_retry(void *arg, const OutboxRow *row);
static void note_damage(Request *request, const char *problem);
static bool has_rows(Queue *queue);
static bool consume_nothing(void *arg, const OutboxRow *row);
static void reading_failed(void);
static void flush_wal(void);
static bool send_all(void);
static void look_behind_wakes(void);
static bool send_queue(Queue *queue);
static void send_request(Request *request);
static void call_done(void *arg, const CallResult *result);

void
tc_dispatch_init(void)
{
	MemoryContext old;

	dispatch_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete dispatch",
											 ALLOCSET_DEFAULT_SIZES);
	turn_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete turn",
										 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(dispatch_context);
	start_snapshot = tc_snapshot_take();
	queues = palloc(sizeof(Queue *));
	free_places = palloc(TC_MAX_IN_FLIGHT * sizeof(int));
	while (nfree_places < TC_MAX_IN_FLIGHT)
	{
		free_places[nfree_places] = nfree_places;
		nfree_places++;
	}
	MemoryContextSwitchTo(old);

	tc_queues_init(activate);
	tc_channels_init(channel_changed);
	tc_proofs_init(proof_found);
	tc_recording_init();
	find_queues = true;
	tc_outbox_clear_queue_errors();
}

void
tc_dispatch_wake(const uint32 bits[TC_WAKE_WORDS])
{
	uint32		unknown[TC_WAKE_WORDS];

	memcpy(unknown, bits, sizeof(unknown));
	for (int i = 0; i < nqueues; i++)
	{
		uint32		bit = queues[i]->hash % TC_WAKE_BITS;
		uint32		mask = UINT32_C(1) << (bit % 32);

		if (bits[bit / 32] & mask)
		{
			queues[i]->unread = true;
			activate(queues[i]);
			unknown[bit / 32] &= ~mask;
			unanswered[bit / 32] |= mask;
			some_unanswered = true;
		}
	}
	for (int i = 0; i < TC_WAKE_WORDS; i++)
		if (unknown[i] != 0)
			find_queues = true;
}

/*
 * A wake for which its queues had no rows may have been for a queue that is
 * not known yet and shares their bit.
 */
static void
look_behind_wakes(void)
{
	some_unanswered = false;
	for (int i = 0; i < nqueues; i++)
	{
		uint32		bit = queues[i]->hash % TC_WAKE_BITS;
		uint32		mask = UINT32_C(1) << (bit % 32);

		if (!(unanswered[bit / 32] & mask))
			continue;
		if (queues[i]->unread)
			some_unanswered = true;
		else
		{
			unanswered[bit / 32] &= ~mask;
			find_queues = true;
		}
	}
}

void
tc_dispatch_wake_all(bool try_now)
{
	find_queues = true;
	for (int i = 0; i < nqueues; i++)
	{
		queues[i]->unread = true;
		if (try_now)
		{
			tc_flow_pause_until(queues[i], 0);
			if (queues[i]->channel != NULL)
				queues[i]->channel->connect_at = 0;
			tc_queue_retry_now(queues[i]);
		}
		activate(queues[i]);
	}
}

bool
tc_dispatch_turn(void)
{
	MemoryContext old = MemoryContextSwitchTo(turn_context);
	bool		more;

	process_answers();
	if (needs_database() && !tc_run_transaction(read_work, NULL))
		reading_failed();
	/* also if an error came after rows had been read: they will be sent */
	if (rows_were_read)
		flush_wal();
	activated = false;
	more = send_all();
	process_answers();
	tc_proofs_turn();
	tc_channels_cleanup();
	more |= tc_recording_turn(stopping || tc_dispatch_in_flight() == 0);
	MemoryContextSwitchTo(old);
	MemoryContextReset(turn_context);
	return more || activated;
}

void
tc_dispatch_stop(void)
{
	stopping = true;
}

bool
tc_dispatch_is_idle(void)
{
	if (tc_requests_in_memory() > 0 || !dlist_is_empty(&active) || find_queues)
		return false;
	for (int i = 0; i < nqueues; i++)
		if (queues[i]->unread)
			return false;
	return true;
}

int
tc_dispatch_in_flight(void)
{
	return TC_MAX_IN_FLIGHT - nfree_places;
}

/* Look at the queue in the next turn.  Must not raise errors: callbacks use it. */
static void
activate(Queue *queue)
{
	if (!queue->active)
	{
		queue->active = true;
		activated = true;
		dlist_push_tail(&active, &queue->active_node);
	}
}

static void
timer_due(void *arg)
{
	if (arg != NULL)
		activate((Queue *) arg);
}

/* Runs beneath the wire: must not raise errors. */
static void
channel_changed(PooledChannel *channel)
{
	for (int i = 0; i < nqueues; i++)
		if (queues[i]->channel == channel)
			activate(queues[i]);
}

/*---- answers ----*/

static void
process_answers(void)
{
	while (!dlist_is_empty(&answered))
		process_answer(dlist_container(Request, node, dlist_pop_head_node(&answered)));
}

static void
process_answer(Request *request)
{
	Queue	   *queue = request->queue;
	const ServerConfig *config = request->channel->config;
	Verdict		verdict = request->verdict;

	tc_worker_set_in_flight(request->place, 0);
	free_places[nfree_places++] = request->place;
	queue->in_flight--;
	activate(queue);

	if (verdict == VERDICT_SEND_AGAIN && request->refusals++ >= REFUSALS_MAX)
		verdict = VERDICT_RETRY;
	if (verdict != VERDICT_SEND_AGAIN)
	{
		request->refusals = 0;
		request->attempts++;
	}
	switch (verdict)
	{
		case VERDICT_DELIVERED:
			tc_flow_success(queue);
			note_outcome(request, OUTCOME_DELIVERED);
			break;
		case VERDICT_REJECTED:
		case VERDICT_GONE:
			tc_flow_success(queue);
			request->refusal = request->error_code;
			if (tc_method_is_heartbeat(request->method))
				note_outcome(request, request->maybe_sent ? OUTCOME_UNCONFIRMED : OUTCOME_REJECTED);
			else if (verdict == VERDICT_GONE || request->maybe_sent)
				tc_proof_begin(request);
			else
				note_outcome(request, OUTCOME_REJECTED);
			break;
		case VERDICT_SEND_AGAIN:
			tc_queue_push_back(request);
			break;
		case VERDICT_RETRY:
		case VERDICT_THROTTLED:
		case VERDICT_NEEDS_OPERATOR:
			{
				int			delay = verdict == VERDICT_NEEDS_OPERATOR ?
					config->retry_max_interval_ms : tc_backoff_ms(config, request->attempts - 1);

				request->maybe_sent |= request->may_have_taken_effect;
				request->next_attempt_at =
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
				tc_flow_failure(queue, request);
				if (has_expired(request, config))
				{
					expire(request);
					break;
				}
				tc_queue_retry_at(request, tc_monotonic_ms() + delay);
				tc_recording_add(request);
				break;
			}
	}
	tc_channels_release(request->channel);
	request->channel = NULL;
}

/*
 * What became of an earlier attempt of a request that was refused.  Also a
 * first attempt can have been one that was applied: the server retries within
 * itself.  Where nothing can be proved, the refusal counts if there was no
 * doubt about it.
 */
static void
proof_found(Request *request, ProofVerdict verdict, const char *words, int64 next_look)
{
	OutcomeKind kind = OUTCOME_REJECTED;
	bool		in_doubt = request->maybe_sent || strcmp(request->error_code, "CONFIRMING") == 0;

	/* other refusals than NOT_FOUND say themselves what is wrong */
	if (strcmp(request->refusal, "NOT_FOUND") == 0 &&
		(verdict != PROOF_IMPOSSIBLE || in_doubt))
		set_error_message(request, words);

	switch (verdict)
	{
		case PROOF_NOT_YET:
			request->error_code = "CONFIRMING";
			request->next_attempt_at =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), next_look - tc_monotonic_ms());
			tc_recording_add(request);
			return;
		case PROOF_OURS:
			kind = OUTCOME_DELIVERED;
			request->error_code = NULL;
			set_error_message(request, NULL);
			break;
		case PROOF_NOT_OURS:
			request->error_code = request->refusal;
			break;
		case PROOF_IMPOSSIBLE:
			request->error_code = request->refusal;
			if (request->maybe_sent)
				kind = OUTCOME_UNCONFIRMED;
			break;
	}
	note_outcome(request, kind);
	activate(request->queue);
}

/* The message (UTF-8) that is recorded with a request; NULL = none. */
static void
set_error_message(Request *request, const char *message)
{
	if (request->error_message != NULL)
		pfree(request->error_message);
	request->error_message = message == NULL ? NULL :
		MemoryContextStrdup(dispatch_context, message);
}

/* Is it older than the server's expire_after? */
static bool
has_expired(const Request *request, const ServerConfig *config)
{
	return config->expire_after_s > 0 &&
		GetCurrentTimestamp() - request->requested_at > config->expire_after_s * USECS_PER_SEC;
}

/* Give up a request that is too old; what its last attempt was told stays its message. */
static void
expire(Request *request)
{
	request->error_code = "EXPIRED";
	note_outcome(request, request->maybe_sent ? OUTCOME_UNCONFIRMED : OUTCOME_REJECTED);
}

static void
note_outcome(Request *request, OutcomeKind kind)
{
	request->outcome = kind;
	request->outcome_at = GetCurrentTimestamp();
	tc_queue_finish(request);
	tc_recording_add(request);
}

/*---- the database ----*/

static bool
channel_is_ready(const Queue *queue)
{
	return queue->channel != NULL &&
		tc_channel_state(queue->channel->channel) == CHANNEL_READY;
}

static bool
retry_is_due(Queue *queue)
{
	Request    *next = tc_queue_next_retry(queue);

	return next != NULL && next->due <= tc_monotonic_ms();
}

/* Is it time to read rows?  Before a channel is ready only to see whether there are any. */
static bool
wants_rows(Queue *queue)
{
	if (!queue->unread || tc_flow_is_paused(queue) || stopping ||
		tc_recording_count() > UNRECORDED_MAX || !tc_queue_takes_rows(queue))
		return false;
	if (channel_is_ready(queue))
		return queue->nready < queue->window && tc_queue_has_room(queue, 2 * queue->window + READ_CHUNK);
	if (queue->channel != NULL && tc_channels_backing_off(queue->channel))
		return false;
	return queue->nloaded == 0;
}

static bool
wants_retries(Queue *queue)
{
	return !tc_flow_is_paused(queue) && !stopping && channel_is_ready(queue) && retry_is_due(queue) &&
		queue->nready < queue->window && tc_queue_has_room(queue, 2 * queue->window + READ_CHUNK);
}

static bool
wants_options(Queue *queue)
{
	return queue->channel == NULL && !tc_flow_is_paused(queue) &&
		(queue->unread || queue->nready > 0 || retry_is_due(queue));
}

static bool
needs_database(void)
{
	dlist_iter	iter;

	if (read_not_before > tc_monotonic_ms())
		return false;
	if (find_queues)
		return true;
	dlist_foreach(iter, &active)
	{
		Queue	   *queue = dlist_container(Queue, active_node, iter.cur);

		if (wants_options(queue) || wants_rows(queue) || wants_retries(queue) ||
			queue->error_changed)
			return true;
	}
	return false;
}

/* The reading part of a turn. */
static void
read_work(void *arg)
{
	dlist_iter	iter;

	if (find_queues)
		discover_queues();
	if (tc_channels_options_changed())
		for (int i = 0; i < nqueues; i++)
			if (queues[i]->channel != NULL)
				use_options(queues[i]);

	dlist_foreach(iter, &active)
	{
		Queue	   *queue = dlist_container(Queue, active_node, iter.cur);

		reading = queue;
		if (wants_options(queue) && (queue->nready > 0 || retry_is_due(queue) || has_rows(queue)))
			use_options(queue);
		if (wants_retries(queue))
			reload_retries(queue);
		if (wants_rows(queue))
			read_queue(queue);
		if (queue->error_changed)
		{
			int64		wait = queue->error_until - tc_monotonic_ms();

			tc_outbox_set_queue_error(&queue->name, queue->error_code,
									  tc_utf8_to_server(queue->error_message,
														strlen(queue->error_message),
														sizeof(queue->error_message)),
									  TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
																  Max(wait, 0)));
			queue->error_changed = false;
		}
		reading = NULL;
	}
}

/* After an error in read_work(): the queue that had it waits, the others go on. */
static void
reading_failed(void)
{
	if (reading != NULL)
		tc_flow_pause_until(reading, tc_monotonic_ms() + QUEUE_BROKEN_MS);
	reading = NULL;
	read_not_before = tc_monotonic_ms() + READ_RETRY_MS;
	tc_timer_set(&read_timer, read_not_before, timer_due, NULL);
}

static void
discover_queues(void)
{
	QueueName  *known = palloc(sizeof(QueueName) * Max(nqueues, 1));
	QueueName  *found;
	int			nfound;

	for (int i = 0; i < nqueues; i++)
		known[i] = queues[i]->name;
	found = tc_outbox_find_queues(known, nqueues, &nfound);
	if (nfound > 0)
	{
		queues = repalloc(queues, (nqueues + nfound) * sizeof(Queue *));
		for (int i = 0; i < nfound; i++)
		{
			Queue	   *queue = tc_queue_create(&found[i]);
			int			at = nqueues;

			while (at > 0 && tc_queue_name_cmp(&queues[at - 1]->name, &queue->name) > 0)
			{
				queues[at] = queues[at - 1];
				at--;
			}
			queues[at] = queue;
			nqueues++;
			tc_flow_init(queue);
			queue->unread = true;
			activate(queue);
		}
	}
	find_queues = false;
	if (nfound > 0)
		tc_outbox_report_held();
}

/*
 * Is there a row to be read?  Those that are held are no reason to look at
 * options, or to say what is wrong with them: copies of a database need no
 * server.
 */
static bool
has_rows(Queue *queue)
{
	uint64		xid;

	if (tc_outbox_read(&queue->name, &queue->position, consume_nothing, &xid))
	{
		queue->unread = false;
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

/* Find the channel for a queue by today's options. */
static void
use_options(Queue *queue)
{
	char	   *error;
	PooledChannel *channel = tc_channels_get(&queue->name, &error);

	if (queue->channel != NULL)
		tc_channels_release(queue->channel);
	queue->channel = channel;
	if (channel == NULL)
	{
		tc_flow_pause_until(queue, tc_monotonic_ms() + QUEUE_BROKEN_MS);
		tc_flow_set_error(queue, "CONFIGURATION", error, queue->paused_until);
		tc_queue_unload(queue);
	}
	else
	{
		tc_flow_clear_error(queue);
		queue->window = Min(queue->window, channel->config->max_in_flight);
	}
	activate(queue);
}

static void
read_queue(Queue *queue)
{
	Reader		reader = {queue, channel_is_ready(queue) ? READ_CHUNK : READ_FIRST};

	if (tc_outbox_read(&queue->name, &queue->position, consume_row, &reader))
		queue->unread = false;
}

static bool
consume_row(void *arg, const OutboxRow *row)
{
	Reader	   *reader = arg;
	Queue	   *queue = reader->queue;
	bool		maybe_sent = row->maybe_sent || tc_snapshot_sees(start_snapshot, row->xid);
	Request    *request;
	bool		malformed;

	rows_were_read = true;
	unanswered[queue->hash % TC_WAKE_BITS / 32] &=
		~(UINT32_C(1) << (queue->hash % TC_WAKE_BITS % 32));
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
	else if (request != NULL && request->state == REQUEST_READY && queue->channel != NULL &&
			 has_expired(request, queue->channel->config))
	{
		dlist_delete(&request->node);
		queue->nready--;
		expire(request);
	}
	reader->left--;
	return reader->left > 0 && tc_queue_takes_rows(queue) &&
		tc_queue_has_room(queue, 2 * queue->window + READ_CHUNK);
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
			tc_queue_forget(request);
		}
	}
}

static bool
consume_retry(void *arg, const OutboxRow *row)
{
	Request    *request = arg;

	rows_were_read = true;
	if (row->problem == NULL)
		tc_queue_reload(request, row);
	else
	{
		note_damage(request, row->problem);
		tc_queue_retry_later(request, tc_monotonic_ms() + DAMAGED_RETRY_MS);
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
	char	   *utf8 = pg_server_to_any(problem, strlen(problem), PG_UTF8);

	request->outcome = OUTCOME_RETRY;
	request->attempts++;
	request->next_attempt_at = 0;
	request->error_code = "DATA_CORRUPTED";
	set_error_message(request, utf8);
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

/*---- sending ----*/

/* Send what can be sent, for all queues that are active; true if more could be done at once. */
static bool
send_all(void)
{
	dlist_mutable_iter iter;
	bool		more = false;

	if (some_unanswered)
		look_behind_wakes();
	more = find_queues && read_not_before <= tc_monotonic_ms();

	dlist_foreach_modify(iter, &active)
	{
		Queue	   *queue = dlist_container(Queue, active_node, iter.cur);
		Request    *next;
		int64		timer;

		more |= send_queue(queue);
		if (wants_rows(queue) || wants_retries(queue) || wants_options(queue) ||
			queue->error_changed)
		{
			more |= read_not_before <= tc_monotonic_ms();
			continue;
		}
		/* requests that found no place wait in the list of active queues */
		if (queue->nready > 0 && channel_is_ready(queue) && tc_flow_has_room(queue) && !stopping)
			continue;

		dlist_delete(&queue->active_node);
		queue->active = false;
		next = tc_queue_next_retry(queue);
		timer = next != NULL ? Max(next->due, queue->paused_until) : queue->paused_until;
		if (timer > tc_monotonic_ms())
			tc_timer_set(&queue->timer, timer, timer_due, queue);
	}
	return more;
}

/* True if more could be sent at once. */
static bool
send_queue(Queue *queue)
{
	PooledChannel *channel = queue->channel;
	Request    *request;

	if (channel == NULL || tc_flow_is_paused(queue) || stopping ||
		(queue->nready == 0 && !queue->unread && !retry_is_due(queue)))
		return false;
	if (!tc_channels_connect(channel))
	{
		if (tc_channels_backing_off(channel))
		{
			tc_flow_set_error(queue, channel->error.code, channel->error.message,
							channel->connect_at);
			tc_queue_unload(queue);
		}
		return false;
	}
	if (queue->pauses == 0)
		tc_flow_clear_error(queue);

	while (tc_flow_has_room(queue) && tc_channel_capacity(channel->channel) > 0 && nfree_places > 0 &&
		   (request = tc_queue_pop_ready(queue)) != NULL)
		send_request(request);
	tc_channel_flush(channel->channel);
	return false;
}

static void
send_request(Request *request)
{
	Queue	   *queue = request->queue;
	Call		call = {0};

	if (request->error_message != NULL)
		pfree(request->error_message);
	request->error_message = NULL;
	request->error_code = NULL;
	request->state = REQUEST_IN_FLIGHT;
	request->channel = queue->channel;
	request->channel->users++;
	request->place = free_places[--nfree_places];
	queue->in_flight++;
	tc_worker_set_in_flight(request->place, request->id);

	call.path = tc_method_path(request->method);
	call.namespace_name = pg_is_ascii(queue->name.namespace_name) ?
		queue->name.namespace_name : NULL;
	call.message = request->bytes;
	call.message_len = request->len;
	call.timeout_ms = queue->channel->config->request_timeout_ms;
	call.done = call_done;
	call.arg = request;
	tc_channel_call(queue->channel->channel, &call);
}

/*
 * A call is over.  Runs beneath the wire: must not raise errors, so all but
 * noting the result is left to process_answer().
 */
static void
call_done(void *arg, const CallResult *result)
{
	Request    *request = arg;

	request->state = REQUEST_ANSWERED;
	request->verdict = tc_classify(result);
	request->may_have_taken_effect = tc_may_have_taken_effect(result);
	if (request->verdict == VERDICT_DELIVERED)
	{
		request->has_heartbeat_reply = tc_method_is_heartbeat(request->method) &&
			tc_heartbeat_reply_decode(result->reply, result->reply_len,
									  &request->heartbeat_reply);
	}
	else
	{
		size_t		len = strnlen(result->message, 1000);

		request->error_code = tc_error_code(result);
		request->error_message = MemoryContextAllocExtended(dispatch_context, len + 1,
															MCXT_ALLOC_NO_OOM);
		if (request->error_message != NULL)
		{
			memcpy(request->error_message, result->message, len);
			request->error_message[len] = '\0';
		}
	}
	dlist_push_tail(&answered, &request->node);
}
