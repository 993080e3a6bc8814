/*-------------------------------------------------------------------------
 *
 * option_looks.c
 *	  In which order queues look at their options and rights.
 *
 * A role may have very many queues, and have all of them look again by
 * changing what they may rest on.  So only some look in a turn of the worker,
 * of each role one after the other: whoever has few does not wait for those of
 * others.  Of one role those come first that may have something to send, and
 * for which nothing stood in the way.
 *
 * Nothing here looks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "worker/active_queues.h"
#include "worker/flow.h"
#include "worker/option_looks.h"

/* Looking takes a part of the time, at most one of so many */
#define LOOK_PART 2

/* Queues of a role */
typedef struct LookLine
{
	Oid			role;
	dlist_node	node;			/* among those whose turn comes */
	dlist_head	first;			/* have something to send */
	dlist_head	others;
} LookLine;

static HTAB *lines_by_role;
static dlist_head lines = DLIST_STATIC_INIT(lines);
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;

static LookLine *line_of(Oid role);
static void leave_line(Queue *queue);

void
tc_option_looks_init(void)
{
	HASHCTL		info = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(LookLine),
		.hcxt = TopMemoryContext
	};

	lines_by_role = hash_create("temporal_complete roles whose queues look", 64, &info,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static LookLine *
line_of(Oid role)
{
	bool		found;
	LookLine   *line = hash_search(lines_by_role, &role, HASH_ENTER, &found);

	if (!found)
	{
		dlist_init(&line->first);
		dlist_init(&line->others);
		dlist_push_tail(&lines, &line->node);
	}
	return line;
}

void
tc_option_look_want(Queue *queue)
{
	LookLine   *line;

	if (queue->awaits_look)
		return;
	line = line_of(queue->row.key.role);
	if (queue->error_code == NULL &&
		(queue->unread || queue->count[REQUEST_READY] > 0 || queue->count[REQUEST_RETRYING] > 0))
		dlist_push_tail(&line->first, &queue->look_node);
	else
		dlist_push_tail(&line->others, &queue->look_node);
	queue->awaits_look = true;
}

void
tc_option_look_hasten(Queue *queue)
{
	LookLine   *line;

	if (!queue->awaits_look || queue->error_code != NULL)
		return;
	line = line_of(queue->row.key.role);
	dlist_delete(&queue->look_node);
	dlist_push_tail(&line->first, &queue->look_node);
}

static void
leave_line(Queue *queue)
{
	LookLine   *line = line_of(queue->row.key.role);

	dlist_delete(&queue->look_node);
	queue->awaits_look = false;
	if (!dlist_is_empty(&line->first) || !dlist_is_empty(&line->others))
		return;
	dlist_delete(&line->node);
	(void) hash_search(lines_by_role, &line->role, HASH_REMOVE, NULL);
}

bool
tc_option_looks_wanted(void)
{
	return !dlist_is_empty(&lines);
}

bool
tc_option_looks_due(void)
{
	return !dlist_is_empty(&lines) && not_before <= tc_monotonic_ms();
}

Queue *
tc_option_looks_next(void)
{
	LookLine   *line;
	dlist_head *some;
	Queue	   *queue;

	if (dlist_is_empty(&lines))
		return NULL;
	line = dlist_container(LookLine, node, dlist_pop_head_node(&lines));
	some = dlist_is_empty(&line->first) ? &line->others : &line->first;
	queue = dlist_container(Queue, look_node, dlist_head_node(some));

	dlist_push_tail(&lines, &line->node);
	leave_line(queue);
	/* one that could not send may be able to now */
	if (queue->channel == NULL)
		tc_flow_pause_until(queue, 0);
	tc_queue_activate(queue);
	return queue;
}

void
tc_option_looks_took(int64 ms)
{
	if (dlist_is_empty(&lines))
		return;
	not_before = tc_monotonic_ms() + ms * (LOOK_PART - 1);
	tc_timer_wake(&timer, not_before);
}
