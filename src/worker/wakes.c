/*-------------------------------------------------------------------------
 *
 * wakes.c
 *	  Which queues may have rows that were not read.
 *
 * No row is left behind.  While a queue has a row that can be seen and was not
 * read, one of these is so:
 *
 *	 1. Its bit is set in shared memory, and the latch with it: the worker is
 *		about to take it (tc_look_at_woken()).
 *	 2. The queue is known, and unread.  That is set by each wake, and cleared
 *		only when a batch has been read to its end that began after the last
 *		wake was taken: one that began before does not tell.
 *	 3. Queues are looked for (known_queues.c): it will be known, and unread.
 *	 4. All are looked at, and its turn has not come: it will be unread.
 *
 * Where one of these was missed, the slow look at all (worker.c) finds it.
 *
 * A wake says for which queue it is, or that it is for several that share its
 * place; then for all of them that are known, and maybe for others:
 *
 *	   the wake is for         the queue is               it becomes
 *	   ------------------------------------------------------------------
 *	   one queue               known                      unread
 *	                           not known                  looked for
 *	   several                 known                      unread
 *	                           not known                  looked for, not often
 *
 * Muted (in shared memory, with `some_muted` here): who commits for that queue
 * need not wake the worker, which saves them a system call.  A queue is muted
 * only while it is unread already and does not want rows, so that no wake is
 * of use: 2 holds without.  All are heard again before the snapshot of the
 * next transaction in which a batch can begin, so what was committed while
 * they were not is in that batch, or the queue is still unread.  A queue is
 * muted by number: who commits for another one of the same place wakes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/event_loop.h"
#include "process/worker_slots.h"
#include "worker/flow.h"
#include "worker/key_waits.h"
#include "worker/known_queues.h"
#include "worker/option_looks.h"
#include "worker/queue.h"
#include "worker/recheck.h"
#include "worker/wakes.h"
#include "worker/wants.h"

/* Of those that are all looked at, so many in a turn, and the next ones that much later */
#define LOOKS_AT_ONCE 64
#define LOOK_PAUSE_MS 5

static bool some_muted;
static int64 look_not_before;	/* monotonic ms */
static LoopTimer look_timer;

static void look_at_number(int64 number);
static void look_at_several(const uint32 bits[TC_WAKE_WORDS]);
static void look_at(Queue *queue);

void
tc_look_at_woken(const WokenQueues *woken)
{
	uint32		several[TC_WAKE_WORDS] = {0};
	bool		some_several = false;

	for (int bit = tc_wake_next_bit(woken->bits, 0); bit >= 0;
		 bit = tc_wake_next_bit(woken->bits, bit + 1))
	{
		if (woken->queues[bit] == TC_WAKE_SEVERAL)
		{
			tc_wake_bit_set(several, bit);
			some_several = true;
		}
		else
			look_at_number(woken->queues[bit]);
	}
	if (some_several)
		look_at_several(several);
}

static void
look_at_number(int64 number)
{
	Queue	   *queue;

	if (number == TC_WAKE_RECHECK)
		tc_recheck_want();
	else if ((queue = tc_known_queue(number)) != NULL)
		look_at(queue);
	else
		tc_known_queues_find_number(number);
}

static void
look_at_several(const uint32 bits[TC_WAKE_WORDS])
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	for (int i = 0; i < nqueues; i++)
		if (tc_wake_bit_is_set(bits, queues[i]->number))
			look_at(queues[i]);
	tc_known_queues_find_soon();
	if (tc_wake_bit_is_set(bits, TC_WAKE_RECHECK))
		tc_recheck_want();
}

static void
look_at(Queue *queue)
{
	if (queue->unread && !tc_queue_wants_rows(queue))
	{
		tc_worker_mute_wakes(queue->number);
		some_muted = true;
	}
	tc_queue_set_unread(queue, true);
	tc_option_look_hasten(queue);
	tc_queue_activate(queue);
}

/*
 * Anybody may ask for it, by COMMIT PREPARED, as often as he likes, and may
 * have very many queues.
 */
void
tc_look_at_all(bool now)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	tc_recheck_want();
	tc_key_waits_look();
	tc_known_queues_find();
	if (!now)
	{
		tc_known_queues_visit();
		return;
	}
	for (int i = 0; i < nqueues; i++)
	{
		tc_queue_set_unread(queues[i], true);
		tc_flow_pause_until(queues[i], 0);
		tc_queue_retry_all(queues[i]);
		tc_queue_activate(queues[i]);
	}
}

bool
tc_look_is_due(void)
{
	return tc_known_queues_visit_goes_on() && look_not_before <= tc_monotonic_ms();
}

void
tc_look_on(void)
{
	Queue	   *queue;

	if (!tc_look_is_due())
		return;
	for (int n = 0; n < LOOKS_AT_ONCE && (queue = tc_known_queues_next_visit()) != NULL; n++)
	{
		tc_queue_set_unread(queue, true);
		tc_queue_activate(queue);
	}
	look_not_before = tc_monotonic_ms() + LOOK_PAUSE_MS;
	if (tc_known_queues_visit_goes_on())
		tc_timer_wake(&look_timer, look_not_before);
}

void
tc_wakes_hear(void)
{
	if (!some_muted)
		return;
	tc_worker_hear_wakes();
	some_muted = false;
}
