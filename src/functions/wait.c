/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  SQL functions that wait for the worker, or tell it something.
 *
 * They wait on condition variables in shared memory.  A timeout is only a
 * net below: for a server where nobody signals (the library is not
 * preloaded, or it is a standby), and for rows that somebody else changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "compat.h"
#include "outbox/outbox.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/ping_mailbox.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"
#include "server/server.h"

/* How often to look again although nobody signalled */
#define RECHECK_MS 10000
#define RECHECK_UNSIGNALLED_MS 1000

/* A ping waits for its worker, besides the time that its server is given */
#define PING_MARGIN_MS 5000

/* How often a ping looks whether its worker is still there */
#define PING_RECHECK_MS 1000

/* So many looks in vain are made whenever outcomes come; then they get rarer */
#define EAGER_LOOKS 20
#define MAX_PAUSE_MS 50

/* Queries of wait_for_request(), prepared once a session */
static SPIPlanPtr row_plan = NULL;
static SPIPlanPtr own_plan = NULL;

static int64 timeout_ms(const Interval *timeout);
static bool read_request(int64 id, Datum *row);
static bool made_in_this_transaction(int64 id);
static void prepare(SPIPlanPtr *plan, const char *query);
static void pause_ms(long ms, uint32 wait_event);
static void run(SPIPlanPtr plan, int64 id);
static void check_ping_possible(void);
static int	ping_timeout_ms(const PingRequest *ping);
static void wait_for_ping(const PingRequest *ping, PingReply *reply, int timeout);
static void abandon_ping(int code, Datum arg);
static Datum text_or_null(const char *string, bool *isnull);

PG_FUNCTION_INFO_V1(tc_wait_for_request);
PG_FUNCTION_INFO_V1(tc_ping);
PG_FUNCTION_INFO_V1(tc_wake_worker_sql);
PG_FUNCTION_INFO_V1(tc_in_flight_requests);

/* SQL: wait_for_request(id bigint, timeout interval) returns temporal.request */
Datum
tc_wait_for_request(PG_FUNCTION_ARGS)
{
	static const char *const named[] = {"request"};
	static uint32 wait_event = 0;
	ConditionVariable *cv = RecoveryInProgress() ? NULL : tc_outcomes_cv();
	int64		id;
	int64		timeout = -1;
	int64		start = tc_monotonic_ms();
	int			looks = 0;
	Datum		row;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("request id must not be null")));
	id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		timeout = timeout_ms(PG_GETARG_INTERVAL_P(1));
	if (wait_event == 0)
		wait_event = tc_wait_event_new("TemporalCompleteWaitForRequest");

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
		if (looks++ == 0)
		{
			if (read_request(id, &row))
				break;
			if (made_in_this_transaction(id))
				ereport(ERROR,
						(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						 errmsg("request %lld was made in the current transaction", (long long) id),
						 errdetail("It is sent after the transaction has committed."),
						 errhint("Call wait_for_request() in another transaction, after COMMIT.")));
			tc_warn_if_nothing_is_sent();
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
		if (cv == NULL)
			pause_ms(left, wait_event);
		else if (!ConditionVariableTimedSleep(cv, left, wait_event) &&
				 looks > EAGER_LOOKS)
		{
			/* outcomes of others keep coming: wait for some more */
			pause_ms(Min(left, Min(looks - EAGER_LOOKS, MAX_PAUSE_MS)), wait_event);
		}
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

/*
 * SQL: ping(server text), a row: server, address, server_version, tls,
 * round_trip, authorized, error_code, error_message.
 */
Datum
tc_ping(PG_FUNCTION_ARGS)
{
	CallerServer server;
	PingRequest ping;
	PingReply	reply;
	TupleDesc	tupdesc;
	Datum		values[8];
	bool		nulls[8] = {0};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	server = tc_server_for_caller(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)),
								  NULL);
	check_ping_possible();
	if (!tc_ping_post(server.serverid, server.name, GetUserId(), &ping))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sessions ping at once"),
				 errhint("Try again in a moment.")));
	PG_ENSURE_ERROR_CLEANUP(abandon_ping, PointerGetDatum(&ping));
	{
		wait_for_ping(&ping, &reply, ping_timeout_ms(&ping));
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon_ping, PointerGetDatum(&ping));
	tc_ping_abandon(&ping);

	values[0] = CStringGetTextDatum(ping.server);
	values[1] = text_or_null(reply.address, &nulls[1]);
	values[2] = text_or_null(reply.server_version, &nulls[2]);
	values[3] = text_or_null(reply.tls_version, &nulls[3]);
	if (reply.round_trip_ms > 0)
	{
		Interval   *round_trip = palloc0(sizeof(Interval));

		round_trip->time = (TimeOffset) rint(reply.round_trip_ms * 1000.0);
		values[4] = IntervalPGetDatum(round_trip);
	}
	else
		nulls[4] = true;
	values[5] = BoolGetDatum(reply.authorized);
	values[6] = text_or_null(reply.error_code, &nulls[6]);
	values[7] = text_or_null(reply.error_message, &nulls[7]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* Say at once what would make a ping wait in vain. */
static void
check_ping_possible(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot ping during recovery"),
				 errdetail("A standby server does not talk to Temporal."),
				 errhint("Ping from the primary server.")));
	if (!tc_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete is not loaded by the server, so there is no worker to ping"),
				 errhint("Add temporal_complete to shared_preload_libraries and restart the server.")));
	if (!tc_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete.enabled is off, so there is no worker to ping"),
				 errhint("Set temporal_complete.enabled to on and reload the configuration.")));
	if (!tc_this_database_is_listed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not in temporal_complete.databases, so there is no worker to ping"),
				 errhint("Add it to temporal_complete.databases and reload the configuration.")));
}

