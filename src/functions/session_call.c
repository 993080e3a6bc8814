/*-------------------------------------------------------------------------
 *
 * session_call.c
 *	  Having the worker call a server for this session, and waiting for it.
 *
 * The worker's part is worker/session_calls.c, the way between
 * process/session_calls.c.  Nothing here talks to Temporal.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "compat.h"
#include "functions/session_call.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"
#include "server/server.h"

/* A call waits for its worker, besides the time that its server is given */
#define CALL_MARGIN_MS 5000

/* How often it looks whether its worker is still there */
#define CALL_RECHECK_MS 1000

static void check_call_possible(void);
static int	call_timeout_ms(const SessionCall *call);
static void wait_for_answer(const SessionCall *call, StringInfo reply, SessionAnswer *answer);
static void take_part(StringInfo reply, const SessionPart *part);
static void report_timeout(const SessionCall *call, SessionCallState state, int seconds);
static void abandon_call(int code, Datum arg);

void
tc_session_call_run(SessionCall *call, const char *server_arg, const char *namespace_arg,
					StringInfo reply, SessionAnswer *answer)
{
	CallerServer server = tc_server_to_look_at(server_arg, namespace_arg);

	check_call_possible();
	call->serverid = server.serverid;
	strlcpy(call->server, server.name, sizeof(call->server));
	call->role = GetUserId();
	/* one that was cut would be another one */
	if (namespace_arg != NULL && strlcpy(call->namespace_name, namespace_arg, sizeof(call->namespace_name)) >=
		sizeof(call->namespace_name))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("namespace is too long")));
	if (!tc_session_call_post(call))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many sessions call Temporal at once"),
				 errhint("Try again in a moment.")));
	PG_ENSURE_ERROR_CLEANUP(abandon_call, PointerGetDatum(call));
	{
		wait_for_answer(call, reply, answer);
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon_call, PointerGetDatum(call));
	tc_session_call_abandon(call);
}

/* Say at once what would make a call wait in vain. */
static void
check_call_possible(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot call Temporal during recovery"),
				 errdetail("A standby server does not talk to Temporal."),
				 errhint("Do it on the primary server.")));
	if (!tc_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete is not loaded by the server, so there is no worker to call Temporal"),
				 errhint("Add temporal_complete to shared_preload_libraries and restart the server.")));
	if (!tc_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete.enabled is off, so there is no worker to call Temporal"),
				 errhint("Set temporal_complete.enabled to on and reload the configuration.")));
	if (!tc_this_database_is_listed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is not in temporal_complete.databases, so there is no worker to call Temporal"),
				 errhint("Add it to temporal_complete.databases and reload the configuration.")));
}

/*
 * How long an answer may take: the worker connects and makes a call or two.
 * What is wrong with the options of the server, the worker reports.
 */
static int
call_timeout_ms(const SessionCall *call)
{
	QueueRow	queue = {
		.key = {.server = call->serverid,.role = call->role},
		.server_name = call->server,
		.role_name = GetUserNameFromId(call->role, false),
	};
	ServerProblem problem;
	ServerConfig *config = tc_server_config_to_look(&queue, &problem);
	int64		timeout = CALL_MARGIN_MS;

	if (config != NULL)
		timeout += (int64) config->channel.connect_timeout_ms + 2 * (int64) config->request_timeout_ms;
	if (config != NULL && config->codec.codec_path != NULL)
		timeout += (int64) config->codec.connect_timeout_ms + config->request_timeout_ms;
	return (int) Min(timeout, INT_MAX);
}

static void
wait_for_answer(const SessionCall *call, StringInfo reply, SessionAnswer *answer)
{
	static uint32 wait_event = 0;
	ConditionVariable *cv = tc_session_call_cv(call);
	int			timeout = call_timeout_ms(call);
	int64		deadline = tc_monotonic_ms() + timeout;
	SessionPart *part = palloc(sizeof(SessionPart));
	SessionCallState state;

	if (wait_event == 0)
		wait_event = tc_wait_event_new("TemporalCompleteSessionCall");

	ConditionVariablePrepareToSleep(cv);
	for (;;)
	{
		int64		left = deadline - tc_monotonic_ms();

		CHECK_FOR_INTERRUPTS();

		/*
		 * before the look: it resets the latch, and with it what is told
		 * after that
		 */
		tc_check_client();
		state = tc_session_call_state(call, part, answer);
		if (state == CALL_PART && reply != NULL)
			take_part(reply, part);
		if (state == CALL_ENDED || left <= 0)
			break;

		/*
		 * The worker may leave between two looks; its successor takes the
		 * call then.  This also covers a worker that was asked for while the
		 * launcher was not there.
		 */
		if (state == CALL_NO_WORKER)
			tc_want_worker(MyDatabaseId);
		(void) ConditionVariableTimedSleep(cv, Min(left, CALL_RECHECK_MS), wait_event);
	}
	ConditionVariableCancelSleep();
	pfree(part);

	if (state != CALL_ENDED)
		report_timeout(call, state, timeout / 1000);
}

/* A worker that takes the place of another one begins anew. */
static void
take_part(StringInfo reply, const SessionPart *part)
{
	if (part->offset == 0)
		resetStringInfo(reply);
	if (part->offset != reply->len)
		elog(ERROR, "a part of a reply is missing");
	appendBinaryStringInfo(reply, (const char *) part->bytes, (int) part->len);
}

static void
report_timeout(const SessionCall *call, SessionCallState state, int seconds)
{
	if (state == CALL_TAKEN || state == CALL_PART)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("no answer of server \"%s\" within %d s", call->server, seconds),
				 errhint("Check the address of the server, and the server log.")));
	if (state == CALL_POSTED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the worker of this database did not take the call within %d s", seconds),
				 errhint("The server log may say why.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no worker could be started for this database within %d s", seconds),
			 tc_launcher_starved() != STARVED_OF_NOTHING ?
			 errhint("Consider increasing temporal_complete.max_workers, or max_worker_processes.") :
			 errhint("The server log may say why. Templates and databases that allow no connections get no worker.")));
}

static void
abandon_call(int code, Datum arg)
{
	tc_session_call_abandon((SessionCall *) DatumGetPointer(arg));
}
