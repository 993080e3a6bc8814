/*-------------------------------------------------------------------------
 *
 * outcome_wait.h
 *	  Waiting until the worker has recorded outcomes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_OUTCOME_WAIT_H
#define TC_OUTCOME_WAIT_H

#include "storage/condition_variable.h"
#include "utils/timestamp.h"

typedef struct OutcomeWait
{
	ConditionVariable *cv;		/* NULL: nobody tells of outcomes here */
	int64		until;			/* monotonic ms; -1 = for ever */
	int64		client_seen_at; /* monotonic ms */
	int			looks;			/* so far */
} OutcomeWait;

/*
 * Milliseconds of an interval (months of 30 days, as elsewhere); -1 if it is
 * too long to be awaited.  An error if it is negative, which names the function.
 */
extern int64 tc_outcome_timeout_ms(const Interval *timeout, const char *function);

/* From here on outcomes are noticed; the first look comes after this. */
extern void tc_outcome_wait_begin(OutcomeWait *wait, int64 timeout_ms);

/* The same for the outcome of one request: from here on it is kept until tc_outcome_wait_end(). */
extern void tc_outcome_wait_begin_for(OutcomeWait *wait, int64 id, int64 timeout_ms);

/* After a look in vain: wait for another one.  False if the time is over. */
extern bool tc_outcome_wait(OutcomeWait *wait);

extern void tc_outcome_wait_end(void);

#endif							/* TC_OUTCOME_WAIT_H */
