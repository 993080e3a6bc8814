/*-------------------------------------------------------------------------
 *
 * wants.c
 *	  What a queue wants of the database now.
 *
 * That a queue is unread says only that it may have rows.  They are wanted as
 * far as there is room for them, and if they can be sent or it has to be seen
 * whether there are any.  Whatever a want waits for makes the queue active
 * when it comes: a timer, its channel, an answer, a share that is given back,
 * or outcomes that are recorded.
 *
 * Only questions here: nothing is read, and nothing is changed but what
 * tc_queue_may_have() and is_behind() note.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/channel_pool.h"
#include "worker/flow.h"
#include "worker/heartbeats.h"
#include "worker/key_waits.h"
#include "worker/known_queues.h"
#include "worker/queue.h"
#include "worker/recording.h"
#include "worker/wants.h"

/* Requests in memory with their bytes, beyond two windows */
#define LOADED_BEYOND_WINDOWS 1024

/* Nothing more is read while so many outcomes cannot be recorded */
#define UNRECORDED_MAX 20000

static bool ended;
static bool behind;				/* since queues were activated last */

static bool may_read(Queue *queue);
static bool is_behind(const Queue *queue);

bool
tc_queue_wants(Queue *queue)
{
	return tc_queue_wants_rows(queue) || tc_queue_wants_to_know(queue) || tc_queue_wants_retries(queue) ||
		tc_queue_wants_options(queue) || tc_queue_wants_heartbeats(queue);
}

bool
tc_queue_wants_heartbeats(Queue *queue)
{
	if (ended || queue->awaits_look || queue->look_again || queue->channel == NULL ||
		tc_flow_is_paused(queue))
		return false;
	return tc_heartbeats_want_rows(queue) ||
		(tc_queue_is_connected(queue) && tc_heartbeats_want_bytes(queue));
}

bool
tc_queue_wants_rows(Queue *queue)
{
	PooledChannel *channel = queue->channel;

	if (!may_read(queue))
		return false;
	if (tc_queue_can_send(queue))
		return queue->count[REQUEST_READY] < queue->window && tc_queue_has_room_for_rows(queue);
	if (channel != NULL &&
		(tc_channels_backing_off(channel) ||
		 (channel->codec != NULL && tc_channels_backing_off(channel->codec))))
		return false;
	if (channel != NULL && channel->lacks_room && !tc_queue_may_have(queue, SHARE_CONNECTIONS))
		return false;
	return tc_queue_loaded(queue) == 0 && tc_queue_may_have(queue, SHARE_BYTES);
}

bool
tc_queue_wants_to_know(Queue *queue)
{
	const PooledChannel *channel = queue->channel;

	if (queue->rows_are_there || channel == NULL || !may_read(queue) || tc_queue_loaded(queue) > 0)
		return false;
	if (channel->codec != NULL && !tc_channels_backing_off(channel))
		channel = channel->codec;
	return tc_channels_backing_off(channel) && channel->connect_at <= tc_monotonic_ms();
}

static bool
may_read(Queue *queue)
{
	return queue->unread && !queue->awaits_look && !ended && !tc_flow_is_paused(queue) &&
		!is_behind(queue) && tc_queue_takes_rows(queue);
}

/* Nothing more is read before what was read has been seen to; then queues that wanted some are active again. */
static bool
is_behind(const Queue *queue)
{
	if (tc_recording_count() <= UNRECORDED_MAX && !tc_key_waits_are_many(queue))
		return false;
	behind = true;
	return true;
}

bool
tc_queue_wants_retries(Queue *queue)
{
	return !ended && !queue->awaits_look && !tc_flow_is_paused(queue) && tc_queue_can_send(queue) &&
		tc_retry_is_due(queue) && queue->count[REQUEST_READY] < queue->window &&
		tc_queue_has_room_for_rows(queue);
}

bool
tc_queue_wants_options(Queue *queue)
{
	if (queue->awaits_look)
		return false;
	if (queue->look_again)
		return queue->look_after <= tc_monotonic_ms();
	return queue->channel == NULL && !tc_flow_is_paused(queue) &&
		(queue->unread || tc_queue_has_use_for_options(queue));
}

bool
tc_queue_has_use_for_options(Queue *queue)
{
	return queue->look_again || queue->count[REQUEST_READY] > 0 ||
		queue->heartbeats > 0 || queue->heartbeats_found ||
		queue->count[REQUEST_CONFIRMING] > 0 || tc_retry_is_due(queue);
}

bool
tc_queue_has_room_for_rows(Queue *queue)
{
	return tc_queue_loaded(queue) < (int) (2 * queue->window + LOADED_BEYOND_WINDOWS) &&
		tc_queue_may_have(queue, SHARE_BYTES);
}

bool
tc_retry_is_due(Queue *queue)
{
	Request    *next = tc_queue_next_retry(queue);

	return next != NULL && next->retry.due <= tc_monotonic_ms();
}

bool
tc_queue_is_connected(const Queue *queue)
{
	return queue->channel != NULL &&
		tc_channel_state(queue->channel->channel) == CHANNEL_READY;
}

bool
tc_queue_can_send(const Queue *queue)
{
	return tc_queue_is_connected(queue) &&
		(queue->channel->codec == NULL ||
		 tc_channel_state(queue->channel->codec->channel) == CHANNEL_READY);
}

void
tc_wants_end(void)
{
	ended = true;
}

void
tc_wants_turn(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	if (!behind || tc_recording_count() > UNRECORDED_MAX)
		return;
	behind = false;
	for (int i = 0; i < nqueues; i++)
		if (queues[i]->unread)
			tc_queue_activate(queues[i]);
}
