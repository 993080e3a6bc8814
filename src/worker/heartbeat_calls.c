/*-------------------------------------------------------------------------
 *
 * heartbeat_calls.c
 *	  Sending heartbeats of recorded activities.
 *
 *	  answer              what follows
 *	  ------------------------------------------------------------------------
 *	  taken               the next one after the interval; what the reply says
 *	                      is noted if it is something new
 *	  not there, refused  no more
 *	  any other failure   sent again, later each time; after several in a row
 *	                      the queue's heartbeats pause
 *
 * An answer that is lost does no harm, and a failure is nobody's error.
 *
 * Where the interval is to follow the activity's own timeout, Temporal is asked
 * for that after the first heartbeat: one question tells it for all activities
 * of a workflow that wait for it.
 *
 * Where there is a codec server, details go through it before.  As long as that
 * cannot be done a heartbeat is tried again, without being a failure of others;
 * those without details need no codec server.
 *
 * None is sent while a verdict for its activity may take effect.  Heartbeats
 * come after requests, and take what these leave of the channel.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "process/session_life.h"
#include "request/description.h"
#include "worker/active_queues.h"
#include "worker/chains.h"
#include "worker/counting.h"
#include "worker/encoding.h"
#include "worker/flow.h"
#include "worker/heartbeat_calls.h"
#include "worker/heartbeat_notes.h"
#include "worker/heartbeat_turns.h"
#include "worker/heartbeats.h"

/* Questions in flight at most, for a queue */
#define ASKING_MAX 8

/* Replies to heartbeats have a few bytes; a workflow may have 2,000 activities that wait, with details */
#define MAX_REPLY (64 * 1024)
#define MAX_DESCRIPTION (8 * 1024 * 1024)

/* While a verdict may take effect */
#define HELD_MS 200

/* As long as it could not be asked, because others do */
#define UNKNOWN_INTERVAL_MS 5000

/* Where it cannot be found out how long the timeout is; and how often that is tried */
#define GUESSED_INTERVAL_MS 10000
#define ASK_TIMES 5

/* So many failures in a row, and a queue's heartbeats pause */
#define FAILED_TO_PAUSE 8
#define PAUSE_MAX_MS 10000

typedef struct BeatCall
{
	dlist_node	node;			/* among those loaded, or answered */
	Queue	   *queue;
	Beat	   *beat;
	PooledChannel *channel;		/* in flight: where */
	uint8	   *bytes;
	size_t		len;
	const char *path;
	RequestMethod method;		/* of a heartbeat */
	uint64		encoded_by;		/* as those of a request */
	bool		has_encoded;
	char	   *workflow_id;	/* it asks for the timeout; "" = of a
								 * standalone activity */
	int64		session;
	TimestampTz expires_at;
	int64		sent_at;		/* monotonic ms */
	CallMeaning meaning;
	const char *error_code;		/* constant, or NULL */
	uint8	   *reply;
	size_t		reply_len;
} BeatCall;

/* Whether a recording was replaced is looked at for that part of the time at most */
#define REPLACED_PART 200

/* For load_row() */
typedef struct Loader
{
	Beat	   *beat;
	HeartbeatRows *rows;
	BeatCall   *call;			/* NULL: none is to be made */
	const char *ended;			/* why there are no more */
} Loader;

static dlist_head loaded = DLIST_STATIC_INIT(loaded);
static dlist_head answered = DLIST_STATIC_INIT(answered);
static MemoryContext call_context;

static bool is_held(const Beat *beat);
static bool must_ask(const Beat *beat);
static bool take_rate(Queue *queue);
static bool load_row(void *arg, const HeartbeatRow *row);
static bool is_replaced(const Loader *loader, const HeartbeatRow *row);
static void make_heartbeat(BeatCall *call, const Queue *queue, const HeartbeatRow *row);
static bool make_question(BeatCall *call, const Queue *queue, const HeartbeatRow *row);
static bool can_send(const BeatCall *call);
static bool encode_call(BeatCall *call);
static void encoded(void *arg, const EncodeResult *result);
static void take_encoded(BeatCall *call, const EncodeResult *result);
static void not_encoded(BeatCall *call, bool failed_alone);
static void put_in_flight(BeatCall *call);
static void send_call(BeatCall *call);
static void call_done(void *arg, const CallResult *result);
static void settle(BeatCall *call);
static void settle_heartbeat(BeatCall *call);
static void settle_question(BeatCall *call);
static void set_timeout(void *arg, const DescribedActivity *described);
static void failed(BeatCall *call);
static void note_loaded(BeatCall *call);
static void free_call(BeatCall *call);

