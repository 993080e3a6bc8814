/*-------------------------------------------------------------------------
 *
 * request_fields.c
 *	  Fields of encoded requests: those that say whom a request is about, and
 *	  those that are added when it is sent.
 *
 * Requests are read where they lie, and nothing here raises an error because
 * of what is in them.  Payloads are passed over.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/proto_reader.h"
#include "request/request_fields.h"
#include "request/task_token.h"

/* Fields by which a request says whom it is about: by token ... */
#define TOKEN_FORM_TASK_TOKEN 1
#define TOKEN_FORM_IDENTITY 3
#define TOKEN_FORM_NAMESPACE 4

/* ... and by ids */
#define ID_FORM_NAMESPACE 1
#define ID_FORM_WORKFLOW_ID 2
#define ID_FORM_RUN_ID 3
#define ID_FORM_ACTIVITY_ID 4

/* In Respond*Completed* and Respond*Canceled*: result, details */
#define TOKEN_FORM_VALUE 2
#define ID_FORM_VALUE 5

/* Tag and length of a field, at most */
#define MAX_FIELD_OVERHEAD 11

/* In Respond*Failed* alone; Failure, ApplicationFailureInfo */
#define TOKEN_FORM_FAILURE 2
#define ID_FORM_FAILURE 5
#define TOKEN_FORM_HEARTBEAT_DETAILS 5
#define ID_FORM_HEARTBEAT_DETAILS 7
#define FAILURE_SOURCE 2
#define FAILURE_APPLICATION_INFO 5
#define APPLICATION_INFO_NON_RETRYABLE 2
#define ID_FORM_IDENTITY 6

/* Copy a span to *next, zero-terminated; NULL for an empty one. */
static char *
copy_span(ProtoSpan span, char **next)
{
	char	   *copy = *next;

	if (span.len == 0)
		return NULL;
	memcpy(copy, span.bytes, span.len);
	copy[span.len] = '\0';
	*next += span.len + 1;
	return copy;
}

bool
tc_request_decode(RequestMethod method, const uint8 *request, size_t len,
				  RequestTarget *target)
{
	bool		by_id = tc_method_by_id(method);
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	token = {NULL, 0};
	TaskToken	ids;
	char	   *next;

	memset(&ids, 0, sizeof(ids));

	tc_proto_begin(&reader, request, len);
	while (tc_proto_next(&reader, &field))
	{
		if (field.wire_type != PROTO_BYTES)
			continue;
		if (by_id)
		{
			switch (field.number)
			{
				case ID_FORM_WORKFLOW_ID:
					ids.workflow_id = field.span;
					break;
				case ID_FORM_RUN_ID:
					ids.run_id = field.span;
					break;
				case ID_FORM_ACTIVITY_ID:
					ids.activity_id = field.span;
					break;
			}
		}
		else if (field.number == TOKEN_FORM_TASK_TOKEN)
			token = field.span;
	}
	if (reader.malformed)
		return false;

	if (!by_id && !tc_task_token_decode(token.bytes, token.len, &ids))
		memset(&ids, 0, sizeof(ids));

	/* one allocation for all strings: this is done for each request sent */
	next = palloc(ids.workflow_id.len + ids.run_id.len + ids.activity_id.len + 3);
	target->workflow_id = copy_span(ids.workflow_id, &next);
	target->run_id = copy_span(ids.run_id, &next);
	target->activity_id = copy_span(ids.activity_id, &next);
	target->task_token = token.bytes;
	target->task_token_len = token.len;
	target->scheduled_event_id = ids.scheduled_event_id;
	target->attempt = ids.attempt;
	return true;
}

bool
tc_request_may_be_retried(RequestMethod method, const uint8 *request, size_t len)
{
	uint32		numbers[] = {
		method == METHOD_FAIL ? TOKEN_FORM_FAILURE : ID_FORM_FAILURE,
		FAILURE_APPLICATION_INFO
	};
	ProtoSpan	message = {request, len};
	ProtoReader reader;
	ProtoField	field;
	bool		non_retryable = false;

	if (method != METHOD_FAIL && method != METHOD_FAIL_BY_ID)
		return false;
	for (int i = 0; i < lengthof(numbers); i++)
	{
		ProtoSpan	part = {NULL, 0};

		tc_proto_begin(&reader, message.bytes, message.len);
		while (tc_proto_next(&reader, &field))
			if (tc_proto_is(&field, numbers[i], PROTO_BYTES))
				part = field.span;
		message = part;
	}
	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
		if (tc_proto_is(&field, APPLICATION_INFO_NON_RETRYABLE, PROTO_VARINT))
			non_retryable = field.varint != 0;
	return !non_retryable;
}

/* A field of at most 16,383 bytes; returns its length with tag and length. */
static size_t
put_field(int number, const char *string, size_t len, uint8 *buf)
{
	uint8	   *next = buf;

	*next++ = (uint8) (number << 3 | PROTO_BYTES);
	if (len > 0x7F)
		*next++ = (uint8) (len | 0x80);
	*next++ = (uint8) (len > 0x7F ? len >> 7 : len);
	memcpy(next, string, len);
	return next + len - buf;
}

/* A field of any length; returns what is behind it. */
static uint8 *
put_span(int number, ProtoSpan span, uint8 *buf)
{
	size_t		rest = span.len;

	*buf++ = (uint8) (number << 3 | PROTO_BYTES);
	for (; rest > 0x7F; rest >>= 7)
		*buf++ = (uint8) (rest | 0x80);
	*buf++ = (uint8) rest;
	memcpy(buf, span.bytes, span.len);
	return buf + span.len;
}

