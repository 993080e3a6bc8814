/*-------------------------------------------------------------------------
 *
 * wake_marks.h
 *	  What wakes leave for a worker that has not looked yet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WAKE_MARKS_H
#define TC_WAKE_MARKS_H

#include "process/wake_bits.h"

/* Part of a worker's slot: its spinlock protects them */
typedef struct WakeMarks
{
	bool		pending;		/* there was a wake since they were taken */
	bool		look;
	bool		all;
	WokenQueues woken;
	int64		muted[TC_WAKE_BITS];	/* for each bit, a queue that need not
										 * wake it; 0 = none */
	bool		some_muted;
} WakeMarks;

extern void tc_wake_marks_clear(WakeMarks *marks);

/* Note what a wake is about; false if the worker need not hear of it. */
extern bool tc_wake_marks_add(WakeMarks *marks, const Wake *wake);

/* Take what was noted, see tc_worker_take_wakes(). */
extern bool tc_wake_marks_take(WakeMarks *marks, WokenQueues *woken, bool *look, bool *all);

/* If two queues have the same bit, one of them is muted. */
extern void tc_wake_marks_mute(WakeMarks *marks, int64 queue);
extern void tc_wake_marks_unmute(WakeMarks *marks);

#endif							/* TC_WAKE_MARKS_H */
