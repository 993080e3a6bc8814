/*-------------------------------------------------------------------------
 *
 * error_notes.c
 *	  Noting why queues wait, for those who look.
 *
 * In a transaction of its own: somebody may have locked the table, and
 * neither reading nor recording must wait for that, or fail with it.
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

static bool clear_former = false;
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;

/* For the transaction: all queues, and how many of them it got done */
typedef struct Notes
{
	Queue	   *const *queues;
	int			count;
	int			done;
} Notes;

static void clear(void *arg);
static void note_all(void *arg);
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
	Notes		notes = {
		.queues = queues,
		.count = count
	};
	bool		cleared = false;

	/*
	 * in its own transaction: the snapshot of this one still sees what it
	 * deletes
	 */
	if (clear_former && tc_run_transaction(clear, &cleared) && cleared)
		clear_former = false;
	if (clear_former || !tc_run_transaction(note_all, &notes))
		notes.done = 0;
	for (int i = 0; i < notes.done; i++)
		queues[i]->error_changed = false;
	if (notes.done == count && !clear_former)
		tc_flow_errors_noted();
	else
	{
		not_before = tc_monotonic_ms() + RETRY_MS;
		tc_timer_wake(&timer, not_before);
	}
}

static void
clear(void *arg)
{
	*(bool *) arg = tc_outbox_clear_queue_errors();
}

static void
note_all(void *arg)
{
	Notes	   *notes = arg;

	while (notes->done < notes->count && note(notes->queues[notes->done]))
		notes->done++;
}

/* Say why the queue waits, or that it no longer does.  False if somebody has locked the table. */
static bool
note(Queue *queue)
{
	int64		wait = queue->error_until - tc_monotonic_ms();

	return !queue->error_changed ||
		tc_outbox_set_queue_error(queue->number, queue->error_code,
								  tc_words_to_server(queue->error_message),
								  TimestampTzPlusMilliseconds(GetCurrentTimestamp(), Max(wait, 0)));
}
