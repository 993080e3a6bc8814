/*-------------------------------------------------------------------------
 *
 * ping.c
 *	  SQL function ping(): has the worker call a server, and waits for it.
 *
 * The worker's part is worker/ping.c, the way between process/ping_mailbox.c.
 * Nothing here talks to Temporal.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "compat.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/ping_mailbox.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"
#include "server/server.h"

/* A ping waits for its worker, besides the time that its server is given */
#define PING_MARGIN_MS 5000

/* How often a ping looks whether its worker is still there */
#define PING_RECHECK_MS 1000

static void check_ping_possible(void);
static int	ping_timeout_ms(const PingRequest *ping);
static void wait_for_ping(const PingRequest *ping, PingReply *reply, int timeout);
static void abandon_ping(int code, Datum arg);
static Datum text_or_null(const char *string, bool *isnull);

PG_FUNCTION_INFO_V1(tc_ping);

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
		.key = {.server = ping->serverid,.role = ping->role},
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

		tc_check_client();

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