uint8 *
tc_request_by_ids(RequestMethod *method, const uint8 *request, size_t len, size_t *new_len)
{
	ProtoSpan	token = {NULL, 0};
	ProtoSpan	value = {NULL, 0};
	ProtoReader reader;
	ProtoField	field;
	TaskToken	ids;
	uint8	   *result;
	uint8	   *next;

	if (*method != METHOD_COMPLETE && *method != METHOD_REPORT_CANCELLATION)
		return NULL;
	tc_proto_begin(&reader, request, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, TOKEN_FORM_TASK_TOKEN, PROTO_BYTES))
			token = field.span;
		else if (tc_proto_is(&field, TOKEN_FORM_VALUE, PROTO_BYTES))
			value = field.span;
	}
	memset(&ids, 0, sizeof(ids));
	/* without the run another activity could be meant */
	if (reader.malformed || !tc_task_token_decode(token.bytes, token.len, &ids) ||
		ids.activity_id.len == 0 || ids.run_id.len == 0)
		return NULL;

	result = next = palloc(ids.workflow_id.len + ids.run_id.len + ids.activity_id.len + value.len +
						   4 * MAX_FIELD_OVERHEAD);
	if (ids.workflow_id.len > 0)
		next = put_span(ID_FORM_WORKFLOW_ID, ids.workflow_id, next);
	next = put_span(ID_FORM_RUN_ID, ids.run_id, next);
	next = put_span(ID_FORM_ACTIVITY_ID, ids.activity_id, next);
	if (value.bytes != NULL)
		next = put_span(ID_FORM_VALUE, value, next);
	*method = *method == METHOD_COMPLETE ? METHOD_COMPLETE_BY_ID : METHOD_REPORT_CANCELLATION_BY_ID;
	*new_len = next - result;
	return result;
}

/* A failure with another identity as its source; false if it cannot be read. */
static bool
replace_source(ProtoSpan failure, const RequestIdentity *identity, ProtoSpan *result)
{
	char		string[TC_IDENTITY_MAX];
	ProtoSpan	source = {(const uint8 *) string, tc_request_identity(identity, string)};
	uint8	   *buf = palloc(failure.len + source.len + MAX_FIELD_OVERHEAD);
	uint8	   *next = buf;
	ProtoReader reader;
	ProtoField	field;
	const uint8 *begin;

	tc_proto_begin(&reader, failure.bytes, failure.len);
	for (begin = reader.next; tc_proto_next(&reader, &field); begin = reader.next)
	{
		if (field.number == FAILURE_SOURCE)
			continue;
		memcpy(next, begin, reader.next - begin);
		next += reader.next - begin;
	}
	next = put_span(FAILURE_SOURCE, source, next);
	result->bytes = buf;
	result->len = next - buf;
	return !reader.malformed;
}

uint8 *
tc_request_for_activity(RequestMethod *method, const uint8 *request, size_t len,
						RequestMethod recorded_method, const uint8 *recorded, size_t recorded_len,
						const RequestIdentity *identity, size_t *new_len)
{
	bool		by_id = tc_method_by_id(recorded_method);
	int			first = by_id ? ID_FORM_WORKFLOW_ID : TOKEN_FORM_TASK_TOKEN;
	int			last = by_id ? ID_FORM_ACTIVITY_ID : TOKEN_FORM_TASK_TOKEN;
	ProtoSpan	activity[ID_FORM_ACTIVITY_ID + 1] = {{NULL, 0}};
	ProtoSpan	value = {NULL, 0};
	ProtoSpan	details = {NULL, 0};
	ProtoReader reader;
	ProtoField	field;
	uint8	   *result;
	uint8	   *next;

	tc_proto_begin(&reader, recorded, recorded_len);
	while (tc_proto_next(&reader, &field))
		if (field.number >= first && field.number <= last && field.wire_type == PROTO_BYTES)
			activity[field.number] = field.span;
	if (reader.malformed || activity[last].len == 0)
		return NULL;
	tc_proto_begin(&reader, request, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, TOKEN_FORM_VALUE, PROTO_BYTES))
			value = field.span;
		else if (tc_proto_is(&field, TOKEN_FORM_HEARTBEAT_DETAILS, PROTO_BYTES))
			details = field.span;
	}
	if (reader.malformed ||
		(*method == METHOD_FAIL && !replace_source(value, identity, &value)))
		return NULL;

	result = next = palloc(recorded_len + value.len + details.len + 6 * MAX_FIELD_OVERHEAD);
	for (int i = first; i <= last; i++)
		if (activity[i].len > 0)
			next = put_span(i, activity[i], next);
	if (value.bytes != NULL)
		next = put_span(by_id ? ID_FORM_VALUE : TOKEN_FORM_VALUE, value, next);
	if (details.bytes != NULL)
		next = put_span(by_id ? ID_FORM_HEARTBEAT_DETAILS : TOKEN_FORM_HEARTBEAT_DETAILS, details, next);
	if (by_id)
		*method = (RequestMethod) (*method + 1);
	*new_len = next - result;
	return result;
}

size_t
tc_identity_field(RequestMethod method, const RequestIdentity *identity, uint8 *buf)
{
	char		string[TC_IDENTITY_MAX];
	size_t		len = tc_request_identity(identity, string);

	return put_field(tc_method_by_id(method) ? ID_FORM_IDENTITY : TOKEN_FORM_IDENTITY,
					 string, len, buf);
}

size_t
tc_namespace_field(RequestMethod method, const char *namespace_utf8, uint8 *buf)
{
	return put_field(tc_method_by_id(method) ? ID_FORM_NAMESPACE : TOKEN_FORM_NAMESPACE,
					 namespace_utf8, strlen(namespace_utf8), buf);
}
