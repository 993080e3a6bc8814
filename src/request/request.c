/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Requests to Temporal: validated and encoded in the caller's
 *	  transaction.
 *
 * Messages and limits are those of Temporal's WorkflowService; the messages
 * are declared in proto/temporal.proto.  Whatever Temporal would refuse, or
 * would take and then fail the activity for, is refused here, as long as it
 * can be known without asking.  Tables, servers and transactions are not
 * known here, and neither tokens nor payloads are ever put into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "request/failure_cause.h"
#include "request/one_payload.h"
#include "request/request.h"
#include "request/task_token.h"
#include "request/to_utf8.h"
#include "temporal.pb-c.h"

/*
 * Temporal's defaults of limit.blobSize.error, measured on the encoded
 * Payloads or Failure; and the size at which its gRPC server stops reading a
 * message, less what the worker adds to a request.
 */
#define MAX_BLOB_BYTES (2 * 1024 * 1024)
#define MAX_REQUEST_BYTES (4 * 1024 * 1024 - 2048)

/* Of which so many are for the token or the ids that are not known yet */
#define ACTIVITY_BYTES 8192

/* Largest number of seconds in a protobuf Duration: 10,000 years */
#define MAX_DURATION_SECONDS INT64CONST(315576000000)

static bool
method_is_fail(RequestMethod method)
{
	return method == METHOD_FAIL || method == METHOD_FAIL_BY_ID;
}

/*---------------------------------------------------------------------------
 * Checking arguments
 *---------------------------------------------------------------------------
 */

static void
check_task_token(const bytea *token)
{
	if (token == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("task_token must not be null"),
				 errdetail("The task token names the activity."),
				 errhint("Store the token that the activity hands out before its row is changed, or name the activity by its ids.")));
	if (VARSIZE_ANY_EXHDR(token) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task_token must not be empty"),
				 errdetail("The task token names the activity."),
				 errhint("Store the token that the activity hands out before its row is changed, or name the activity by its ids.")));
	if (!tc_task_token_is_valid((const uint8 *) VARDATA_ANY(token),
								VARSIZE_ANY_EXHDR(token)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task_token is not a task token of Temporal"),
				 errdetail("These %zu bytes do not name a namespace and an activity.",
						   (size_t) VARSIZE_ANY_EXHDR(token)),
				 errhint("Pass the bytes that the SDK gives to the activity. A token that is kept as text in base64 is temporal.task_token(token).")));
}

static void
check_not_null(const char *name, const text *id, const char *hint)
{
	if (id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errdetail("Without it Temporal cannot tell which activity is meant."),
				 errhint("%s", hint)));
}

static void
check_not_empty(const char *name, const text *id, const char *hint)
{
	if (id != NULL && VARSIZE_ANY_EXHDR(id) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name),
				 errdetail("No activity of Temporal has an empty %s.", name),
				 errhint("%s", hint)));
}

/*
 * Total of an interval in microseconds would overflow; so whole seconds,
 * rounded down, and the rest.  Days have 24 hours and months 30 days, as
 * when intervals are compared.
 */
static void
interval_to_duration(const Interval *interval, int64 *seconds, int32 *microseconds)
{
	int64		whole = interval->time / USECS_PER_SEC;
	int64		rest = interval->time % USECS_PER_SEC;

	if (rest < 0)
	{
		rest += USECS_PER_SEC;
		whole--;
	}
	whole += (int64) interval->day * SECS_PER_DAY;
	whole += (int64) interval->month * DAYS_PER_MONTH * SECS_PER_DAY;
	*seconds = whole;
	*microseconds = (int32) rest;
}

static void
check_next_retry_delay(const Interval *delay)
{
	int64		seconds;
	int32		microseconds;

	if (delay == NULL)
		return;
	interval_to_duration(delay, &seconds, &microseconds);
	if (seconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("next_retry_delay must not be negative"),
				 errdetail("It is the time that Temporal waits before the next attempt of the activity."),
				 errhint("Pass NULL to leave the time to the activity's retry policy.")));
	if (seconds >= MAX_DURATION_SECONDS)
		ereport(ERROR,
				(errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
				 errmsg("next_retry_delay is out of range"),
				 errdetail("The longest time that can be sent to Temporal is 10,000 years."),
				 errhint("Set non_retryable if there is to be no further attempt.")));
}

