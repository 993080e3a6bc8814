/*-------------------------------------------------------------------------
 *
 * wake_marks.c
 *	  What wakes leave for a worker that has not looked yet.
 *
 * All of it runs under a spinlock, and some while a transaction commits: no
 * more here than to set and clear.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "process/wake_marks.h"

static void mark_queue(WokenQueues *woken, int bit, int64 queue);
static void clear_wakes(WakeMarks *marks);

void
tc_wake_marks_clear(WakeMarks *marks)
{
	clear_wakes(marks);
	tc_wake_marks_unmute(marks);
}

bool
tc_wake_marks_add(WakeMarks *marks, const Wake *wake)
{
	bool		heard = wake->look || wake->all || wake->touch;

	marks->look |= wake->look;
	marks->all |= wake->all;
	if (wake->more)
	{
		for (int bit = tc_wake_next_bit(wake->bits, 0); bit >= 0;
			 bit = tc_wake_next_bit(wake->bits, bit + 1))
			mark_queue(&marks->woken, bit, TC_WAKE_SEVERAL);
		return true;
	}
	for (int i = 0; i < wake->nqueues; i++)
	{
		int64		queue = wake->queues[i];

		if (marks->some_muted && marks->muted[tc_wake_bit(queue)] == queue)
			continue;
		mark_queue(&marks->woken, tc_wake_bit(queue), queue);
		heard = true;
	}
	return heard;
}

static void
mark_queue(WokenQueues *woken, int bit, int64 queue)
{
	if (!tc_wake_bit_is_set(woken->bits, bit))
		woken->queues[bit] = queue;
	else if (woken->queues[bit] != queue)
		woken->queues[bit] = TC_WAKE_SEVERAL;
	tc_wake_bit_set(woken->bits, bit);
}

bool
tc_wake_marks_take(WakeMarks *marks, WokenQueues *woken, bool *look, bool *all)
{
	bool		pending = marks->pending;

	*look = marks->look;
	*all = marks->all;
	memcpy(woken->bits, marks->woken.bits, sizeof(woken->bits));
	for (int word = 0; word < TC_WAKE_WORDS; word++)
		if (woken->bits[word] != 0)
			memcpy(&woken->queues[word * 32], &marks->woken.queues[word * 32],
				   32 * sizeof(int64));
	if (pending)
		clear_wakes(marks);
	return pending;
}

static void
clear_wakes(WakeMarks *marks)
{
	marks->pending = false;
	marks->look = false;
	marks->all = false;
	memset(marks->woken.bits, 0, sizeof(marks->woken.bits));
}

void
tc_wake_marks_mute(WakeMarks *marks, int64 queue)
{
	marks->muted[tc_wake_bit(queue)] = queue;
	marks->some_muted = true;
}

void
tc_wake_marks_unmute(WakeMarks *marks)
{
	memset(marks->muted, 0, sizeof(marks->muted));
	marks->some_muted = false;
}