/*---- loading ----*/

void
tc_heartbeats_load(Queue *queue)
{
	HeartbeatRows rows;
	int64		now = tc_monotonic_ms();

	if (call_context == NULL)
		call_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete heartbeats that are sent",
											 ALLOCSET_DEFAULT_SIZES);
	tc_heartbeat_rows_open(&rows);
	for (int room = tc_heartbeat_turn_room(queue->row.key.role); room > 0 && tc_heartbeats_want_bytes(queue); room--)
	{
		Beat	   *beat = tc_beat_first(queue);
		Loader		loader = {beat, &rows};

		if (is_held(beat))
		{
			tc_beat_take(beat, BEAT_SETTLED);
			tc_beat_wait(beat, now + HELD_MS);
			continue;
		}
		if (!must_ask(beat) && !take_rate(queue))
			break;
		if (!tc_heartbeat_row(&rows, queue->number, beat->xid, beat->id, &beat->tid, load_row, &loader))
			tc_beat_end(beat, NULL);
		else if (loader.call == NULL)
			tc_beat_end(beat, loader.ended);
		else
			note_loaded(loader.call);
	}
	tc_heartbeat_rows_close(&rows);
}

static void
note_loaded(BeatCall *call)
{
	Queue	   *queue = call->queue;

	tc_heartbeat_turn_count(queue->row.key.role);
	tc_beat_take(call->beat, BEAT_LOADED);
	dlist_push_tail(&loaded, &call->node);
	queue->heartbeats_loaded++;
	queue->heartbeats_asking += call->workflow_id != NULL;
	tc_share_take(queue->account, SHARE_PLACES, 1);
	tc_share_take(queue->account, SHARE_BYTES, call->len);
}

/*
 * A verdict is on its way, or it is not known what became of it.  Not while it
 * certainly has no effect: the activity must not time out meanwhile.
 */
static bool
is_held(const Beat *beat)
{
	const Request *first = tc_chain_first(beat->activity);

	if (first == NULL || tc_method_is_heartbeat(first->method) || first->queue->steps_aside ||
		tc_was_refused_role(first))
		return false;
	if (first->maybe_sent || first->state == REQUEST_CONFIRMING)
		return true;
	return !first->is_being_encoded &&
		(first->state == REQUEST_IN_FLIGHT || first->state == REQUEST_ANSWERED);
}

static bool
must_ask(const Beat *beat)
{
	return beat->interval_ms == 0 && beat->beats > 0 && beat->queue->heartbeats_asking < ASKING_MAX;
}

/* If not now, none of the queue is sent before there may be another token. */
static bool
take_rate(Queue *queue)
{
	PooledChannel *channel = queue->channel;
	const ServerConfig *config = channel->config;
	Oid			role = queue->row.key.role;
	Rate	   *rate = NULL;

	if (channel->heartbeat_rate != NULL &&
		!tc_rate_take(channel->heartbeat_rate, role, config->max_heartbeats_per_second))
		rate = channel->heartbeat_rate;
	else if (channel->rate != NULL &&
			 !tc_rate_take(channel->rate, role, config->max_requests_per_second))
		rate = channel->rate;
	if (rate != NULL)
		queue->heartbeats_after = tc_rate_next(rate);
	return rate == NULL;
}