void
tc_interval_check(const char *name, const Interval *interval, bool short_is_error,
				  const char *detail, const char *hint)
{
	int64		seconds;
	int32		microseconds;

	interval_to_duration(interval, &seconds, &microseconds);
	if (seconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name),
				 errdetail("%s", detail), errhint("%s", hint)));
	if (seconds < 1 && short_is_error)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be less than a second", name),
				 errdetail("%s", detail), errhint("%s", hint)));
	if (seconds >= MAX_DURATION_SECONDS)
		ereport(ERROR,
				(errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
				 errmsg("%s is out of range", name),
				 errdetail("%s", detail), errhint("%s", hint)));
}

void
tc_request_check_wait(const Interval *wait)
{
	if (wait != NULL)
		tc_interval_check("wait_for_activity", wait, false,
						  "It is the time that the request waits for its activity to be scheduled.",
						  "Pass NULL if the activity has to be there.");
}

void
tc_request_check_key_wait(const Interval *wait)
{
	if (wait != NULL)
		tc_interval_check("wait_for_key", wait, false,
						  "It is the time that the request waits for an activity to be recorded under its key.",
						  "Pass NULL if the activity has to be recorded before.");
}

void
tc_request_check(RequestMethod method, const RequestArgs *args)
{
	tc_request_check_key_wait(args->wait_for_key);
	if (args->awaits_key)
		Assert(!tc_method_by_id(method));
	else if (tc_method_by_id(method))
	{
		static const char activity_hint[] =
			"Pass the id that the workflow or the SDK gave to the activity.";

		/* a row whose column is empty must not mean another activity */
		check_not_null("workflow_id", args->workflow_id,
					   "Pass the id of the workflow, or an empty string for a standalone activity, which has no workflow.");
		check_not_null("activity_id", args->activity_id, activity_hint);
		check_not_empty("activity_id", args->activity_id, activity_hint);
		check_not_empty("run_id", args->run_id, "Pass NULL for the current run.");
		tc_request_check_wait(args->wait_for_activity);
	}
	else
		check_task_token(args->task_token);

	if (method_is_fail(method))
	{
		if (args->message == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("message must not be null"),
					 errdetail("It is the message of the error that the workflow gets."),
					 errhint("Say what went wrong.")));
		check_next_retry_delay(args->next_retry_delay);
	}
}

TimestampTz
tc_request_awaited_until(const RequestArgs *args, TimestampTz requested_at)
{
	const Interval *wait = args->awaits_key ? args->wait_for_key : args->wait_for_activity;

	if (wait == NULL)
		return 0;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(requested_at),
												   IntervalPGetDatum(wait)));
}

/*---------------------------------------------------------------------------
 * Encoding
 *---------------------------------------------------------------------------
 */

const char *
tc_namespace_to_utf8(const char *namespace_name)
{
	const char *utf8 = tc_string_to_utf8("namespace", unconstify(char *, namespace_name),
										 strlen(namespace_name));

	if (strlen(utf8) > TC_NAMESPACE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("namespace is too long"),
				 errdetail("In UTF-8 it has %zu bytes, Temporal's limit is %d.",
						   strlen(utf8), TC_NAMESPACE_MAX),
				 errhint("Check that the namespace was not mixed up with another value.")));
	return utf8;
}

const char *
tc_namespace_problem(const char *namespace_name)
{
	const char *utf8 = tc_utf8_from_server(unconstify(char *, namespace_name));

	if (utf8 == NULL)
		return "the namespace cannot be converted to UTF-8";
	if (strlen(utf8) > TC_NAMESPACE_MAX)
		return "the namespace is too long";
	return NULL;
}

char *
tc_id_to_utf8(const char *name, const text *value)
{
	char	   *id = tc_text_to_utf8(name, value);
	size_t		len = strlen(id);

	if (len > TC_ID_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too long", name),
				 errdetail("In UTF-8 it has %zu bytes, Temporal's limit is %d.",
						   len, TC_ID_MAX),
				 errhint("Check that the id was not mixed up with another value.")));
	return id;
}

