/*-------------------------------------------------------------------------
 *
 * wakes.h
 *	  Which queues may have rows that were not read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WAKES_H
#define TC_WAKES_H

#include "process/wake_bits.h"
#include "worker/in_memory.h"

/* Rows were added to these queues, as was said in shared memory. */
extern void tc_look_at_woken(const WokenQueues *woken);

/*
 * Look at all queues, some in a turn.  With now it is done at once, and what
 * waits for a retry or a connection is tried as well: options may have changed.
 */
extern void tc_look_at_all(bool now);

/* Go on with that, if it is time to. */
extern bool tc_look_is_due(void);
extern void tc_look_on(void);

/*
 * Hear of all queues again.  To be called before the snapshot of a transaction
 * in which a batch may begin.
 */
extern void tc_wakes_hear(void);

#endif							/* TC_WAKES_H */
