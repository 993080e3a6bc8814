/*-------------------------------------------------------------------------
 *
 * task_token.c
 *	  Task tokens: telling them from other bytes, and whom they are about.
 *
 * A token is the message Task of proto/temporal.proto.  Only Temporal makes
 * and changes tokens: what is found here is for refusing what is no token,
 * for showing and for ordering; the bytes are passed on as they came.  They
 * are never written to a log or a message.
 *
 * The test server of Temporal's SDK for Java, which is also behind the
 * time-skipping test environments of other SDKs, has tokens of another form:
 * namespace, workflow id and run id as Java's DataOutput writes strings, each
 * behind its length in two bytes, then the number of the event in eight and
 * the attempt in four.  A length below 256 begins with a zero byte, which no
 * protobuf message and no text does; that the lengths add up is no accident.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "request/task_token.h"

/* Fields of Task */
#define TASK_NAMESPACE_ID 1
#define TASK_WORKFLOW_ID 2
#define TASK_RUN_ID 3
#define TASK_SCHEDULED_EVENT_ID 4
#define TASK_ATTEMPT 5
#define TASK_ACTIVITY_ID 6
#define TASK_COMPONENT_REF 14

/* Fields of ChasmComponentRef */
#define REF_BUSINESS_ID 2
#define REF_RUN_ID 3

/* A standalone activity is named by the reference in its token. */
static void
decode_component_ref(ProtoSpan ref, TaskToken *result)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, ref.bytes, ref.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, REF_BUSINESS_ID, PROTO_BYTES))
			result->activity_id = field.span;
		else if (tc_proto_is(&field, REF_RUN_ID, PROTO_BYTES))
			result->run_id = field.span;
	}
}

static bool
decode_task(const uint8 *token, size_t len, TaskToken *result)
{
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	component_ref = {NULL, 0};

	memset(result, 0, sizeof(TaskToken));

	tc_proto_begin(&reader, token, len);
	while (tc_proto_next(&reader, &field))
	{
		if (field.wire_type == PROTO_BYTES)
		{
			switch (field.number)
			{
				case TASK_NAMESPACE_ID:
					result->namespace_id = field.span;
					break;
				case TASK_WORKFLOW_ID:
					result->workflow_id = field.span;
					break;
				case TASK_RUN_ID:
					result->run_id = field.span;
					break;
				case TASK_ACTIVITY_ID:
					result->activity_id = field.span;
					break;
				case TASK_COMPONENT_REF:
					component_ref = field.span;
					break;
			}
		}
		else if (tc_proto_is(&field, TASK_SCHEDULED_EVENT_ID, PROTO_VARINT))
			result->scheduled_event_id = (int64) field.varint;
		else if (tc_proto_is(&field, TASK_ATTEMPT, PROTO_VARINT))
			result->attempt = (int32) field.varint;
	}
	if (reader.malformed || result->namespace_id.len == 0)
		return false;

	if (result->workflow_id.len == 0)
	{
		if (component_ref.len == 0)
			return false;
		decode_component_ref(component_ref, result);
	}
	return true;
}

/* The next so many bytes as a number, the highest first; there must be as many. */
static uint64
take_number(ProtoSpan *rest, int size)
{
	uint64		number = 0;

	for (int i = 0; i < size; i++)
		number = number << 8 | rest->bytes[i];
	rest->bytes += size;
	rest->len -= size;
	return number;
}

/* False, with nothing in *string, if it is empty, or more than is left. */
static bool
take_string(ProtoSpan *rest, ProtoSpan *string)
{
	size_t		len;

	if (rest->len < 2)
		return false;
	len = (size_t) take_number(rest, 2);
	if (len == 0 || len > rest->len)
		return false;
	string->bytes = rest->bytes;
	string->len = len;
	rest->bytes += len;
	rest->len -= len;
	return true;
}

static bool
decode_of_test_server(const uint8 *token, size_t len, TaskToken *result)
{
	ProtoSpan	rest = {token, len};

	memset(result, 0, sizeof(TaskToken));
	if (!take_string(&rest, &result->namespace_id) ||
		!take_string(&rest, &result->workflow_id) ||
		!take_string(&rest, &result->run_id) ||
		rest.len != sizeof(int64) + sizeof(int32))
		return false;
	result->scheduled_event_id = (int64) take_number(&rest, sizeof(int64));
	result->attempt = (int32) take_number(&rest, sizeof(int32));
	return result->scheduled_event_id > 0 && result->attempt > 0;
}

bool
tc_task_token_decode(const uint8 *token, size_t len, TaskToken *result)
{
	if (len > 0 && token[0] == 0)
		return decode_of_test_server(token, len, result);
	return decode_task(token, len, result);
}

/*
 * PostgreSQL's check takes a zero byte for an error; protobuf does not.  It
 * looks at all that it is given, so it is given what stands between two only.
 */
static bool
is_utf8(ProtoSpan span)
{
	const char *next = (const char *) span.bytes;
	const char *end = next + span.len;

	while (next < end)
	{
		const char *zero = memchr(next, '\0', end - next);
		int			len = (int) ((zero != NULL ? zero : end) - next);

		if (pg_encoding_verifymbstr(PG_UTF8, next, len) != len)
			return false;
		next += len + 1;
	}
	return true;
}

bool
tc_task_token_is_valid(const uint8 *token, size_t len)
{
	TaskToken	decoded;

	return len <= PG_INT32_MAX &&
		tc_task_token_decode(token, len, &decoded) &&
		is_utf8(decoded.namespace_id) &&
		is_utf8(decoded.workflow_id) &&
		is_utf8(decoded.run_id) &&
		is_utf8(decoded.activity_id);
}