static bool
load_row(void *arg, const HeartbeatRow *row)
{
	Loader	   *loader = arg;
	Beat	   *beat = loader->beat;
	BeatCall   *call;

	beat->tid = row->tid;
	if (row->heartbeat == NULL || row->expires_at <= GetCurrentTimestamp() || is_replaced(loader, row))
		return false;
	if (row->session != 0 && !tc_session_lives(row->session))
	{
		loader->ended = TC_SESSION_ENDED;
		return false;
	}
	call = MemoryContextAllocZero(call_context, sizeof(BeatCall));
	call->queue = beat->queue;
	call->beat = beat;
	call->session = row->session;
	call->expires_at = row->expires_at;
	if (!must_ask(beat))
		make_heartbeat(call, beat->queue, row);
	else if (!make_question(call, beat->queue, row))
	{
		beat->interval_ms = GUESSED_INTERVAL_MS;
		make_heartbeat(call, beat->queue, row);
	}
	loader->call = call;
	return false;
}

/*
 * Somebody may have recorded a key very often, and see to it that nothing of
 * that can be vacuumed.
 */
static bool
is_replaced(const Loader *loader, const HeartbeatRow *row)
{
	Beat	   *beat = loader->beat;
	int64		begin = tc_monotonic_ms();
	bool		result;

	if (beat->replaced_after > begin)
		return false;
	result = tc_heartbeat_is_replaced(loader->rows, row, &beat->queue->row.key);
	beat->replaced_after = tc_monotonic_ms() + (tc_monotonic_ms() - begin) * REPLACED_PART;
	return result;
}

static void
make_heartbeat(BeatCall *call, const Queue *queue, const HeartbeatRow *row)
{
	size_t		len = row->len;

	call->bytes = MemoryContextAlloc(call_context, len + strlen(queue->namespace_utf8) +
									 TC_FIELD_OVERHEAD + TC_IDENTITY_FIELD_MAX);
	memcpy(call->bytes, row->heartbeat, len);
	len += tc_namespace_field(row->method, queue->namespace_utf8, call->bytes + len);
	len += tc_identity_field(row->method, &row->identity, call->bytes + len);
	call->len = len;
	call->path = tc_method_path(row->method);
	call->method = row->method;
}

/* False if it is not known whom to ask for. */
static bool
make_question(BeatCall *call, const Queue *queue, const HeartbeatRow *row)
{
	MemoryContext old;
	RequestTarget target;
	const char *run_id;

	if (!tc_request_decode(row->method, row->heartbeat, row->len, &target) || target.activity_id == NULL)
		return false;
	run_id = target.run_id != NULL ? target.run_id : "";
	old = MemoryContextSwitchTo(call_context);
	call->workflow_id = pstrdup(target.workflow_id != NULL ? target.workflow_id : "");
	if (target.workflow_id != NULL)
	{
		call->path = DESCRIBE_WORKFLOW_PATH;
		call->bytes = tc_describe_workflow_encode(queue->namespace_utf8, target.workflow_id, run_id, &call->len);
	}
	else
	{
		call->path = DESCRIBE_ACTIVITY_PATH;
		call->bytes = tc_describe_activity_encode(queue->namespace_utf8, target.activity_id, run_id, false,
												  &call->len);
	}
	MemoryContextSwitchTo(old);
	return true;
}

/*---- sending ----*/

void
tc_heartbeats_send(void)
{
	dlist_mutable_iter iter;
	Channel    *to_flush = NULL;

	dlist_foreach_modify(iter, &loaded)
	{
		BeatCall   *call = dlist_container(BeatCall, node, iter.cur);
		Channel    *channel;

		if (!can_send(call) || encode_call(call))
			continue;
		channel = call->beat->queue->channel->channel;
		if (to_flush != NULL && to_flush != channel)
			tc_channel_flush(to_flush);
		to_flush = channel;
		send_call(call);
	}
	tc_encodings_flush();
	if (to_flush != NULL)
		tc_channel_flush(to_flush);
}

