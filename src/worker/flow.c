/*-------------------------------------------------------------------------
 *
 * flow.c
 *	  How much of a queue may be in flight, and when it pauses.
 *
 * At most `window` requests of a queue are in flight.  The window grows with
 * each success up to max_in_flight, and is halved when the server is
 * overloaded or fails.  When several requests fail and none succeeds the
 * queue pauses as a whole, longer each time, and then probes with one
 * request: a server that refuses everything uses up nobody's attempts.  One
 * request that fails again and again says nothing about the others.
 *
 * Other queues are not touched, whatever happens to one.  But a role may have
 * very many, each with a request that fails: so what is refused until somebody
 * acts, and what a server does not answer again and again, is tried again at
 * the pace of the role at the server (share.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "worker/flow.h"
#include "worker/story.h"

#define WINDOW_START 64
#define WINDOW_SHRINK_INTERVAL_MS 100
#define PAUSE_MAX_MS 10000

/* A server that has failed so often, and succeeded never, is spared */
#define FAILED_TO_SPARE 100

/* After so long without an answer others need not wait for a queue's turn */
#define STUCK_AFTER_MS 10000

static StoryPlace
place_of(const Queue *queue)
{
	StoryPlace	place = {
		.server = queue->row.server_name,
		.namespace_name = queue->namespace_name != NULL ? queue->namespace_name : "",
		.role = queue->row.key.role,
		.queue = queue->number
	};

	return place;
}

/* Has a queue an error_changed? */
static bool errors_changed = false;

bool
tc_flow_errors_changed(void)
{
	return errors_changed;
}

void
tc_flow_errors_noted(void)
{
	errors_changed = false;
}

void
tc_flow_init(Queue *queue)
{
	queue->window = WINDOW_START;
	queue->slow_start = true;
}

void
tc_flow_success(Queue *queue)
{
	StoryPlace	place = place_of(queue);

	tc_story_success(&place);
	if (queue->channel != NULL)
		queue->channel->failed_calls = 0;
	queue->nfailed = 0;
	queue->pauses = 0;
	queue->paused_until = 0;
	tc_flow_clear_error(queue);
	if (queue->channel == NULL || queue->window >= queue->channel->config->max_in_flight)
		return;
	queue->window += queue->slow_start ? 1.0 : 1.0 / queue->window;
	queue->window = Min(queue->window, queue->channel->config->max_in_flight);
}

int
tc_flow_pace(Queue *queue, const Request *request)
{
	int64		now = tc_monotonic_ms();

	request->channel->failed_calls++;
	queue->pace_until = now;
	if (request->meaning == MEANING_NEEDS_OPERATOR ||
		request->channel->failed_calls > FAILED_TO_SPARE)
		queue->pace_until = Max(now, tc_share_next_retry(queue->account, now));
	return (int) (queue->pace_until - now);
}

void
tc_flow_failure(Queue *queue, const Request *request)
{
	const ServerConfig *config = request->channel->config;
	StoryPlace	place = place_of(queue);
	int64		now = tc_monotonic_ms();
	bool		failed_before = false;
	int			pause;

	tc_story_failure(&place, request->error_code, request->meaning == MEANING_NEEDS_OPERATOR);
	for (int i = 0; i < queue->nfailed; i++)
		failed_before |= queue->failed[i] == request->id;
	if (failed_before && queue->pauses == 0)
		return;
	if (!failed_before && queue->nfailed < FAILED_TO_PAUSE)
		queue->failed[queue->nfailed++] = request->id;

	if (now - queue->shrunk_at >= WINDOW_SHRINK_INTERVAL_MS)
	{
		queue->shrunk_at = now;
		queue->slow_start = false;
		queue->window = Max(1.0, queue->window / 2);
	}
	if (queue->nfailed < FAILED_TO_PAUSE || tc_flow_is_paused(queue))
		return;

	if (queue->pauses == 0)
		queue->failing_since = now;
	queue->needs_operator = request->meaning == MEANING_NEEDS_OPERATOR;
	pause = request->meaning == MEANING_NEEDS_OPERATOR ?
		config->retry_max_interval_ms : tc_backoff_ms(config, queue->pauses);
	queue->pauses++;
	queue->window = 1.0;
	queue->slow_start = true;
	tc_flow_pause_until(queue, Max(now + Min(pause, PAUSE_MAX_MS), queue->pace_until));
	tc_flow_set_error(queue, request->error_code,
					  request->error_message ? request->error_message : "",
					  queue->paused_until);
}

void
tc_flow_pause_until(Queue *queue, int64 until)
{
	queue->paused_until = until;
}

bool
tc_flow_is_paused(const Queue *queue)
{
	return queue->paused_until > tc_monotonic_ms();
}

bool
tc_flow_is_stuck(const Queue *queue)
{
	int64		since = PG_INT64_MAX;

	if (queue->channel == NULL)
		return true;
	for (const PooledChannel *channel = queue->channel; channel != NULL; channel = channel->codec)
	{
		if (!tc_channels_backing_off(channel))
			continue;
		if (channel->error.needs_operator)
			return true;
		since = Min(since, channel->failing_since);
	}
	if (tc_flow_is_paused(queue))
	{
		if (queue->needs_operator)
			return true;
		since = Min(since, queue->failing_since);
	}
	return since <= tc_monotonic_ms() - STUCK_AFTER_MS;
}

bool
tc_flow_has_room(const Queue *queue)
{
	return tc_queue_in_flight(queue) < (int) queue->window && !tc_flow_is_paused(queue);
}

void
tc_flow_set_error(Queue *queue, const char *code, const char *message, int64 until)
{
	if (queue->error_code != NULL && strcmp(queue->error_code, code) == 0 &&
		strncmp(queue->error_message, message, sizeof(queue->error_message) - 1) == 0 &&
		queue->error_until == until)
		return;
	if (queue->error_code == NULL)
		queue->error_since = GetCurrentTimestamp();
	queue->error_code = code;
	strlcpy(queue->error_message, message, sizeof(queue->error_message));
	queue->error_until = until;
	queue->error_changed = true;
	errors_changed = true;
}

void
tc_flow_clear_error(Queue *queue)
{
	if (queue->error_code == NULL)
		return;
	queue->error_code = NULL;
	queue->error_changed = true;
	errors_changed = true;
}

void
tc_flow_cannot_send(Queue *queue, const char *code, const char *message, int64 until)
{
	StoryPlace	place = place_of(queue);

	tc_story_trouble(&place, code, message);
	tc_flow_set_error(queue, code, message, until);
}

void
tc_flow_connected(Queue *queue)
{
	StoryPlace	place = place_of(queue);

	tc_story_connected(&place);
	if (queue->pauses == 0)
		tc_flow_clear_error(queue);
}
