/*-------------------------------------------------------------------------
 *
 * describe.c
 *	  SQL functions that show activities as Temporal describes them.
 *
 * What Temporal says is read here, in the session, never in the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/foreign_text.h"
#include "functions/arguments.h"
#include "functions/rows.h"
#include "functions/session_call.h"
#include "request/description.h"
#include "request/request.h"

/* Bytes of a failure's message that are shown */
#define FAILURE_SHOWN_MAX 4096

static bool ask(FunctionCallInfo fcinfo, SessionCallKind kind, const char *id_name, StringInfo reply);
static void add_pending(void *arg, const DescribedActivity *activity);
static void add_rest(Row *row, const DescribedActivity *activity);
static void add_span(Row *row, ProtoSpan span);
static void add_words(Row *row, ProtoSpan span);
static void add_name(Row *row, const char *name);
static void add_duration(Row *row, int64 microseconds);
static void report_malformed(void);

PG_FUNCTION_INFO_V1(tc_pending_activities);
PG_FUNCTION_INFO_V1(tc_describe_activity);

/*
 * SQL: pending_activities(workflow_id text, run_id text, server text,
 * namespace text) returns setof record: activity_id, activity_type, and so on
 */
Datum
tc_pending_activities(PG_FUNCTION_ARGS)
{
	StringInfoData reply;
	Row			row;

	tc_rows_begin(fcinfo, &row);
	if (ask(fcinfo, CALL_DESCRIBE_WORKFLOW, "workflow_id", &reply) &&
		!tc_pending_activities_read((uint8 *) reply.data, reply.len, add_pending, &row))
		report_malformed();
	return (Datum) 0;
}

static void
add_pending(void *arg, const DescribedActivity *activity)
{
	Row		   *row = arg;

	CHECK_FOR_INTERRUPTS();
	add_span(row, activity->activity_id);
	add_span(row, activity->activity_type);
	add_name(row, activity->paused ? "paused" : tc_pending_state_name(activity->state));
	add_rest(row, activity);
	tc_row_end(row);
}

/*
 * SQL: describe_activity(activity_id text, run_id text, server text, namespace
 * text) returns setof record: activity_type, run_id, and so on; at most one
 */
Datum
tc_describe_activity(PG_FUNCTION_ARGS)
{
	StringInfoData reply;
	DescribedActivity activity;
	Row			row;

	tc_rows_begin(fcinfo, &row);
	if (!ask(fcinfo, CALL_DESCRIBE_ACTIVITY, "activity_id", &reply))
		return (Datum) 0;
	if (!tc_described_activity_read((uint8 *) reply.data, reply.len, &activity))
		report_malformed();
	add_span(&row, activity.activity_type);
	add_span(&row, activity.run_id);
	add_name(&row, tc_activity_status_name(activity.status));
	add_name(&row, tc_pending_state_name(activity.state));
	tc_row_add_time(&row, activity.close_time);
	add_rest(&row, &activity);
	tc_row_end(&row);
	return (Datum) 0;
}

/*
 * Have the worker ask.  False if there is nothing of that id, or the id is
 * NULL.  Raises an error if that cannot be known.
 */
static bool
ask(FunctionCallInfo fcinfo, SessionCallKind kind, const char *id_name, StringInfo reply)
{
	SessionCall call = {.kind = kind};
	SessionAnswer answer;

	if (PG_ARGISNULL(0))
		return false;
	strlcpy(call.id, tc_id_to_utf8(id_name, ARG_TEXT(0)), sizeof(call.id));
	strlcpy(call.run_id, tc_id_to_utf8("run_id", ARG_TEXT(1)), sizeof(call.run_id));
	if (call.id[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", id_name)));
	initStringInfo(reply);
	tc_session_call_run(&call, ARG_CSTRING(2), ARG_CSTRING(3), reply, &answer);
	if (answer.error_code[0] == '\0')
		return !answer.not_found;
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("server \"%s\" could not be asked: %s", call.server, answer.error_code),
			 answer.error_message[0] != '\0' ? errdetail_internal("%s", answer.error_message) : 0,
			 errhint("SELECT * FROM temporal.ping(%s) may say more.", quote_literal_cstr(call.server))));
}

/* The columns that both have, from the attempt on */
static void
add_rest(Row *row, const DescribedActivity *activity)
{
	tc_row_add(row, Int64GetDatum(activity->attempt));
	if (activity->maximum_attempts > 0)
		tc_row_add(row, Int64GetDatum(activity->maximum_attempts));
	else
		tc_row_add_null(row);
	tc_row_add_time(row, activity->scheduled_time);
	tc_row_add_time(row, activity->last_started_time);
	tc_row_add_time(row, activity->last_heartbeat_time);
	add_duration(row, activity->heartbeat_timeout);
	tc_row_add_time(row, activity->next_attempt_time);
	tc_row_add_time(row, activity->expiration_time);
	add_words(row, activity->last_failure);
	add_words(row, activity->last_worker_identity);
}

/* An id: all of it, so that it can be joined with what is in tables */
static void
add_span(Row *row, ProtoSpan span)
{
	tc_row_add_text(row, tc_utf8_to_server((const char *) span.bytes, span.len, span.len));
}

/* What people read */
static void
add_words(Row *row, ProtoSpan span)
{
	size_t		len = Min(span.len, FAILURE_SHOWN_MAX);
	char	   *words = palloc(len + 1);

	if (len > 0)
		memcpy(words, span.bytes, len);
	words[len] = '\0';
	tc_row_add_text(row, tc_words_to_server(words));
}

static void
add_name(Row *row, const char *name)
{
	tc_row_add_text(row, name != NULL ? name : "");
}

static void
add_duration(Row *row, int64 microseconds)
{
	Interval   *interval;

	if (microseconds == 0)
	{
		tc_row_add_null(row);
		return;
	}
	interval = palloc0(sizeof(Interval));
	interval->time = microseconds;
	tc_row_add(row, IntervalPGetDatum(interval));
}

static void
report_malformed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("the server's description cannot be read"),
			 errdetail("It is not what Temporal sends.")));
}