/* Temporal says OK to what is too large, and ends the activity in another way. */
static void
check_blob_size(const char *name, const ProtobufCMessage *blob, const char *consequence)
{
	size_t		size = protobuf_c_message_get_packed_size(blob);

	if (size > MAX_BLOB_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too large for Temporal", name),
				 errdetail("Encoded it has %zu bytes, Temporal's limit (limit.blobSize.error) is %d. %s",
						   size, MAX_BLOB_BYTES, consequence),
				 errhint("Keep the value elsewhere and pass a reference to it.")));
}

/* protobuf-c packs into a buffer that it takes to be large enough. */
static uint8 *
pack(const ProtobufCMessage *message, size_t max_len, size_t *len)
{
	uint8	   *buf;

	*len = protobuf_c_message_get_packed_size(message);
	if (*len > max_len)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("request is too large for Temporal"),
				 errdetail("Encoded it has %zu bytes, the limit is %zu.",
						   *len, max_len),
				 errhint("Keep values elsewhere and pass references to them.")));
	buf = palloc(*len);
	if (protobuf_c_message_pack(message, buf) != *len)
		elog(ERROR, "size of a packed message differs from what was computed");
	return buf;
}

/* The Failure of a fail request; pointed to by the message, so it lives in the caller. */
typedef struct FailureMessage
{
	Temporal__Failure failure;
	Temporal__ApplicationFailureInfo info;
	Temporal__Duration delay;
	OnePayload	details;
	char		source[TC_IDENTITY_MAX];
} FailureMessage;

/*
 * Temporal's server requires the ApplicationFailureInfo.  The source is only
 * shown by SDKs; it carries the identity because after a failure that is
 * retried it is the only thing that shows whose failure it was.
 */
static Temporal__Failure *
build_failure(const RequestArgs *args, const RequestIdentity *identity, FailureMessage *buf)
{
	temporal__application_failure_info__init(&buf->info);
	buf->info.type = tc_text_to_utf8("type", args->type);
	buf->info.non_retryable = args->non_retryable;
	buf->info.details = tc_one_payload(args->value, &buf->details);
	if (args->benign)
		buf->info.category = TEMPORAL__APPLICATION_ERROR_CATEGORY__APPLICATION_ERROR_CATEGORY_BENIGN;
	if (args->next_retry_delay != NULL)
	{
		int32		microseconds;

		temporal__duration__init(&buf->delay);
		interval_to_duration(args->next_retry_delay, &buf->delay.seconds, &microseconds);
		buf->delay.nanos = microseconds * 1000;
		buf->info.next_retry_delay = &buf->delay;
	}

	tc_request_identity(identity, buf->source);

	temporal__failure__init(&buf->failure);
	buf->failure.message = tc_text_to_utf8("message", args->message);
	buf->failure.source = buf->source;
	buf->failure.stack_trace = tc_text_to_utf8("stack_trace", args->stack_trace);
	buf->failure.application_failure_info = &buf->info;
	if (args->cause != NULL)
		buf->failure.cause = tc_failure_cause(args->cause);
	return &buf->failure;
}

/* Whom it is about is said in the same way by all messages of a form. */
#define SET_TOKEN_FORM(m) \
	((m).task_token.data = args->awaits_key ? NULL : (uint8 *) VARDATA_ANY(args->task_token), \
	 (m).task_token.len = args->awaits_key ? 0 : VARSIZE_ANY_EXHDR(args->task_token))
#define SET_ID_FORM(m) \
	((m).workflow_id = tc_id_to_utf8("workflow_id", args->workflow_id), \
	 (m).run_id = tc_id_to_utf8("run_id", args->run_id), \
	 (m).activity_id = tc_id_to_utf8("activity_id", args->activity_id))

/*
 * Long because each method has a message of its own, and so a case here.
 */
