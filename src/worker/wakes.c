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
 *
 * Where one of these was missed, the slow look at all (worker.c) finds it.
 *
 * A bit stands for several queues, and some of them are not known.  So there
 * are two things more to keep track of; both are about bits or queues that
 * were woken, and say nothing about what was not:
 *
 * Muted (in shared memory, with `some_muted` here): who commits for that queue
 * need not wake the worker, which saves them a system call.  A queue is muted
 * only while it is unread already and does not want rows, so that no wake is
 * of use: 2 holds without.  All are heard again before the snapshot of the
 * next transaction in which a batch can begin, so what was committed while
 * they were not is in that batch, or the queue is still unread.  A queue is
 * muted by number: who commits for another one of the same bit wakes.
 *
 * Unanswered (a bitmap here): bits that were woken, of queues that are known.
 * Such a bit is answered as soon as a row is read of any queue that has it.  If
 * a queue that has it is read to its end and had none, the wake may have been
 * for one that is not known, and 3 is made so.  With `some_unanswered` false no
 * bit is set.
 *
 *	   bit was woken          its known queues              becomes
 *	   ------------------------------------------------------------------
 *	   for no known queue     -                             look for queues
 *	   for known ones         one can use the wake          unread, unanswered
 *	                          all are unread, in vain       unread, muted; look
 *	                                                        for queues, not often
 *	   unanswered             a row was read                answered
 *	                          read to the end, no row       look for queues
 *	                          not read to the end yet       unanswered
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "process/worker_slots.h"
#include "worker/flow.h"
#include "worker/known_queues.h"
#include "worker/queue.h"
#include "worker/recheck.h"
#include "worker/wakes.h"
#include "worker/wants.h"

static bool some_muted;
static uint32 unanswered[TC_WAKE_WORDS];
static bool some_unanswered;

void
tc_look_at_woken(const uint32 bits[TC_WAKE_WORDS])
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	uint32		unknown[TC_WAKE_WORDS]; /* of no known queue */
	uint32		in_vain[TC_WAKE_WORDS] = {0};	/* of some that are muted */
	uint32		useful[TC_WAKE_WORDS] = {0};	/* of some that are not */

	memcpy(unknown, bits, sizeof(unknown));
	for (int i = 0; i < nqueues; i++)
	{
		Queue	   *queue = queues[i];

		if (!tc_wake_bit_is_set(bits, queue->number))
			continue;
		tc_wake_bit_clear(unknown, queue->number);
		if (queue->unread && !tc_queue_wants_rows(queue))
		{
			tc_wake_bit_set(in_vain, queue->number);
			tc_worker_mute_wakes(queue->number);
			some_muted = true;
		}
		else
		{
			tc_wake_bit_set(useful, queue->number);
			tc_wake_bit_set(unanswered, queue->number);
			some_unanswered = true;
		}
		queue->unread = true;
		tc_queue_activate(queue);
	}
	for (int i = 0; i < TC_WAKE_WORDS; i++)
	{
		if (unknown[i] != 0)
			tc_known_queues_find();
		if ((in_vain[i] & ~useful[i]) != 0)
			tc_known_queues_find_soon();
	}
	if (tc_wake_bit_is_set(bits, TC_WAKE_RECHECK))
		tc_recheck_want();
}

void
tc_look_at_all(bool now)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	tc_recheck_want();
	tc_known_queues_find();
	for (int i = 0; i < nqueues; i++)
	{
		queues[i]->unread = true;
		if (now)
		{
			tc_flow_pause_until(queues[i], 0);
			tc_queue_retry_all(queues[i]);
		}
		tc_queue_activate(queues[i]);
	}
}

void
tc_wakes_hear(void)
{
	if (!some_muted)
		return;
	tc_worker_hear_wakes();
	some_muted = false;
}

void
tc_wake_is_answered(const Queue *queue)
{
	tc_wake_bit_clear(unanswered, queue->number);
}

void
tc_wakes_look_behind(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	if (!some_unanswered)
		return;
	some_unanswered = false;
	for (int i = 0; i < nqueues; i++)
	{
		if (!tc_wake_bit_is_set(unanswered, queues[i]->number))
			continue;
		if (queues[i]->unread)
			some_unanswered = true;
		else
		{
			tc_wake_bit_clear(unanswered, queues[i]->number);
			tc_known_queues_find();
		}
	}
}