/* False if it can be sent as it is; else it is seen to. */
static bool
encode_call(BeatCall *call)
{
	Queue	   *queue = call->queue;
	PooledChannel *channel = queue->channel;
	Encodable	it = {
		.method = call->method,
		.bytes = call->bytes,
		.len = call->len,
		.alone = call->beat->failures > 0,
		.over = encoded,
		.arg = call
	};

	if (call->workflow_id != NULL ||
		call->encoded_by == (channel->codec != NULL ? channel->serial : 0))
		return false;
	if (call->encoded_by != 0)
		return true;			/* by former options: it is put back */
	switch (tc_encode(queue, &it))
	{
		case ENCODE_NEEDLESS:
			call->encoded_by = channel->serial;
			return false;
		case ENCODE_BEGUN:
			put_in_flight(call);
			break;
		case ENCODE_NO_ROOM:
			dlist_delete(&call->node);
			queue->heartbeats_loaded--;
			call->channel = channel;
			not_encoded(call, !tc_encoding_is_ready(queue) && tc_channels_backing_off(channel->codec));
			break;
		case ENCODE_MALFORMED:
			dlist_delete(&call->node);
			queue->heartbeats_loaded--;
			call->beat->state = BEAT_SETTLED;
			tc_beat_end(call->beat, "MALFORMED");
			free_call(call);
			break;
	}
	return true;
}

/* It is loaded again, and sent in this turn if it can be, or put back. */
static void
encoded(void *arg, const EncodeResult *result)
{
	BeatCall   *call = arg;

	call->queue->heartbeats_in_flight--;
	tc_queue_activate(call->queue);
	tc_channels_end_call(call->channel);
	if (call->beat->dropped)
	{
		call->beat->state = BEAT_SETTLED;
		tc_beat_end(call->beat, NULL);
		free_call(call);
	}
	else if (result->verdict == ENCODE_DONE)
		take_encoded(call, result);
	else
		not_encoded(call, result->verdict != ENCODE_PUT_BACK);
}

static void
take_encoded(BeatCall *call, const EncodeResult *result)
{
	uint8	   *bytes = MemoryContextAlloc(call_context, result->len);

	memcpy(bytes, result->bytes, result->len);
	pfree(call->bytes);
	tc_share_give(call->queue->account, SHARE_BYTES, call->len);
	call->bytes = bytes;
	call->len = result->len;
	call->has_encoded = true;
	tc_share_take(call->queue->account, SHARE_ENCODED, call->len);
	call->encoded_by = call->channel->serial;
	call->beat->state = BEAT_LOADED;
	call->queue->heartbeats_loaded++;
	dlist_push_tail(&loaded, &call->node);
}

static void
not_encoded(BeatCall *call, bool failed_alone)
{
	Beat	   *beat = call->beat;
	int64		delay = HELD_MS;

	if (failed_alone)
	{
		delay = Min(tc_backoff_ms(call->channel->config, beat->failures),
					beat->interval_ms > 0 ? beat->interval_ms : UNKNOWN_INTERVAL_MS);
		beat->failures = Min(beat->failures + 1, 30);
	}
	beat->state = BEAT_SETTLED;
	tc_beat_wait(beat, tc_monotonic_ms() + delay);
	free_call(call);
}

static bool
can_send(const BeatCall *call)
{
	const Queue *queue = call->beat->queue;

	return !call->beat->dropped && queue->channel != NULL && !queue->look_again && !tc_flow_is_paused(queue) &&
		tc_channel_capacity(queue->channel->channel) > 0 && !is_held(call->beat) &&
		(call->session == 0 || tc_session_lives(call->session)) &&
		call->expires_at > GetCurrentTimestamp();
}

static void
send_call(BeatCall *call)
{
	Queue	   *queue = call->queue;
	Call		wire_call = {0};

	put_in_flight(call);
	call->sent_at = tc_monotonic_ms();
	if (call->workflow_id == NULL)
		tc_count_heartbeat(queue);

	wire_call.path = call->path;
	wire_call.namespace_name = queue->namespace_utf8;
	wire_call.message = call->bytes;
	wire_call.message_len = call->len;
	wire_call.timeout_ms = call->channel->config->request_timeout_ms;
	wire_call.max_reply = call->workflow_id != NULL ? MAX_DESCRIPTION : MAX_REPLY;
	wire_call.done = call_done;
	wire_call.arg = call;
	tc_channel_call(call->channel->channel, &wire_call);
}

