/*-------------------------------------------------------------------------
 *
 * request_arguments.c
 *	  What a verb was given, read from the encoded request.
 *
 * The way back from request.c.  Requests are read where they lie, and nothing
 * here raises an error because of what is in them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "request/request_arguments.h"

/* Fields of requests by token and by ids; the value is a Failure where it fails */
#define TOKEN_FORM_TASK_TOKEN 1
#define TOKEN_FORM_VALUE 2
#define TOKEN_FORM_HEARTBEAT_DETAILS 5
#define ID_FORM_VALUE 5
#define ID_FORM_HEARTBEAT_DETAILS 7

#define PAYLOADS_PAYLOAD 1

#define FAILURE_MESSAGE 1
#define FAILURE_STACK_TRACE 3
#define FAILURE_CAUSE 4
#define FAILURE_APPLICATION_INFO 5

#define INFO_TYPE 1
#define INFO_NON_RETRYABLE 2
#define INFO_DETAILS 3
#define INFO_NEXT_RETRY_DELAY 4
#define INFO_CATEGORY 5
#define CATEGORY_BENIGN 1

#define DURATION_SECONDS 1
#define DURATION_NANOS 2

static bool read_failure(ProtoSpan message, RequestArguments *args);
static bool read_info(ProtoSpan message, RequestArguments *args);
static bool read_delay(ProtoSpan message, RequestArguments *args);
static bool read_payload(ProtoSpan payloads, ProtoSpan *payload);

bool
tc_request_arguments(RequestMethod method, const uint8 *request, size_t len,
					 RequestArguments *args)
{
	bool		by_id = tc_method_by_id(method);
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	value = {NULL, 0};
	ProtoSpan	heartbeat_details = {NULL, 0};

	memset(args, 0, sizeof(*args));
	tc_proto_begin(&reader, request, len);
	while (tc_proto_next(&reader, &field))
	{
		if (field.wire_type != PROTO_BYTES)
			continue;
		if (!by_id && field.number == TOKEN_FORM_TASK_TOKEN)
			args->task_token = field.span;
		else if (field.number == (by_id ? ID_FORM_VALUE : TOKEN_FORM_VALUE))
			value = field.span;
		else if (field.number == (by_id ? ID_FORM_HEARTBEAT_DETAILS : TOKEN_FORM_HEARTBEAT_DETAILS))
			heartbeat_details = field.span;
	}
	if (reader.malformed || !read_payload(heartbeat_details, &args->heartbeat_details))
		return false;
	return method == METHOD_FAIL || method == METHOD_FAIL_BY_ID ?
		read_failure(value, args) : read_payload(value, &args->value);
}

static bool
read_failure(ProtoSpan message, RequestArguments *args)
{
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	info = {NULL, 0};

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, FAILURE_MESSAGE, PROTO_BYTES))
			args->message = field.span;
		else if (tc_proto_is(&field, FAILURE_STACK_TRACE, PROTO_BYTES))
			args->stack_trace = field.span;
		else if (tc_proto_is(&field, FAILURE_CAUSE, PROTO_BYTES))
			args->cause = field.span;
		else if (tc_proto_is(&field, FAILURE_APPLICATION_INFO, PROTO_BYTES))
			info = field.span;
	}
	return !reader.malformed && read_info(info, args);
}

bool
tc_failure_cause_read(ProtoSpan failure, CauseArguments *cause)
{
	RequestArguments args = {{NULL, 0}};

	if (!read_failure(failure, &args))
		return false;
	cause->message = args.message;
	cause->type = args.type;
	cause->details = args.value;
	cause->non_retryable = args.non_retryable;
	cause->stack_trace = args.stack_trace;
	cause->cause = args.cause;
	return true;
}

static bool
read_info(ProtoSpan message, RequestArguments *args)
{
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	details = {NULL, 0};
	ProtoSpan	delay = {NULL, 0};

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, INFO_TYPE, PROTO_BYTES))
			args->type = field.span;
		else if (tc_proto_is(&field, INFO_NON_RETRYABLE, PROTO_VARINT))
			args->non_retryable = field.varint != 0;
		else if (tc_proto_is(&field, INFO_DETAILS, PROTO_BYTES))
			details = field.span;
		else if (tc_proto_is(&field, INFO_NEXT_RETRY_DELAY, PROTO_BYTES))
		{
			args->has_next_retry_delay = true;
			delay = field.span;
		}
		else if (tc_proto_is(&field, INFO_CATEGORY, PROTO_VARINT))
			args->benign = field.varint == CATEGORY_BENIGN;
	}
	return !reader.malformed && read_payload(details, &args->value) && read_delay(delay, args);
}

static bool
read_delay(ProtoSpan message, RequestArguments *args)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, DURATION_SECONDS, PROTO_VARINT))
			args->delay_seconds = (int64) field.varint;
		else if (tc_proto_is(&field, DURATION_NANOS, PROTO_VARINT))
			args->delay_microseconds = (int32) field.varint / 1000;
	}
	return !reader.malformed;
}

/* The first one of Payloads. */
static bool
read_payload(ProtoSpan payloads, ProtoSpan *payload)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, payloads.bytes, payloads.len);
	while (tc_proto_next(&reader, &field))
		if (payload->bytes == NULL && tc_proto_is(&field, PAYLOADS_PAYLOAD, PROTO_BYTES))
			*payload = field.span;
	return !reader.malformed;
}
