/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  SQL function wait_for_request(): waits until a request is finished.
 *
 * It waits on a condition variable in shared memory.  A timeout is only a
 * net below: for a server where nobody signals (the library is not
 * preloaded, or it is a standby), and for rows that somebody else changes.
 * Never here: an answer from anything but the tables, as they are now.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/extension.h"
#include "compat.h"
#include "outbox/outbox.h"
#include "process/in_flight.h"
#include "process/wakeup.h"

/* How often to look again although nobody signalled */
#define RECHECK_MS 10000
#define RECHECK_UNSIGNALLED_MS 1000

/* How often to see whether the client is still there, if there is anything to do at all */
#define CHECK_CLIENT_MS 1000

/* So many looks in vain are made whenever outcomes come; then they get rarer */
#define EAGER_LOOKS 20
#define MAX_PAUSE_MS 50

/* Queries, prepared once a session */
static SPIPlanPtr row_plan = NULL;
static SPIPlanPtr own_plan = NULL;

static int64 timeout_ms(const Interval *timeout);
static bool first_look(int64 id, Datum *row);
static void wait_for_outcomes(ConditionVariable *cv, int64 left, int looks);
static bool read_request(int64 id, Datum *row);
static bool made_in_this_transaction(int64 id);
static void prepare(SPIPlanPtr *plan, const char *query);
static void pause_ms(long ms, uint32 wait_event);
static void run(SPIPlanPtr plan, int64 id);

PG_FUNCTION_INFO_V1(tc_wait_for_request);

/* SQL: wait_for_request(id bigint, timeout interval) returns temporal.request */
Datum
tc_wait_for_request(PG_FUNCTION_ARGS)
{
	static const char *const named[] = {"request"};
	ConditionVariable *cv = RecoveryInProgress() ? NULL : tc_outcomes_cv();
	int64		id;
	int64		timeout = -1;
	int64		start = tc_monotonic_ms();
	int64		seen_at = start;
	int			looks = 0;
	Datum		row;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("request id must not be null")));
	id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		timeout = timeout_ms(PG_GETARG_INTERVAL_P(1));

	tc_require_names(named, lengthof(named));
	SPI_connect();
	prepare(&row_plan,
			"SELECT r, r.state FROM temporal.request r"
			" WHERE r.id OPERATOR(pg_catalog.=) $1");
	prepare(&own_plan, "SELECT temporal.made_in_this_transaction($1)");

	/* See also what this very statement did, to say what is wrong with it. */
	CommandCounterIncrement();

	if (cv != NULL)
		ConditionVariablePrepareToSleep(cv);
	for (;;)
	{
		int64		left;

		CHECK_FOR_INTERRUPTS();
		if (tc_monotonic_ms() - seen_at >= CHECK_CLIENT_MS)
		{
			tc_check_client();
			seen_at = tc_monotonic_ms();
		}

		if (looks++ == 0)
		{
			if (first_look(id, &row))
				break;
		}
		else if (!tc_outbox_has(id))
		{
			pfree(DatumGetPointer(row));
			if (read_request(id, &row))
				break;
		}

		left = cv != NULL ? RECHECK_MS : RECHECK_UNSIGNALLED_MS;
		if (timeout >= 0)
			left = Min(left, start + timeout - tc_monotonic_ms());
		if (left <= 0)
		{
			/* as it is now */
			pfree(DatumGetPointer(row));
			(void) read_request(id, &row);
			break;
		}
		wait_for_outcomes(cv, left, looks);
	}
	ConditionVariableCancelSleep();

	SPI_finish();
	PG_RETURN_DATUM(row);
}

/*
 * Milliseconds of an interval (months of 30 days, as elsewhere); -1 if it is
 * too long to be awaited.
 */
static int64
timeout_ms(const Interval *timeout)
{
	double		ms = timeout->time / 1000.0 +
		((double) timeout->month * DAYS_PER_MONTH + timeout->day) * SECS_PER_DAY * 1000.0;

	if (ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("Without a timeout, wait_for_request() waits until the request is finished.")));
	if (ms > (double) INT_MAX * 1000)
		return -1;
	return (int64) ceil(ms);
}

/*
 * Read a request as read_request() does.  If it is not finished, raise an
 * error, or warn, where that would be awaited in vain.
 */
static bool
first_look(int64 id, Datum *row)
{
	if (read_request(id, row))
		return true;
	if (made_in_this_transaction(id))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("request %lld was made in the current transaction", (long long) id),
				 errdetail("It is sent after the transaction has committed."),
				 errhint("Call wait_for_request() in another transaction, after COMMIT.")));
	tc_warn_if_nothing_is_sent();
	return false;
}

/*
 * Sleep until outcomes have come, but for the time that is left at most.
 * Without a condition variable, nobody tells of them.
 */
static void
wait_for_outcomes(ConditionVariable *cv, int64 left, int looks)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = tc_wait_event_new("TemporalCompleteWaitForRequest");
	if (cv == NULL)
		pause_ms(left, wait_event);
	else if (!ConditionVariableTimedSleep(cv, left, wait_event) &&
			 looks > EAGER_LOOKS)
	{
		/* outcomes of others keep coming: wait for some more */
		pause_ms(Min(left, Min(looks - EAGER_LOOKS, MAX_PAUSE_MS)), wait_event);
	}
}

static void
prepare(SPIPlanPtr *plan, const char *query)
{
	Oid			argtypes[] = {INT8OID};
	SPIPlanPtr	prepared;

	if (*plan != NULL)
		return;
	prepared = SPI_prepare(query, 1, argtypes);
	if (prepared == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(prepared);
	*plan = prepared;
}

/* Sleep, whatever sets the latch meanwhile. */
static void
pause_ms(long ms, uint32 wait_event)
{
	int64		until = tc_monotonic_ms() + ms;

	for (;;)
	{
		int64		left = until - tc_monotonic_ms();

		if (left <= 0)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Run a query with a snapshot of now, whatever the isolation level of the
 * transaction is: it waits for what others do.
 */
static void
run(SPIPlanPtr plan, int64 id)
{
	Datum		value = Int64GetDatum(id);
	int			result = SPI_execute_snapshot(plan, &value, NULL, GetLatestSnapshot(),
											  InvalidSnapshot, true, false, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
}

/*
 * Read a request as the caller may see it, as a datum in the memory context
 * outside SPI.  Returns whether the request is finished.
 */
static bool
read_request(int64 id, Datum *row)
{
	HeapTuple	tuple;
	char	   *state;
	bool		isnull;
	bool		finished;

	run(row_plan, id);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("request %lld does not exist", (long long) id),
				 errdetail("Its transaction may have been rolled back, it may be older than temporal_complete.retention, or it may belong to a role whose requests you may not see.")));
	tuple = SPI_tuptable->vals[0];
	state = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);
	finished = strcmp(state, "delivered") == 0 ||
		strcmp(state, "rejected") == 0 ||
		strcmp(state, "suppressed") == 0 || /* it will not change */
		strcmp(state, "unconfirmed") == 0;
	*row = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);
	*row = SPI_datumTransfer(*row, false, -1);
	SPI_freetuptable(SPI_tuptable);
	return finished;
}

static bool
made_in_this_transaction(int64 id)
{
	bool		isnull;
	bool		result;

	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return false;
	run(own_plan, id);
	result = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return result;
}
