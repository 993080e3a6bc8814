/*-------------------------------------------------------------------------
 *
 * verbs.c
 *	  The verbs of SQL: entry points only.
 *
 * Which argument stands where; what is done with them is the same for all, and
 * is in record_request.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "functions/arguments.h"
#include "functions/record_request.h"

PG_FUNCTION_INFO_V1(tc_complete_activity);
PG_FUNCTION_INFO_V1(tc_complete_activity_by_id);
PG_FUNCTION_INFO_V1(tc_fail_activity);
PG_FUNCTION_INFO_V1(tc_fail_activity_by_id);
PG_FUNCTION_INFO_V1(tc_report_cancellation);
PG_FUNCTION_INFO_V1(tc_report_cancellation_by_id);
PG_FUNCTION_INFO_V1(tc_heartbeat_activity);
PG_FUNCTION_INFO_V1(tc_heartbeat_activity_by_id);
PG_FUNCTION_INFO_V1(tc_complete_activity_by_key);
PG_FUNCTION_INFO_V1(tc_fail_activity_by_key);
PG_FUNCTION_INFO_V1(tc_report_cancellation_by_key);
PG_FUNCTION_INFO_V1(tc_heartbeat_activity_by_key);

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

/* The same, by key; indexed by the method by token */
static const char *const function_names_by_key[] = {
	[METHOD_COMPLETE] = "complete_activity_by_key()",
	[METHOD_FAIL] = "fail_activity_by_key()",
	[METHOD_REPORT_CANCELLATION] = "report_cancellation_by_key()",
	[METHOD_HEARTBEAT] = "heartbeat_activity_by_key()",
};

/* How often was the function called in this place of this statement? */
static uint64
count_call(FunctionCallInfo fcinfo)
{
	uint64	   *calls = fcinfo->flinfo->fn_extra;

	if (calls == NULL)
		calls = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(uint64));
	return ++* calls;
}

static Datum
record(FunctionCallInfo fcinfo, RequestMethod method, const RequestArgs *args)
{
	RequestCaller caller = {function_names[method], count_call(fcinfo)};

	PG_RETURN_INT64(tc_record_request(&caller, method, args,
									  ARG_CSTRING(ARG_SERVER), ARG_CSTRING(ARG_NAMESPACE)));
}

/* The key is the first argument. */
static Datum
record_by_key(FunctionCallInfo fcinfo, RequestMethod method, RequestArgs *args)
{
	RequestCaller caller = {function_names_by_key[method], count_call(fcinfo)};

	PG_RETURN_INT64(tc_record_request_by_key(&caller, method, args, ARG_TEXT(0),
											 ARG_CSTRING(ARG_SERVER), ARG_CSTRING(ARG_NAMESPACE)));
}

/* complete_activity(task_token, result, server, namespace) */
Datum
tc_complete_activity(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.value = ARG_PAYLOAD(1),
	};

	return record(fcinfo, METHOD_COMPLETE, &args);
}

/*
 * complete_activity_by_id(workflow_id, activity_id, result, run_id,
 *		wait_for_activity, server, namespace)
 */
Datum
tc_complete_activity_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.value = ARG_PAYLOAD(2),
		.run_id = ARG_TEXT(3),
		.wait_for_activity = ARG_INTERVAL(4),
	};

	return record(fcinfo, METHOD_COMPLETE_BY_ID, &args);
}

/*
 * fail_activity(task_token, message, type, details, non_retryable,
 *		next_retry_delay, benign, stack_trace, cause, heartbeat_details, server,
 *		namespace)
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
		.cause = ARG_JSONB(8),
		.heartbeat_details = ARG_PAYLOAD(9),
	};

	return record(fcinfo, METHOD_FAIL, &args);
}

/*
 * fail_activity_by_id(workflow_id, activity_id, message, type, details,
 *		non_retryable, next_retry_delay, benign, stack_trace, cause,
 *		heartbeat_details, run_id, wait_for_activity, server, namespace)
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
		.cause = ARG_JSONB(9),
		.heartbeat_details = ARG_PAYLOAD(10),
		.run_id = ARG_TEXT(11),
		.wait_for_activity = ARG_INTERVAL(12),
	};

	return record(fcinfo, METHOD_FAIL_BY_ID, &args);
}

/* report_cancellation(task_token, details, server, namespace) */
Datum
tc_report_cancellation(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.value = ARG_PAYLOAD(1),
	};

	return record(fcinfo, METHOD_REPORT_CANCELLATION, &args);
}

/*
 * report_cancellation_by_id(workflow_id, activity_id, details, run_id,
 *		wait_for_activity, server, namespace)
 */
Datum
tc_report_cancellation_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.value = ARG_PAYLOAD(2),
		.run_id = ARG_TEXT(3),
		.wait_for_activity = ARG_INTERVAL(4),
	};

	return record(fcinfo, METHOD_REPORT_CANCELLATION_BY_ID, &args);
}

/* heartbeat_activity(task_token, details, server, namespace) */
Datum
tc_heartbeat_activity(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(0),
		.value = ARG_PAYLOAD(1),
	};

	return record(fcinfo, METHOD_HEARTBEAT, &args);
}

/*
 * heartbeat_activity_by_id(workflow_id, activity_id, details, run_id,
 *		wait_for_activity, server, namespace)
 */
Datum
tc_heartbeat_activity_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(0),
		.activity_id = ARG_TEXT(1),
		.value = ARG_PAYLOAD(2),
		.run_id = ARG_TEXT(3),
		.wait_for_activity = ARG_INTERVAL(4),
	};

	return record(fcinfo, METHOD_HEARTBEAT_BY_ID, &args);
}

/* complete_activity_by_key(key, result, wait_for_key, server, namespace) */
Datum
tc_complete_activity_by_key(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.value = ARG_PAYLOAD(1),
		.wait_for_key = ARG_INTERVAL(2),
	};

	return record_by_key(fcinfo, METHOD_COMPLETE, &args);
}

/*
 * fail_activity_by_key(key, message, type, details, non_retryable,
 *		next_retry_delay, benign, stack_trace, cause, heartbeat_details,
 *		wait_for_key, server, namespace)
 */
Datum
tc_fail_activity_by_key(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.message = ARG_TEXT(1),
		.type = ARG_TEXT(2),
		.value = ARG_PAYLOAD(3),
		.non_retryable = ARG_BOOL(4),
		.next_retry_delay = ARG_INTERVAL(5),
		.benign = ARG_BOOL(6),
		.stack_trace = ARG_TEXT(7),
		.cause = ARG_JSONB(8),
		.heartbeat_details = ARG_PAYLOAD(9),
		.wait_for_key = ARG_INTERVAL(10),
	};

	return record_by_key(fcinfo, METHOD_FAIL, &args);
}

/* report_cancellation_by_key(key, details, wait_for_key, server, namespace) */
Datum
tc_report_cancellation_by_key(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.value = ARG_PAYLOAD(1),
		.wait_for_key = ARG_INTERVAL(2),
	};

	return record_by_key(fcinfo, METHOD_REPORT_CANCELLATION, &args);
}

/* heartbeat_activity_by_key(key, details, wait_for_key, server, namespace) */
Datum
tc_heartbeat_activity_by_key(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.value = ARG_PAYLOAD(1),
		.wait_for_key = ARG_INTERVAL(2),
	};

	return record_by_key(fcinfo, METHOD_HEARTBEAT, &args);
}
