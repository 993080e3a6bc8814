/*-------------------------------------------------------------------------
 *
 * dispatch.c
 *	  From the outbox over the channels to the outcomes.
 *
 * A turn:
 *
 *	  what happened     calls that are over, channels that have changed
 *	  keys              requests that wait for some: key_waits.c
 *	  reading           in one transaction: reading.c
 *	  sending           as much as flow.c, share.c and the channels allow, in
 *	                    the order of queue.c; looking up where it is in doubt;
 *	                    encoding before it where a codec server is named
 *	  what happened     meanwhile: answers.c says what follows
 *	  finding out       what became of doubtful ones: proof.c
 *	  recording         in one transaction for each batch: recording.c
 *
 * Between turns is the event loop.  What happens beneath it, on the wire and
 * by timers, only notes itself: the next turn takes it.
 *
 * No transaction is ever open while the network is used, and an error in one
 * of them stops one queue, or one batch of outcomes, for a while.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "process/in_flight.h"
#include "wire/classify.h"
#include "worker/answers.h"
#include "worker/channel_pool.h"
#include "worker/counting.h"
#include "worker/dispatch.h"
#include "worker/doubt.h"
#include "worker/encoding.h"
#include "worker/error_notes.h"
#include "worker/flow.h"
#include "worker/gauges.h"
#include "worker/heartbeat_calls.h"
#include "worker/heartbeat_notes.h"
#include "worker/heartbeats.h"
#include "worker/intake.h"
#include "worker/key_settle.h"
#include "worker/key_waits.h"
#include "worker/notify.h"
#include "worker/proof.h"
#include "worker/queue.h"
#include "worker/reading.h"
#include "worker/recording.h"
#include "worker/request_encoding.h"
#include "worker/story.h"
#include "worker/wants.h"

/* The replies of Temporal to what is sent here have a few bytes */
#define MAX_REPLY (64 * 1024)

/* Places of in_flight.h that no request in flight has */
static int *free_places;
static int	nfree_places;

static MemoryContext dispatch_context;	/* lives as long as the worker */
static MemoryContext turn_context;	/* reset after each turn */

static bool stopping;

static void timer_due(void *arg);
static void note_in_flight(Request *request);
static void take_answers(void);
static void take_changes(void);
static void settle_findings(void);
static bool send_all(void);
static void set_timer(Queue *queue);
static void send_queue(Queue *queue);
static void cannot_connect(Queue *queue, const PooledChannel *channel);
static void make_way(Queue *queue);
static bool encode_request(Request *request);
static void send_request(Request *request);
static void put_in_flight(Request *request);
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
	free_places = palloc(TC_MAX_IN_FLIGHT * sizeof(int));
	while (nfree_places < TC_MAX_IN_FLIGHT)
	{
		free_places[nfree_places] = nfree_places;
		nfree_places++;
	}
	MemoryContextSwitchTo(old);

	tc_shares_init();
	tc_queues_init();
	tc_heartbeats_init();
	tc_reading_init();
	tc_proofs_init();
	tc_encodings_init();
	tc_recording_init(tc_key_settle_before_finish);
}

bool
tc_dispatch_turn(void)
{
	MemoryContext old = MemoryContextSwitchTo(turn_context);
	bool		more;

	take_answers();
	take_changes();
	tc_report_activity(ACTIVITY_READING);
	more = tc_queues_feed();
	if (!stopping)
		tc_key_waits_turn();
	tc_reading_turn();
	(void) tc_queues_activated();
	tc_report_activity(ACTIVITY_SENDING);
	if (tc_intake_is_durable())
		more |= send_all();
	tc_heartbeats_put_back();
	take_answers();
	tc_channels_cleanup();
	settle_findings();
	tc_proofs_ask();
	tc_report_activity(ACTIVITY_RECORDING);
	/* first: what has ended is not to begin again after a crash */
	tc_heartbeat_notes_turn();
	more |= tc_recording_turn(stopping || tc_dispatch_in_flight() == 0);
	tc_notify_turn();
	tc_story_turn(tc_reading_count_waiting);
	tc_gauges_turn(false);
	take_changes();
	MemoryContextSwitchTo(old);
	MemoryContextReset(turn_context);
	return more || tc_queues_activated() || tc_queues_can_be_fed() ||
		(!stopping && tc_key_waits_want_turn());
}

void
tc_dispatch_stop(void)
{
	stopping = true;
	tc_wants_end();
}

void
tc_dispatch_tell_rest(void)
{
	tc_story_end(tc_reading_count_waiting);
}

bool
tc_dispatch_is_idle(void)
{
	return tc_dispatch_has_no_requests() && tc_heartbeats_are_none();
}

bool
tc_dispatch_has_no_requests(void)
{
	return tc_requests_in_memory() == 0 && dlist_is_empty(tc_active_queues()) &&
		tc_reading_is_idle() && tc_key_waits_are_none();
}