/*
 * How long an answer may take: the worker connects and makes a call or two.
 * What is wrong with the options of the server, the worker reports.
 */
static int
ping_timeout_ms(const PingRequest *ping)
{
	QueueRow	queue = {
		.key = {.server = ping->serverid, .role = ping->role},
		.server_name = ping->server,
		.role_name = GetUserNameFromId(ping->role, false),
	};
	ServerProblem problem;
	ServerConfig *config = tc_server_config(&queue, &problem);
	int64		timeout = PING_MARGIN_MS;

	if (config != NULL)
		timeout += (int64) config->channel.connect_timeout_ms + 2 * (int64) config->request_timeout_ms;
	return (int) Min(timeout, INT_MAX);
}

static void
wait_for_ping(const PingRequest *ping, PingReply *reply, int timeout)
{
	static uint32 wait_event = 0;
	ConditionVariable *cv = tc_ping_cv(ping);
	int64		deadline = tc_monotonic_ms() + timeout;
	PingState	state;

	if (wait_event == 0)
		wait_event = tc_wait_event_new("TemporalCompletePing");

	ConditionVariablePrepareToSleep(cv);
	for (;;)
	{
		int64		left = deadline - tc_monotonic_ms();

		CHECK_FOR_INTERRUPTS();
		state = tc_ping_state(ping, reply);
		if (state == PING_ANSWERED || left <= 0)
			break;

		/* a client that is gone must not keep the ping */
		if (!tc_client_is_there())
			ereport(FATAL,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("connection to client lost")));

		/*
		 * The worker may leave between two looks; its successor takes the
		 * ping then.  This also covers a worker that was asked for while the
		 * launcher was not there.
		 */
		if (state == PING_NO_WORKER)
			tc_want_worker(MyDatabaseId);
		(void) ConditionVariableTimedSleep(cv, Min(left, PING_RECHECK_MS), wait_event);
	}
	ConditionVariableCancelSleep();

	if (state == PING_ANSWERED)
		return;
	if (state == PING_TAKEN)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("no answer within %d s to the ping of server \"%s\"", timeout / 1000, ping->server),
				 errhint("Check the address of the server, and the server log.")));
	if (state == PING_POSTED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the worker of this database did not take the ping within %d s", timeout / 1000),
				 errhint("The server log may say why.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no worker could be started for this database within %d s", timeout / 1000),
			 tc_launcher_starved() ?
			 errhint("Consider increasing temporal_complete.max_workers, or max_worker_processes.") :
			 errhint("The server log may say why. Templates and databases that allow no connections get no worker.")));
}

static void
abandon_ping(int code, Datum arg)
{
	tc_ping_abandon((PingRequest *) DatumGetPointer(arg));
}

static Datum
text_or_null(const char *string, bool *isnull)
{
	*isnull = string[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(string);
}

/*
 * SQL: wake_worker(), at commit.  CREATE EXTENSION calls it, which is why it
 * warns if there is nobody to wake.
 */
Datum
tc_wake_worker_sql(PG_FUNCTION_ARGS)
{
	tc_warn_if_nothing_is_sent();
	tc_wake_all_at_commit();
	PG_RETURN_VOID();
}

/* SQL: in_flight_requests() returns setof bigint */
Datum
tc_in_flight_requests(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		int			count;

		funcctx = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		funcctx->user_fctx = tc_in_flight_ids(&count);
		funcctx->max_calls = count;
		MemoryContextSwitchTo(old);
	}

	funcctx = SRF_PERCALL_SETUP();
	if (funcctx->call_cntr < funcctx->max_calls)
	{
		/* the macro counts before it looks at its argument */
		int64		id = ((int64 *) funcctx->user_fctx)[funcctx->call_cntr];

		SRF_RETURN_NEXT(funcctx, Int64GetDatum(id));
	}
	SRF_RETURN_DONE(funcctx);
}