static void
put_in_flight(BeatCall *call)
{
	Queue	   *queue = call->queue;

	dlist_delete(&call->node);
	queue->heartbeats_loaded--;
	queue->heartbeats_in_flight++;
	tc_beat_take(call->beat, BEAT_IN_FLIGHT);
	call->channel = queue->channel;
	tc_channels_begin_call(call->channel);
}

/* It is read again: much may have changed since. */
void
tc_heartbeats_put_back(void)
{
	tc_heartbeat_turn_over();
	while (!dlist_is_empty(&loaded))
	{
		BeatCall   *call = dlist_container(BeatCall, node, dlist_pop_head_node(&loaded));
		Beat	   *beat = call->beat;

		call->queue->heartbeats_loaded--;
		tc_queue_activate(call->queue);
		free_call(call);
		beat->state = BEAT_SETTLED;
		if (beat->dropped)
			tc_beat_end(beat, NULL);
		else
			tc_beat_wait(beat, beat->due.due);
	}
}

/*---- answers ----*/

/* Runs beneath the wire: must not raise errors. */
static void
call_done(void *arg, const CallResult *result)
{
	BeatCall   *call = arg;

	call->beat->state = BEAT_ANSWERED;
	call->meaning = tc_classify(result);
	call->error_code = tc_error_code(result);
	if (call->meaning == MEANING_DELIVERED && result->reply_len > 0)
	{
		call->reply = MemoryContextAllocExtended(call_context, result->reply_len,
												 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
		if (call->reply != NULL)
		{
			memcpy(call->reply, result->reply, result->reply_len);
			call->reply_len = result->reply_len;
		}
	}
	dlist_push_tail(&answered, &call->node);
}

void
tc_heartbeats_take_answers(void)
{
	while (!dlist_is_empty(&answered))
		settle(dlist_container(BeatCall, node, dlist_pop_head_node(&answered)));
}

static void
settle(BeatCall *call)
{
	Beat	   *beat = call->beat;
	Queue	   *queue = call->queue;

	queue->heartbeats_in_flight--;
	beat->state = BEAT_SETTLED;
	tc_queue_activate(queue);
	tc_channels_end_call(call->channel);
	if (call->meaning == MEANING_DELIVERED)
	{
		queue->heartbeat_failures = 0;
		/* perhaps no request will tell */
		if (queue->error_code != NULL && call->channel == queue->channel &&
			(call->channel->codec == NULL || call->channel->codec->failures == 0))
			tc_flow_connected(queue);
	}
	if (beat->dropped)
		tc_beat_end(beat, NULL);
	else if (call->workflow_id != NULL)
		settle_question(call);
	else
		settle_heartbeat(call);
	free_call(call);
}

static void
settle_heartbeat(BeatCall *call)
{
	Beat	   *beat = call->beat;
	int32		interval = beat->interval_ms > 0 ? beat->interval_ms : UNKNOWN_INTERVAL_MS;
	HeartbeatReply reply;
	double		part = 1.0;

	switch (call->meaning)
	{
		case MEANING_DELIVERED:
			break;
		case MEANING_REJECTED:
		case MEANING_GONE:
			beat->queue->heartbeat_failures = 0;
			tc_beat_end(beat, call->error_code);
			return;
		default:
			failed(call);
			return;
	}
	beat->failures = 0;
	if (tc_heartbeat_reply_decode(call->reply, call->reply_len, &reply) &&
		memcmp(&reply, &beat->reply, sizeof(reply)) != 0)
	{
		beat->reply = reply;
		tc_heartbeat_note(beat->queue, beat->id, beat->xid, &reply, NULL);
	}

	/* those that came at once are spread from then on */
	if (beat->beats == 0 || beat->interval_ms == 0)
		part = Max(0.01, tc_random_fraction());
	beat->beats = Min(beat->beats + 1, PG_UINT8_MAX);
	if (must_ask(beat))
		tc_beat_wait(beat, call->sent_at);
	else if (part < 1.0)
		tc_beat_wait(beat, call->sent_at + (int64) (interval * part));
	else
		/* in step, so that those that were late together part again */
		tc_beat_wait(beat, beat->due.due + (Max(call->sent_at - beat->due.due, 0) / interval + 1) * interval);
	/* ask again for what could not be found out */
	if (beat->guessed && beat->asked < ASK_TIMES)
		beat->interval_ms = 0;
}

static void
settle_question(BeatCall *call)
{
	Beat	   *beat = call->beat;
	DescribedActivity described;

	beat->asked++;
	if (call->meaning == MEANING_DELIVERED && call->workflow_id[0] != '\0')
		(void) tc_pending_activities_read(call->reply, call->reply_len, set_timeout, call);
	else if (call->meaning == MEANING_DELIVERED &&
			 tc_described_activity_read(call->reply, call->reply_len, &described))
		tc_beat_set_timeout(beat, described.heartbeat_timeout / 1000);
	if (beat->interval_ms == 0 && beat->asked < ASK_TIMES &&
		(call->meaning == MEANING_SEND_AGAIN || call->meaning == MEANING_RETRY ||
		 call->meaning == MEANING_THROTTLED))
	{
		tc_beat_wait(beat, tc_monotonic_ms() + tc_backoff_ms(call->channel->config, beat->asked));
		return;
	}
	if (beat->interval_ms == 0)
	{
		/* the heartbeat will tell whether it is there */
		beat->interval_ms = GUESSED_INTERVAL_MS;
		beat->guessed = call->meaning != MEANING_GONE && call->meaning != MEANING_REJECTED;
	}

	/*
	 * one was sent just before, and which part of the interval comes first
	 * spreads them
	 */
	tc_beat_wait(beat, tc_monotonic_ms() + (int64) (beat->interval_ms * (0.1 + 0.8 * tc_random_fraction())));
}

/* Of one of the activities of a workflow.  Servers before 1.26 do not tell their options. */
static void
set_timeout(void *arg, const DescribedActivity *described)
{
	BeatCall   *call = arg;
	Beat	   *next;

	if (!described->has_options)
		return;
	for (Beat *beat = tc_beats_of(tc_activity_by_ids(call->beat->queue->activity_seed,
													 call->workflow_id, strlen(call->workflow_id),
													 (const char *) described->activity_id.bytes,
													 described->activity_id.len));
		 beat != NULL; beat = next)
	{
		next = beat->next;
		if (beat->interval_ms == 0 || beat->guessed)
			tc_beat_set_timeout(beat, described->heartbeat_timeout / 1000);
	}
}

static void
failed(BeatCall *call)
{
	Beat	   *beat = call->beat;
	Queue	   *queue = beat->queue;
	const ServerConfig *config = call->channel->config;
	int64		now = tc_monotonic_ms();
	int64		delay = 0;

	if (call->meaning != MEANING_SEND_AGAIN || beat->failures > 0)
		delay = Min(tc_backoff_ms(config, beat->failures),
					beat->interval_ms > 0 ? beat->interval_ms : UNKNOWN_INTERVAL_MS);
	beat->failures = Min(beat->failures + 1, 30);
	if (queue->heartbeats_after <= now && ++queue->heartbeat_failures >= FAILED_TO_PAUSE)
		queue->heartbeats_after = now +
			Min(tc_backoff_ms(config, Min(queue->heartbeat_failures - FAILED_TO_PAUSE, 30)), PAUSE_MAX_MS);
	tc_beat_wait(beat, now + delay);
}

static void
free_call(BeatCall *call)
{
	Queue	   *queue = call->queue;

	queue->heartbeats_asking -= call->workflow_id != NULL;
	tc_share_give(queue->account, SHARE_PLACES, 1);
	tc_share_give(queue->account, call->has_encoded ? SHARE_ENCODED : SHARE_BYTES, call->len);
	pfree(call->bytes);
	if (call->workflow_id != NULL)
		pfree(call->workflow_id);
	if (call->reply != NULL)
		pfree(call->reply);
	pfree(call);
}
