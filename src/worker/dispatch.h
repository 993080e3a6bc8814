/*-------------------------------------------------------------------------
 *
 * dispatch.h
 *	  From the outbox over the channels to the outcomes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DISPATCH_H
#define TC_DISPATCH_H

/* Needs a transaction with an active snapshot, in a database that has the extension. */
extern void tc_dispatch_init(void);

/*
 * One turn: read, send, record, as far as there is something to do.  Returns
 * true if it should be called again without waiting.  Otherwise timers,
 * sockets and wakes say when.
 */
extern bool tc_dispatch_turn(void);

/* Send nothing more; outcomes of what is in flight are still recorded. */
extern void tc_dispatch_stop(void);

/* The worker leaves: tell what the log was not told yet. */
extern void tc_dispatch_tell_rest(void);

/*
 * The worker leaves: record what is not recorded yet, and of which requests in
 * flight the end will not be known, so that nothing else is in doubt.
 */
extern void tc_dispatch_record_rest(void);

/* Nothing in memory, nothing in flight, nothing to be recorded? */
extern bool tc_dispatch_is_idle(void);

/* The same, apart from heartbeats of recorded activities, which wait all the time? */
extern bool tc_dispatch_has_no_requests(void);

/* Calls whose end is awaited. */
extern int	tc_dispatch_in_flight(void);

#endif							/* TC_DISPATCH_H */
