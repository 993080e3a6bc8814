/*-------------------------------------------------------------------------
 *
 * outcome_wait.c
 *	  Waiting until the worker has recorded outcomes.
 *
 * On a condition variable in shared memory.  A timeout is only a net below:
 * for a server where nobody signals (the library is not preloaded, or it is a
 * standby), and for rows that somebody else changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "miscadmin.h"

#include "base/event_loop.h"
#include "compat.h"
#include "functions/outcome_wait.h"
#include "process/in_flight.h"
#include "process/worker_slots.h"

/* How often to look again although nobody signalled */
#define RECHECK_MS 10000
#define RECHECK_UNSIGNALLED_MS 1000

/* How often to see whether the client is still there, if there is anything to do at all */
#define CHECK_CLIENT_MS 1000

/* So many looks in vain are made whenever outcomes come; then they get rarer */
#define EAGER_LOOKS 20
#define MAX_PAUSE_MS 50

/* How long what is being recorded is waited for, at least */
#define RECORDING_MS 1000
#define RECORDING_LOOK_MS 10

static uint32 wait_event(void);
static void wait_for_outcomes(ConditionVariable *cv, int64 left, int looks);
static void pause_ms(long ms, uint32 event);

int64
tc_outcome_timeout_ms(const Interval *timeout, const char *function)
{
	double		ms = timeout->time / 1000.0 +
		((double) timeout->month * DAYS_PER_MONTH + timeout->day) * SECS_PER_DAY * 1000.0;

	if (ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("Without a timeout, %s waits for as long as it takes.", function)));
	if (ms > (double) INT_MAX * 1000)
		return -1;
	return (int64) ceil(ms);
}

void
tc_outcome_wait_begin(OutcomeWait *wait, int64 timeout_ms)
{
	wait->cv = RecoveryInProgress() ? NULL : tc_outcomes_cv();
	wait->client_seen_at = tc_monotonic_ms();
	wait->until = timeout_ms >= 0 ? wait->client_seen_at + timeout_ms : -1;
	wait->looks = 0;
	if (wait->cv != NULL)
		ConditionVariablePrepareToSleep(wait->cv);
}

/* What is being recorded may not know that the session waits: see in_flight.c. */
void
tc_outcome_wait_begin_for(OutcomeWait *wait, int64 id, int64 timeout_ms)
{
	int			slot;
	uint32		transaction;

	tc_outcome_wait_begin(wait, timeout_ms);
	if (wait->cv == NULL)
		return;
	tc_outcome_await(id);
	slot = tc_slot_of(MyDatabaseId);
	transaction = tc_outcomes_transaction(slot);
	while (transaction != 0 && tc_outcomes_transaction(slot) == transaction &&
		   (wait->until < 0 ||
			tc_monotonic_ms() < Max(wait->until, wait->client_seen_at + RECORDING_MS)))
	{
		(void) ConditionVariableTimedSleep(wait->cv, RECORDING_LOOK_MS, wait_event());
		CHECK_FOR_INTERRUPTS();
	}
}

bool
tc_outcome_wait(OutcomeWait *wait)
{
	int64		left = wait->cv != NULL ? RECHECK_MS : RECHECK_UNSIGNALLED_MS;

	if (wait->until >= 0)
		left = Min(left, wait->until - tc_monotonic_ms());
	if (left <= 0)
		return false;
	wait->looks++;
	wait_for_outcomes(wait->cv, left, wait->looks);
	CHECK_FOR_INTERRUPTS();
	if (tc_monotonic_ms() - wait->client_seen_at >= CHECK_CLIENT_MS)
	{
		tc_check_client();
		wait->client_seen_at = tc_monotonic_ms();
	}
	return true;
}

void
tc_outcome_wait_end(void)
{
	ConditionVariableCancelSleep();
	tc_outcome_await(0);
}

/*
 * Sleep until outcomes have come, but for the time that is left at most.
 * Without a condition variable, nobody tells of them.
 */
static void
wait_for_outcomes(ConditionVariable *cv, int64 left, int looks)
{
	if (cv == NULL)
		pause_ms(left, wait_event());
	else if (!ConditionVariableTimedSleep(cv, left, wait_event()) &&
			 looks > EAGER_LOOKS)
	{
		/* outcomes of others keep coming: wait for some more */
		pause_ms(Min(left, Min(looks - EAGER_LOOKS, MAX_PAUSE_MS)), wait_event());
	}
}

static uint32
wait_event(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = tc_wait_event_new("TemporalCompleteWaitForRequest");
	return event;
}

/* Sleep, whatever sets the latch meanwhile. */
static void
pause_ms(long ms, uint32 event)
{
	int64		until = tc_monotonic_ms() + ms;

	for (;;)
	{
		int64		left = until - tc_monotonic_ms();

		if (left <= 0)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
