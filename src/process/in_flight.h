/*-------------------------------------------------------------------------
 *
 * in_flight.h
 *	  Shared memory that says what workers have in flight, and where sessions
 *	  wait for outcomes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_IN_FLIGHT_H
#define TC_IN_FLIGHT_H

#include "storage/condition_variable.h"

/* Requests that one worker can have in flight at once */
#define TC_MAX_IN_FLIGHT 16384

/* For _PG_init's hooks; the second one is called with AddinShmemInitLock held. */
extern Size tc_in_flight_size(void);
extern void tc_in_flight_startup(void);

/*---- for the worker ----*/

/* It has taken that slot, in which nothing is in flight; or is going to give it up; or has. */
extern void tc_in_flight_attach(int slot);
extern void tc_in_flight_clear(void);
extern void tc_in_flight_detach(void);

/*
 * Publish which request is in flight at a place of the worker's own choice; 0 =
 * none.  Does nothing when the slot is given up.
 */
extern void tc_in_flight_set(int place, int64 id);

/* Is nothing in flight? */
extern bool tc_in_flight_is_empty(void);

/* Wake those who wait for outcomes; call it after the commit that recorded them. */
extern void tc_outcomes_recorded(void);

/*
 * Around a transaction that may drop outcomes, also one that fails; and within
 * it: does a session wait for that request?  Then its outcome is to be kept.
 * Who begins to wait later does not look before the transaction is over.
 */
extern void tc_outcomes_begin(void);
extern void tc_outcomes_end(void);
extern bool tc_outcome_is_awaited(int64 id);

/*---- for others ----*/

/* How many requests the worker of a slot has in flight, and their ids, palloc'd; TC_SLOT_NONE: none. */
extern int	tc_in_flight_count(int slot);
extern int64 *tc_in_flight_ids(int slot, int *count);

/* Broadcast after outcomes of this database were recorded; NULL if not preloaded. */
extern ConditionVariable *tc_outcomes_cv(void);

/*
 * Say that this session waits for a request, or for none any more (0).  Then,
 * with the slot of the worker: which transaction is open that may not know of
 * that?  0 = none; what follows, knows.
 */
extern void tc_outcome_await(int64 id);
extern uint32 tc_outcomes_transaction(int slot);

#endif							/* TC_IN_FLIGHT_H */
