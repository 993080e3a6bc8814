/*-------------------------------------------------------------------------
 *
 * verbs.c
 *	  The verbs of SQL: entry points only.
 *
 * Each verb has the same steps, which are in record_request(); what is not
 * the same is which argument stands where.  No encoding, no table and no
 * network here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "outbox/outbox.h"
#include "process/wakeup.h"
#include "request/request.h"
#include "server/server.h"

PG_FUNCTION_INFO_V1(tc_complete_activity);
PG_FUNCTION_INFO_V1(tc_complete_activity_by_id);
PG_FUNCTION_INFO_V1(tc_fail_activity);
PG_FUNCTION_INFO_V1(tc_fail_activity_by_id);
PG_FUNCTION_INFO_V1(tc_report_cancellation);
PG_FUNCTION_INFO_V1(tc_report_cancellation_by_id);
PG_FUNCTION_INFO_V1(tc_heartbeat_activity);
PG_FUNCTION_INFO_V1(tc_heartbeat_activity_by_id);

/* Arguments that may be null */
#define ARG_BYTEA(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_BYTEA_PP(n))
#define ARG_TEXT(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))
#define ARG_CSTRING(n) (PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n)))
#define ARG_PAYLOAD(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_PAYLOAD_PP(n))
#define ARG_INTERVAL(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_INTERVAL_P(n))
#define ARG_BOOL(n) (!PG_ARGISNULL(n) && PG_GETARG_BOOL(n))

/* The last two arguments of every verb */
#define ARG_SERVER (PG_NARGS() - 2)
#define ARG_NAMESPACE (PG_NARGS() - 1)

/* Bytes of an id that an error message tells */
#define TOLD_MAX 200

/* How the caller knows the verb, for messages */
static const char *const function_names[] = {
	[METHOD_COMPLETE] = "complete_activity()",
	[METHOD_COMPLETE_BY_ID] = "complete_activity_by_id()",
	[METHOD_FAIL] = "fail_activity()",
	[METHOD_FAIL_BY_ID] = "fail_activity_by_id()",
	[METHOD_REPORT_CANCELLATION] = "report_cancellation()",
	[METHOD_REPORT_CANCELLATION_BY_ID] = "report_cancellation_by_id()",
	[METHOD_HEARTBEAT] = "heartbeat_activity()",
	[METHOD_HEARTBEAT_BY_ID] = "heartbeat_activity_by_id()",
};

/* What an error message says of the call */
typedef struct CallInfo
{
	RequestMethod method;
	const RequestArgs *args;
	uint64		number;			/* of the call in its statement */
} CallInfo;

static uint64 count_call(FunctionCallInfo fcinfo);
static void tell_call(void *arg);
static void tell_text(StringInfo buf, const char *format, const text *value);

/*
 * Record a request, to be sent when the transaction commits.  Returns its id.
 *
 * Runs with the caller's rights: what it may do is decided by USAGE on the
 * foreign server.  The table is written directly, so nothing has to be
 * granted on it.
 */
static Datum
record_request(FunctionCallInfo fcinfo, RequestMethod method, const RequestArgs *args)
{
	CallInfo	call = {method, args, count_call(fcinfo)};
	ErrorContextCallback context = {error_context_stack, tell_call, &call};
	QueueKey	key = {.role = GetUserId(), .namespace_name = ARG_CSTRING(ARG_NAMESPACE)};
	RequestIdentity identity;
	int64		queue;
	uint8	   *request;
	size_t		len;

	PreventCommandDuringRecovery(function_names[method]);
	PreventCommandIfReadOnly(function_names[method]);
	PreventCommandIfParallelMode(function_names[method]);
	error_context_stack = &context;

	tc_request_check(method, args);
	if (key.namespace_name != NULL)
		(void) tc_namespace_to_utf8(key.namespace_name);	/* can it be sent? */
	key.server = tc_server_for_caller(ARG_CSTRING(ARG_SERVER), key.namespace_name).serverid;

	identity.xid = U64FromFullTransactionId(GetTopFullTransactionId());
	queue = tc_queue_number(&key);
	identity.id = tc_outbox_next_id();
	identity.requested_at = GetCurrentTimestamp();
	request = tc_request_encode(method, args, &identity, &len);
	tc_outbox_insert(&identity, queue, method, request, len);
	tc_wake_at_commit(queue);
	error_context_stack = context.previous;
	tc_warn_if_nothing_is_sent();

	PG_RETURN_INT64(identity.id);
}

