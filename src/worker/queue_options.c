/*-------------------------------------------------------------------------
 *
 * queue_options.c
 *	  Through which channel a queue sends by today's options, if it may.
 *
 * A queue without a channel sends nothing.  When options or rights change, those
 * of the others that this may concern (option_changes.c) send nothing either
 * before their own were looked at (look_again), when it is their turn to
 * (option_looks.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "foreign/foreign.h"

#include "base/foreign_text.h"
#include "request/request.h"
#include "worker/channel_pool.h"
#include "worker/flow.h"
#include "worker/key_waits.h"
#include "worker/known_queues.h"
#include "worker/option_looks.h"
#include "worker/queue.h"
#include "worker/queue_options.h"

/* A queue whose options cannot be used waits that long; one that is paused looks again after it */
#define OPTIONS_BROKEN_MS 60000

/* Come back after that long when somebody has locked the table of pauses */
#define LOCKED_MS 1000

static void set_channel(Queue *queue, PooledChannel *channel);
static const char *find_server(Queue *queue);
static void stop(Queue *queue);
static void pause(Queue *queue, const char *words);

void
tc_queues_options_changed(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	for (int i = 0; i < nqueues; i++)
	{
		Queue	   *queue = queues[i];

		if (!tc_option_changes_concern(&queue->option_hashes))
			continue;
		if (queue->channel != NULL)
		{
			queue->look_again = true;
			queue->look_after = 0;
		}
		if (queue->channel != NULL || queue->error_code != NULL)
			tc_option_look_want(queue);
	}
	tc_key_waits_look();
	/* last: after an error it is done again */
	tc_option_changes_seen();
}

void
tc_queue_use_options(Queue *queue)
{
	bool		was_stopped = queue->channel == NULL;
	bool		is_new;
	ServerProblem problem;
	PooledChannel *channel;
	char	   *namespace_name;
	bool		is_own_namespace;
	const char *goes_into = find_server(queue);
	char	   *words;

	switch (goes_into == NULL ? PAUSE_NONE : tc_queue_pause(&queue->row.key, goes_into, &words))
	{
		case PAUSE_NONE:
			break;
		case PAUSE_ON:
			pause(queue, words);
			return;
		case PAUSE_UNKNOWN:
			queue->look_after = tc_monotonic_ms() + LOCKED_MS;
			tc_flow_pause_until(queue, queue->look_after);
			tc_queue_activate(queue);
			return;
	}

	channel = tc_channels_get(&queue->row, false, &namespace_name, &is_own_namespace, &problem);
	is_new = channel != queue->channel;
	set_channel(queue, channel);
	if (channel == NULL)
	{
		tc_flow_pause_until(queue, tc_monotonic_ms() + OPTIONS_BROKEN_MS);
		tc_flow_cannot_send(queue, problem.code, tc_words_from_server(problem.message),
							queue->paused_until);
		stop(queue);
	}
	else
	{
		is_new |= tc_queue_set_namespace(queue, namespace_name,
										 tc_namespace_to_utf8(namespace_name), is_own_namespace);
		/* its own have changed; the backoff of others stays as it is */
		if (is_new)
		{
			tc_flow_pause_until(queue, 0);
			tc_queue_retry_all(queue);
		}

		/*
		 * those for one activity are read in their order, also of two queues
		 * that go on
		 */
		if (was_stopped)
		{
			tc_queue_step_back(queue);
			tc_flow_clear_error(queue);
		}
		queue->window = Min(queue->window, channel->config->max_in_flight);
	}
	queue->look_again = false;
	tc_queue_activate(queue);
}

/* The queue is one of its users already, and none of its former one's then. */
static void
set_channel(Queue *queue, PooledChannel *channel)
{
	if (queue->channel != NULL)
	{
		dlist_delete(&queue->channel_node);
		tc_channels_release(queue->channel);
	}
	queue->channel = channel;
	if (channel != NULL)
		dlist_push_tail(&channel->queues, &queue->channel_node);
}

/* Nothing is sent; what is in flight ends by itself. */
static void
stop(Queue *queue)
{
	tc_queue_unload(queue);
	tc_queue_step_aside(queue);
}

/*
 * That is what somebody wants, so it is told to those who look, and not in
 * the log.
 */
static void
pause(Queue *queue, const char *words)
{
	set_channel(queue, NULL);
	tc_flow_pause_until(queue, tc_monotonic_ms() + OPTIONS_BROKEN_MS);
	tc_flow_set_error(queue, TC_PAUSED, tc_words_from_server(words), 0);
	stop(queue);
	queue->look_again = false;
	tc_queue_activate(queue);
}

/*
 * What its server is called now.  If it is gone, the queue may have been given
 * another one.  Returns the namespace into which its requests go, or NULL.
 */
static const char *
find_server(Queue *queue)
{
	ForeignServer *server = GetForeignServerExtended(queue->row.key.server, FSV_MISSING_OK);
	QueueRow	row;
	bool		made_here;

	if (server != NULL)
		tc_queue_set_server(queue, server->serverid, server->servername);
	else if (tc_queue_find(queue->number, &row, &made_here) && made_here &&
			 row.key.server != queue->row.key.server)
	{
		tc_queue_set_server(queue, row.key.server, row.server_name);
		server = GetForeignServerExtended(queue->row.key.server, FSV_MISSING_OK);
	}
	if (server == NULL)
		return NULL;
	return queue->row.key.namespace_name != NULL ? queue->row.key.namespace_name :
		tc_server_own_namespace(server);
}