int
tc_dispatch_in_flight(void)
{
	return TC_MAX_IN_FLIGHT - nfree_places;
}

static void
timer_due(void *arg)
{
	tc_queue_activate((Queue *) arg);
}

void
tc_dispatch_record_rest(void)
{
	tc_requests_visit_in_flight(note_in_flight);
	while (tc_recording_turn(true))
		CHECK_FOR_INTERRUPTS();
	tc_gauges_leave(true);
	if (tc_recording_count() == 0)
		tc_doubt_note_leaving(tc_dispatch_is_idle());
}

/* Its answer will not be seen: by ids it is looked up when its deadline is over. */
static void
note_in_flight(Request *request)
{
	if (request->is_being_encoded)
		return;
	request->maybe_sent = true;
	request->next_attempt_at = 0;
	if (tc_method_by_id(request->method))
		request->next_attempt_at =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										Max(request->doubt_until - tc_monotonic_ms(), 0));
	tc_recording_add(request);
}

/*---- what happened ----*/

static void
take_answers(void)
{
	Request    *request;

	tc_encodings_settle();
	while ((request = tc_next_answered()) != NULL)
	{
		tc_in_flight_set(request->place, 0);
		free_places[nfree_places++] = request->place;
		tc_share_give(request->queue->account, SHARE_PLACES, 1);
		tc_answer_settle(request);
	}
	tc_heartbeats_take_answers();
}

static void
take_changes(void)
{
	PooledChannel *channel;
	dlist_iter	iter;

	while ((channel = tc_channels_next_changed()) != NULL)
		dlist_foreach(iter, &channel->queues)
			tc_queue_activate(dlist_container(Queue, channel_node, iter.cur));
}

static void
settle_findings(void)
{
	ProofFinding finding;

	while (tc_proofs_next(&finding))
		tc_finding_settle(&finding);
}

/*---- sending ----*/

/* Send what can be sent, for all queues that are active; true if more could be done at once. */
static bool
send_all(void)
{
	static bool put_off = false;
	dlist_mutable_iter iter;
	bool		more;

	more = (tc_reading_wants_queues() && tc_reading_is_possible()) || tc_error_notes_are_due();

	/*
	 * What has just been revoked, or changed, is looked at before anything is
	 * sent.  Where it can be looked at, not twice in a row: who changes
	 * catalogs all the time must not keep others from sending.
	 */
	put_off = tc_options_changed() && !(put_off && tc_reading_is_possible());
	if (put_off)
		return tc_reading_is_possible();
	dlist_foreach_modify(iter, tc_active_queues())
	{
		Queue	   *queue = dlist_container(Queue, active_node, iter.cur);

		queue->lacks = false;
		send_queue(queue);
		if (tc_queue_wants(queue))
		{
			more |= tc_reading_is_possible();
			continue;
		}

		/*
		 * requests that found no place, or came too soon, wait in the list of
		 * active queues
		 */
		if (queue->count[REQUEST_READY] > 0 && tc_queue_can_send(queue) &&
			tc_flow_has_room(queue) && !stopping)
			continue;

		tc_queue_deactivate(queue);
		set_timer(queue);
	}
	if (!stopping)
		tc_heartbeats_send();
	more |= tc_rates_turn();
	/* those that wait for places are served in turn */
	if (!dlist_is_empty(tc_active_queues()))
		dlist_push_tail(tc_active_queues(), dlist_pop_head_node(tc_active_queues()));
	return more;
}

/* When the next one that waits is due, or after a pause */
static void
set_timer(Queue *queue)
{
	Request    *next = tc_queue_next_retry(queue);
	int64		now = tc_monotonic_ms();
	int64		due = next != NULL ? Max(next->retry.due, queue->paused_until) : queue->paused_until;
	int64		heartbeat = Max(tc_heartbeats_next(queue), queue->paused_until);

	if (due <= now || heartbeat < due)
		due = heartbeat;
	if (due > now && due != TC_NEVER)
		tc_timer_set(&queue->timer, due, timer_due, queue);
}