/* How often was the function called in this place of this statement? */
static uint64
count_call(FunctionCallInfo fcinfo)
{
	uint64	   *calls = fcinfo->flinfo->fn_extra;

	if (calls == NULL)
		calls = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(uint64));
	return ++*calls;
}

/*
 * Which of many rows had the error: ids are told, which are no secret, tokens
 * and values never.
 */
static void
tell_call(void *arg)
{
	const CallInfo *call = arg;
	StringInfoData activity;

	initStringInfo(&activity);
	if (tc_method_by_id(call->method))
	{
		tell_text(&activity, " for activity \"%s\"", call->args->activity_id);
		tell_text(&activity, " of workflow \"%s\"", call->args->workflow_id);
	}
	errcontext("call " UINT64_FORMAT " of %s%s", call->number,
			   function_names[call->method], activity.data);
	pfree(activity.data);
}

/* Add a text that is not empty, the beginning of it if it is long. */
static void
tell_text(StringInfo buf, const char *format, const text *value)
{
	char	   *string;

	if (value == NULL || VARSIZE_ANY_EXHDR(value) == 0)
		return;
	string = text_to_cstring(value);
	if (strlen(string) > TOLD_MAX)
		strcpy(string + pg_mbcliplen(string, strlen(string), TOLD_MAX - 3), "...");
	appendStringInfo(buf, format, string);
	pfree(string);
}

/* complete_activity(task_token, result, server, namespace) */
Datum
tc_complete_activity(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.value = ARG_PAYLOAD(1),
	};

	return record_request(fcinfo, METHOD_COMPLETE, &args);
}

/* complete_activity_by_id(workflow_id, activity_id, result, run_id, server, namespace) */
Datum
tc_complete_activity_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.value = ARG_PAYLOAD(2),
		.run_id = ARG_TEXT(3),
	};

	return record_request(fcinfo, METHOD_COMPLETE_BY_ID, &args);
}

/*
 * fail_activity(task_token, message, type, details, non_retryable,
 *		next_retry_delay, benign, stack_trace, heartbeat_details, server, namespace)
 */
Datum
tc_fail_activity(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.message = ARG_TEXT(1),
		.type = ARG_TEXT(2),
		.value = ARG_PAYLOAD(3),
		.non_retryable = ARG_BOOL(4),
		.next_retry_delay = ARG_INTERVAL(5),
		.benign = ARG_BOOL(6),
		.stack_trace = ARG_TEXT(7),
		.heartbeat_details = ARG_PAYLOAD(8),
	};

	return record_request(fcinfo, METHOD_FAIL, &args);
}

/*
 * fail_activity_by_id(workflow_id, activity_id, message, type, details,
 *		non_retryable, next_retry_delay, benign, stack_trace, heartbeat_details,
 *		run_id, server, namespace)
 */
Datum
tc_fail_activity_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.message = ARG_TEXT(2),
		.type = ARG_TEXT(3),
		.value = ARG_PAYLOAD(4),
		.non_retryable = ARG_BOOL(5),
		.next_retry_delay = ARG_INTERVAL(6),
		.benign = ARG_BOOL(7),
		.stack_trace = ARG_TEXT(8),
		.heartbeat_details = ARG_PAYLOAD(9),
		.run_id = ARG_TEXT(10),
	};

	return record_request(fcinfo, METHOD_FAIL_BY_ID, &args);
}

/* report_cancellation(task_token, details, server, namespace) */
Datum
tc_report_cancellation(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.value = ARG_PAYLOAD(1),
	};

	return record_request(fcinfo, METHOD_REPORT_CANCELLATION, &args);
}

/* report_cancellation_by_id(workflow_id, activity_id, details, run_id, server, namespace) */
Datum
tc_report_cancellation_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.value = ARG_PAYLOAD(2),
		.run_id = ARG_TEXT(3),
	};

	return record_request(fcinfo, METHOD_REPORT_CANCELLATION_BY_ID, &args);
}

/* heartbeat_activity(task_token, details, server, namespace) */
Datum
tc_heartbeat_activity(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.value = ARG_PAYLOAD(1),
	};

	return record_request(fcinfo, METHOD_HEARTBEAT, &args);
}

/* heartbeat_activity_by_id(workflow_id, activity_id, details, run_id, server, namespace) */
Datum
tc_heartbeat_activity_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.value = ARG_PAYLOAD(2),
		.run_id = ARG_TEXT(3),
	};

	return record_request(fcinfo, METHOD_HEARTBEAT_BY_ID, &args);
}
