/*-------------------------------------------------------------------------
 *
 * active_queues.c
 *	  Which queues are to be looked at.
 *
 * A queue is active while something can be done for it at once.  One that
 * found no room for what it needs (share.c) waits with others like it, and is
 * active again when it may have that.  The others are activated by a timer,
 * a wake, an answer or their channel.
 *
 * Nothing here looks into a queue.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/active_queues.h"

/* Queues to look at in the next turn, and whether there are new ones */
static dlist_head active = DLIST_STATIC_INIT(active);
static bool activated;

/* Those that are to be looked at when they may have what they lack */
static dlist_head starving = DLIST_STATIC_INIT(starving);
static int	nstarving;

/* Starving queues looked at in one turn */
#define FEED_MAX 1024

void
tc_queue_activate(Queue *queue)
{
	if (queue->active)
		return;
	if (queue->starves)
	{
		queue->starves = false;
		nstarving--;
		dlist_delete(&queue->active_node);
	}
	queue->active = true;
	activated = true;
	dlist_push_tail(&active, &queue->active_node);
}

void
tc_queue_deactivate(Queue *queue)
{
	if (!queue->active)
		return;
	queue->active = false;
	dlist_delete(&queue->active_node);
	if (queue->lacks)
	{
		queue->starves = true;
		nstarving++;
		dlist_push_tail(&starving, &queue->active_node);
	}
}

bool
tc_queue_may_have(Queue *queue, ShareKind kind)
{
	if (tc_share_has_room(queue->account, kind))
		return true;
	queue->lacks = true;
	queue->lacking = kind;
	tc_share_note_lack(queue->account, kind);
	return false;
}

bool
tc_queues_can_be_fed(void)
{
	return nstarving > 0 && tc_share_is_given();
}

/* Those that still lack it go to the end, so that all are looked at in turn. */
bool
tc_queues_feed(void)
{
	static int	unseen;

	if (tc_share_was_given())
		unseen = nstarving;
	unseen = Min(unseen, nstarving);
	for (int n = Min(unseen, FEED_MAX); n > 0; n--)
	{
		Queue	   *queue = dlist_container(Queue, active_node, dlist_head_node(&starving));

		unseen--;
		if (tc_share_has_room(queue->account, queue->lacking))
			tc_queue_activate(queue);
		else
		{
			dlist_delete(&queue->active_node);
			dlist_push_tail(&starving, &queue->active_node);
		}
	}
	return unseen > 0;
}

dlist_head *
tc_active_queues(void)
{
	return &active;
}

bool
tc_queues_activated(void)
{
	bool		result = activated;

	activated = false;
	return result;
}
