/*-------------------------------------------------------------------------
 *
 * error_notes.c
 *	  Noting why queues wait, for those who look.
 *
 * In a transaction of its own: somebody may have locked the table, and
 * neither reading nor recording must wait for that, or fail with it.  Why his
 * queues wait anybody can change as often as he likes, by pausing them, and he
 * may have very many: so some are noted in a turn, and it takes a part of the
 * time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/foreign_text.h"
#include "worker/error_notes.h"
#include "worker/flow.h"
#include "worker/transaction.h"

/* What could not be noted is tried again after that long */
#define RETRY_MS 1000

/* Queues that are noted in one turn; if there are more, that takes one of so many parts of the time */
#define NOTES_AT_ONCE 64
#define NOTES_PART 4

static bool clear_former = false;
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;

/* For the transaction: all queues, and what it got done */
typedef struct Notes
{
	Queue	   *const *queues;
	int			count;
	int			first;			/* where it begins */
	int			looked_at;
	int			nnoted;
	Queue	   *noted[NOTES_AT_ONCE];
	bool		locked;
} Notes;

static void clear(void *arg);
static void note_some(void *arg);
static bool note(Queue *queue);

void
tc_error_notes_init(void)
{
	clear_former = true;
}

bool
tc_error_notes_are_due(void)
{
	return (clear_former || tc_flow_errors_changed()) && not_before <= tc_monotonic_ms();
}

void
tc_error_notes_turn(Queue *const *queues, int count)
{
	static int	next;			/* goes round, so that all have their turn */
	int64		begin = tc_monotonic_ms();
	Notes		notes = {
		.queues = queues,
		.count = count,
		.first = next < count ? next : 0
	};
	bool		cleared = false;
	bool		ok;

	/*
	 * in its own transaction: the snapshot of this one still sees what it
	 * deletes
	 */
	if (clear_former && tc_run_transaction(clear, &cleared) && cleared)
		clear_former = false;
	ok = !clear_former && tc_run_transaction(note_some, &notes);
	if (ok)
	{
		for (int i = 0; i < notes.nnoted; i++)
			notes.noted[i]->error_changed = false;
		next = notes.first + notes.looked_at;
		next -= next >= count ? count : 0;
	}
	if (!ok || notes.locked)
		not_before = tc_monotonic_ms() + RETRY_MS;
	else if (notes.looked_at < count)
		not_before = tc_monotonic_ms() + (tc_monotonic_ms() - begin) * (NOTES_PART - 1);
	else
	{
		tc_flow_errors_noted();
		return;
	}
	tc_timer_wake(&timer, not_before);
}

static void
clear(void *arg)
{
	*(bool *) arg = tc_outbox_clear_queue_errors();
}

static void
note_some(void *arg)
{
	Notes	   *notes = arg;

	for (; notes->looked_at < notes->count; notes->looked_at++)
	{
		Queue	   *queue = notes->queues[(notes->first + notes->looked_at) % notes->count];

		if (!queue->error_changed)
			continue;
		if (notes->nnoted == NOTES_AT_ONCE)
			return;
		if (!note(queue))
		{
			notes->locked = true;
			return;
		}
		notes->noted[notes->nnoted++] = queue;
	}
}

/* Say why the queue waits, or that it no longer does.  False if somebody has locked the table. */
static bool
note(Queue *queue)
{
	int64		wait = queue->error_until - tc_monotonic_ms();

	return tc_outbox_set_queue_error(queue->number, queue->error_code,
									 tc_words_to_server(queue->error_message),
									 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), Max(wait, 0)));
}
