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

/* Rows were added to queues of these bits, which were taken from shared memory. */
extern void tc_look_at_woken(const uint32 bits[TC_WAKE_WORDS]);

/*
 * Look at all queues.  With now also what waits for a retry or a connection is
 * tried at once: options may have changed.
 */
extern void tc_look_at_all(bool now);

/*
 * Hear of all queues again.  To be called before the snapshot of a transaction
 * in which a batch may begin.
 */
extern void tc_wakes_hear(void);

/* A row of the queue was read. */
extern void tc_wake_is_answered(const Queue *queue);

/*
 * To be called when a turn has read what it could: wakes for which the known
 * queues had no row may have been for others.
 */
extern void tc_wakes_look_behind(void);

#endif							/* TC_WAKES_H */