uint8 *
tc_request_encode(RequestMethod method, const RequestArgs *args,
				  const RequestIdentity *identity, size_t *len)
{
	Temporal__Payloads *value = NULL;
	Temporal__Payloads *heartbeat_details = NULL;
	Temporal__Failure *failure = NULL;
	size_t		max_len = MAX_REQUEST_BYTES - (args->awaits_key ? ACTIVITY_BYTES : 0);
	OnePayload	value_buf;
	OnePayload	heartbeat_buf;
	FailureMessage failure_buf;

	if (method_is_fail(method))
	{
		failure = build_failure(args, identity, &failure_buf);
		check_blob_size("failure", &failure->base,
						"Temporal would put a failure of its own in its place.");
		heartbeat_details = tc_one_payload(args->heartbeat_details, &heartbeat_buf);
		if (heartbeat_details != NULL)
			check_blob_size("heartbeat_details", &heartbeat_details->base,
							"Temporal would drop them.");
	}
	else
	{
		bool		is_complete = (method == METHOD_COMPLETE || method == METHOD_COMPLETE_BY_ID);
		const char *name = is_complete ? "result" : "details";

		value = tc_one_payload(args->value, &value_buf);
		if (value != NULL)
			check_blob_size(name, &value->base,
							"Temporal would fail the activity.");
	}

	switch (method)
	{
		case METHOD_COMPLETE:
			{
				Temporal__RespondActivityTaskCompletedRequest m =
					TEMPORAL__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;

				SET_TOKEN_FORM(m);
				m.result = value;
				return pack(&m.base, max_len, len);
			}
		case METHOD_COMPLETE_BY_ID:
			{
				Temporal__RespondActivityTaskCompletedByIdRequest m =
					TEMPORAL__RESPOND_ACTIVITY_TASK_COMPLETED_BY_ID_REQUEST__INIT;

				SET_ID_FORM(m);
				m.result = value;
				return pack(&m.base, max_len, len);
			}
		case METHOD_FAIL:
			{
				Temporal__RespondActivityTaskFailedRequest m =
					TEMPORAL__RESPOND_ACTIVITY_TASK_FAILED_REQUEST__INIT;

				SET_TOKEN_FORM(m);
				m.failure = failure;
				m.last_heartbeat_details = heartbeat_details;
				return pack(&m.base, max_len, len);
			}
		case METHOD_FAIL_BY_ID:
			{
				Temporal__RespondActivityTaskFailedByIdRequest m =
					TEMPORAL__RESPOND_ACTIVITY_TASK_FAILED_BY_ID_REQUEST__INIT;

				SET_ID_FORM(m);
				m.failure = failure;
				m.last_heartbeat_details = heartbeat_details;
				return pack(&m.base, max_len, len);
			}
		case METHOD_REPORT_CANCELLATION:
			{
				Temporal__RespondActivityTaskCanceledRequest m =
					TEMPORAL__RESPOND_ACTIVITY_TASK_CANCELED_REQUEST__INIT;

				SET_TOKEN_FORM(m);
				m.details = value;
				return pack(&m.base, max_len, len);
			}
		case METHOD_REPORT_CANCELLATION_BY_ID:
			{
				Temporal__RespondActivityTaskCanceledByIdRequest m =
					TEMPORAL__RESPOND_ACTIVITY_TASK_CANCELED_BY_ID_REQUEST__INIT;

				SET_ID_FORM(m);
				m.details = value;
				return pack(&m.base, max_len, len);
			}
		case METHOD_HEARTBEAT:
			{
				Temporal__RecordActivityTaskHeartbeatRequest m =
					TEMPORAL__RECORD_ACTIVITY_TASK_HEARTBEAT_REQUEST__INIT;

				SET_TOKEN_FORM(m);
				m.details = value;
				return pack(&m.base, max_len, len);
			}
		case METHOD_HEARTBEAT_BY_ID:
			{
				Temporal__RecordActivityTaskHeartbeatByIdRequest m =
					TEMPORAL__RECORD_ACTIVITY_TASK_HEARTBEAT_BY_ID_REQUEST__INIT;

				SET_ID_FORM(m);
				m.details = value;
				return pack(&m.base, max_len, len);
			}
	}
	elog(ERROR, "unknown method %d", (int) method);
	return NULL;				/* keep compiler quiet */
}

uint8 *
tc_probe_request_encode(RequestMethod method, const char *namespace_name, size_t *len)
{
	Temporal__RecordActivityTaskHeartbeatByIdRequest m =
		TEMPORAL__RECORD_ACTIVITY_TASK_HEARTBEAT_BY_ID_REQUEST__INIT;

	Temporal__RecordActivityTaskHeartbeatRequest by_token =
		TEMPORAL__RECORD_ACTIVITY_TASK_HEARTBEAT_REQUEST__INIT;

	m.namespace_ = by_token.namespace_ = unconstify(char *, tc_namespace_to_utf8(namespace_name));
	return pack(method == METHOD_HEARTBEAT ? &by_token.base : &m.base, MAX_REQUEST_BYTES, len);
}
