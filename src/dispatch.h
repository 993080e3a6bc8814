/*-------------------------------------------------------------------------
 *
 * dispatch.h
 *	  From the outbox over the channels to the outcomes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DISPATCH_H
#define TC_DISPATCH_H

#include "shared_state.h"

/* Needs a transaction with an active snapshot, in a database that has the extension. */
extern void tc_dispatch_init(void);

/* Rows were added to the queues of these bits of the wake bitmap. */
extern void tc_dispatch_wake(const uint32 bits[TC_WAKE_WORDS]);

/*
 * Look at all queues.  With try_now also what waits for a retry or a
 * connection is tried at once: options may have changed.
 */
extern void tc_dispatch_wake_all(bool try_now);

/*
 * One turn: read, send, record, as far as there is something to do.  Returns
 * true if it should be called again without waiting.  Otherwise timers,
 * sockets and wakes say when.
 */
extern bool tc_dispatch_turn(void);

/* Send nothing more; outcomes of what is in flight are still recorded. */
extern void tc_dispatch_stop(void);

/* Nothing in memory, nothing in flight, nothing to be recorded? */
extern bool tc_dispatch_is_idle(void);

/* Calls whose end is awaited. */
extern int	tc_dispatch_in_flight(void);

#endif							/* TC_DISPATCH_H */