static void
send_queue(Queue *queue)
{
	PooledChannel *channel = queue->channel;
	Request    *request;
	int			reserve;

	if (queue->to_unload ||
		(tc_flow_is_paused(queue) && !queue->steps_aside && tc_flow_is_stuck(queue)))
		make_way(queue);
	if (channel == NULL || queue->look_again || tc_flow_is_paused(queue) || stopping)
		return;
	if (queue->count[REQUEST_READY] == 0 && !tc_retry_is_due(queue) && !tc_heartbeats_are_due(queue))
	{
		/* what waited was given up: nothing is wrong */
		if (!queue->unread && dlist_is_empty(&queue->requests) && queue->heartbeats == 0 && !queue->heartbeats_found)
			tc_flow_clear_error(queue);
		if (!queue->unread || tc_queue_wants_to_know(queue))
			return;
	}
	if (!tc_channels_connect(channel, queue->account))
	{
		if (channel->lacks_room && !tc_queue_may_have(queue, SHARE_CONNECTIONS))
		{
			tc_flow_set_error(queue, "CONNECTION_FAILED",
							  "too many connections are open; this one waits for its turn", 0);
			make_way(queue);
			return;
		}
		if (tc_channels_backing_off(channel))
			cannot_connect(queue, channel);
		return;
	}
	if (!tc_encoding_is_ready(queue))
	{
		if (tc_channels_backing_off(channel->codec))
			cannot_connect(queue, channel->codec);
		return;
	}
	tc_queue_step_back(queue);
	if (channel->codec == NULL || channel->codec->failures == 0)
		tc_flow_connected(queue);

	/* heartbeats come after them, but not never */
	reserve = Min(queue->heartbeats_loaded, tc_channel_capacity(channel->channel) / 8);
	while (tc_flow_has_room(queue) && tc_channel_capacity(channel->channel) > reserve && nfree_places > 0 &&
		   tc_share_has_room(queue->account, SHARE_PLACES) &&
		   tc_share_has_room(queue->account, SHARE_CONFIRMING) &&
		   (request = tc_queue_first_ready(queue)) != NULL)
	{
		if (tc_request_must_be_looked_up(request))
			tc_request_look_up(request);
		else if (!tc_request_can_be_sent(request))
		{
			if (!encode_request(request))
				break;
		}
		else if (channel->rate == NULL ||
				 tc_rate_take(channel->rate, queue->row.key.role, channel->config->max_requests_per_second))
			send_request(request);
		else
			break;
	}
	tc_encodings_flush();
	tc_channel_flush(channel->channel);
}

/* False if it has to wait, and others with it. */
static bool
encode_request(Request *request)
{
	switch (tc_request_begin_encoding(request))
	{
		case ENCODING_BEGUN:
			request->is_being_encoded = true;
			put_in_flight(request);
			return true;
		case ENCODING_SETTLED:
			return true;
		case ENCODING_NO_ROOM:
			break;
	}
	return false;
}

/* The channel is not tried again before it is known that something still waits. */
static void
cannot_connect(Queue *queue, const PooledChannel *channel)
{
	tc_flow_cannot_send(queue, channel->error.code, channel->error.message, channel->connect_at);
	if (channel->connect_at > tc_monotonic_ms())
		queue->rows_are_there = false;
	make_way(queue);
}

/*
 * A queue that cannot send at present keeps nothing in memory that can be read
 * again, and if that may last, lets others go first.
 */
static void
make_way(Queue *queue)
{
	tc_queue_unload(queue);
	if (tc_flow_is_stuck(queue))
		tc_queue_step_aside(queue);
}

static void
send_request(Request *request)
{
	Queue	   *queue = request->queue;
	Call		call = {0};

	tc_request_set_message(request, NULL);
	request->error_code = NULL;
	request->looked_up = false;
	put_in_flight(request);
	tc_count_call(queue, request->len);

	call.path = tc_method_path(request->method);
	call.namespace_name = queue->namespace_utf8;
	call.message = request->bytes;
	call.message_len = request->len;
	call.timeout_ms = queue->channel->config->request_timeout_ms;
	call.max_reply = MAX_REPLY;
	call.done = call_done;
	call.arg = request;
	request->doubt_until = tc_monotonic_ms() + call.timeout_ms + TC_DEADLINE_MARGIN_MS;
	tc_channel_call(queue->channel->channel, &call);
}

static void
put_in_flight(Request *request)
{
	tc_request_set_state(request, REQUEST_IN_FLIGHT);
	request->channel = request->queue->channel;
	tc_channels_begin_call(request->channel);
	request->place = free_places[--nfree_places];
	tc_share_take(request->queue->account, SHARE_PLACES, 1);
	tc_in_flight_set(request->place, request->id);
}

/*
 * A call is over.  Runs beneath the wire: must not raise errors, so all but
 * noting the result is left to take_answers().
 */
static void
call_done(void *arg, const CallResult *result)
{
	Request    *request = arg;

	tc_request_set_state(request, REQUEST_ANSWERED);
	request->meaning = tc_classify(result);
	request->may_have_taken_effect = tc_may_have_taken_effect(result);
	if (request->meaning == MEANING_DELIVERED)
	{
		request->has_heartbeat_reply = tc_method_is_heartbeat(request->method) &&
			tc_heartbeat_reply_decode(result->reply, result->reply_len,
									  &request->heartbeat_reply);
	}
	else
	{
		request->error_code = tc_error_code(result);
		tc_request_set_message(request, result->message);
	}
}
