/*-------------------------------------------------------------------------
 *
 * request_payloads.c
 *	  The payloads of an encoded request: all of them, and others in their
 *	  places.  And those of a description that say what went wrong.
 *
 * One walk serves for both, so what is taken out is what is put back.  Where
 * payloads are in messages is said here alone, also for fields that are not
 * made here (temporal.api.failure.v1): what has a payload that is not known
 * here would be sent as it is.
 *
 * With common attributes it is as in the failure converters of SDKs: message and
 * stack trace become one payload, in the field encoded_attributes, and others
 * stand in their places.  The source, by which a failure is known to be ours,
 * stays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/json.h"

#include "compat.h"
#include "request/payload.h"
#include "request/request_payloads.h"

/* Payloads, Payload */
#define PAYLOADS_PAYLOAD 1
#define PAYLOAD_METADATA 1
#define METADATA_KEY 1

/* Failure */
#define FAILURE_MESSAGE 1
#define FAILURE_STACK_TRACE 3
#define FAILURE_CAUSE 4
#define FAILURE_ENCODED_ATTRIBUTES 20

#define ENCODED_MESSAGE "Encoded failure"

/* Of what was encoded of a failure; more is not meant to be looked at */
#define MAX_ATTRIBUTES 65536

typedef enum PartKind
{
	PART_PAYLOADS,
	PART_FAILURE,
	PART_ENCODED_FAILURE,		/* of a description */
	PART_MESSAGE
} PartKind;

/* Where payloads are in a message */
typedef struct Part
{
	uint32		number;			/* 0 ends the list */
	PartKind	kind;
	const struct Part *parts;	/* of PART_MESSAGE */
} Part;

static const Part payloads_in_1[] = {{1, PART_PAYLOADS}, {0}};
static const Part payloads_in_2[] = {{2, PART_PAYLOADS}, {0}};
static const Part payloads_in_3[] = {{3, PART_PAYLOADS}, {0}};
static const Part payloads_in_5[] = {{5, PART_PAYLOADS}, {0}};

static const Part failure_parts[] = {
	{FAILURE_CAUSE, PART_FAILURE},
	{5, PART_MESSAGE, payloads_in_3},	/* application: details */
	{6, PART_MESSAGE, payloads_in_2},	/* timeout: last_heartbeat_details */
	{7, PART_MESSAGE, payloads_in_1},	/* canceled: details */
	{10, PART_MESSAGE, payloads_in_1},	/* reset_workflow:
										 * last_heartbeat_details */
	{0}
};

static const Part fail_parts[] = {{2, PART_FAILURE}, {5, PART_PAYLOADS}, {0}};
static const Part fail_by_id_parts[] = {{5, PART_FAILURE}, {7, PART_PAYLOADS}, {0}};

static const Part *const parts_of_methods[] = {
	[METHOD_COMPLETE] = payloads_in_2,
	[METHOD_COMPLETE_BY_ID] = payloads_in_5,
	[METHOD_FAIL] = fail_parts,
	[METHOD_FAIL_BY_ID] = fail_by_id_parts,
	[METHOD_REPORT_CANCELLATION] = payloads_in_2,
	[METHOD_REPORT_CANCELLATION_BY_ID] = payloads_in_5,
	[METHOD_HEARTBEAT] = payloads_in_2,
	[METHOD_HEARTBEAT_BY_ID] = payloads_in_5,
};

/* Of the replies: PendingActivityInfo, ActivityExecutionInfo; their last_failure */
static const Part pending_activity_parts[] = {{11, PART_ENCODED_FAILURE}, {0}};
static const Part activity_info_parts[] = {{20, PART_ENCODED_FAILURE}, {0}};
static const Part workflow_reply_parts[] = {{3, PART_MESSAGE, pending_activity_parts}, {0}};
static const Part activity_reply_parts[] = {{2, PART_MESSAGE, activity_info_parts}, {0}};

typedef struct Walk
{
	bool		common_attributes;
	StringInfo	gathered;		/* NULL: others are put in their places */
	ProtoReader *others;
	size_t		room;			/* for payloads of a description */
	int			count;
	bool		failed;
} Walk;

static void walk_message(Walk *walk, const Part *parts, ProtoSpan message, StringInfo out);
static void walk_payloads(Walk *walk, ProtoSpan message, StringInfo out);
static void walk_failure(Walk *walk, ProtoSpan failure, StringInfo out);
static void walk_encoded_failure(Walk *walk, ProtoSpan failure, StringInfo out);
static char *message_of(ProtoSpan payload);
static ProtoSpan common_attributes_of(ProtoSpan failure);
static void append_text(StringInfo json, ProtoSpan text);
static ProtoSpan next_payload(Walk *walk, ProtoSpan own);
static bool is_payload(ProtoSpan payload);
static void put_span(StringInfo out, uint32 number, const void *bytes, size_t len);

int
tc_request_payloads(RequestMethod method, const uint8 *request, size_t len,
					bool common_attributes, StringInfo payloads)
{
	Walk		walk = {common_attributes, payloads};
	ProtoSpan	message = {request, len};

	walk_message(&walk, parts_of_methods[method], message, NULL);
	return walk.failed ? -1 : walk.count;
}

uint8 *
tc_request_with_payloads(RequestMethod method, const uint8 *request, size_t len,
						 bool common_attributes, ProtoReader *payloads, size_t *new_len)
{
	Walk		walk = {common_attributes, NULL, payloads};
	ProtoSpan	message = {request, len};
	StringInfoData out;

	initStringInfo(&out);
	walk_message(&walk, parts_of_methods[method], message, &out);
	if (walk.failed)
	{
		pfree(out.data);
		return NULL;
	}
	*new_len = out.len;
	return (uint8 *) out.data;
}

int
tc_description_payloads(bool is_workflow, const uint8 *reply, size_t len, size_t max_bytes,
						StringInfo payloads)
{
	Walk		walk = {.gathered = payloads,.room = max_bytes};
	ProtoSpan	message = {reply, len};

	walk_message(&walk, is_workflow ? workflow_reply_parts : activity_reply_parts, message, NULL);
	return walk.failed ? 0 : walk.count;
}

uint8 *
tc_description_decoded(bool is_workflow, const uint8 *reply, size_t len, size_t max_bytes,
					   ProtoReader *payloads, size_t *new_len)
{
	Walk		walk = {.others = payloads,.room = max_bytes};
	ProtoSpan	message = {reply, len};
	StringInfoData out;

	initStringInfo(&out);
	walk_message(&walk, is_workflow ? workflow_reply_parts : activity_reply_parts, message, &out);
	*new_len = out.len;
	return walk.failed ? NULL : (uint8 *) out.data;
}

int
tc_payloads_count(const uint8 *payloads, size_t len)
{
	ProtoReader reader;
	ProtoField	field;
	int			count = 0;

	tc_proto_begin(&reader, payloads, len);
	while (tc_proto_next(&reader, &field))
		count += tc_proto_is(&field, PAYLOADS_PAYLOAD, PROTO_BYTES);
	return reader.malformed ? -1 : count;
}

/* out is NULL where payloads are gathered only. */
static void
walk_message(Walk *walk, const Part *parts, ProtoSpan message, StringInfo out)
{
	ProtoReader reader;
	ProtoField	field;
	const uint8 *begin;

	check_stack_depth();
	tc_proto_begin(&reader, message.bytes, message.len);
	for (begin = reader.next; !walk->failed && tc_proto_next(&reader, &field); begin = reader.next)
	{
		const Part *part = parts;
		StringInfoData inner;

		while (part->number != 0 && !tc_proto_is(&field, part->number, PROTO_BYTES))
			part++;
		if (part->number == 0)
		{
			if (out != NULL)
				appendBinaryStringInfo(out, (const char *) begin, (int) (reader.next - begin));
			continue;
		}
		if (out != NULL)
			initStringInfo(&inner);
		if (part->kind == PART_PAYLOADS)
			walk_payloads(walk, field.span, out ? &inner : NULL);
		else if (part->kind == PART_FAILURE)
			walk_failure(walk, field.span, out ? &inner : NULL);
		else if (part->kind == PART_ENCODED_FAILURE)
			walk_encoded_failure(walk, field.span, out ? &inner : NULL);
		else
			walk_message(walk, part->parts, field.span, out ? &inner : NULL);
		if (out != NULL)
		{
			put_span(out, field.number, inner.data, inner.len);
			pfree(inner.data);
		}
	}
	walk->failed |= reader.malformed;
}

static void
walk_payloads(Walk *walk, ProtoSpan message, StringInfo out)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, message.bytes, message.len);
	while (!walk->failed && tc_proto_next(&reader, &field))
	{
		ProtoSpan	payload;

		if (!tc_proto_is(&field, PAYLOADS_PAYLOAD, PROTO_BYTES))
			continue;
		payload = next_payload(walk, field.span);
		if (out != NULL)
			put_span(out, PAYLOADS_PAYLOAD, payload.bytes, payload.len);
	}
	walk->failed |= reader.malformed;
}

static void
walk_failure(Walk *walk, ProtoSpan failure, StringInfo out)
{
	ProtoReader reader;
	ProtoField	field;
	const uint8 *begin;
	ProtoSpan	attributes;
	StringInfoData rest;
	ProtoSpan	remaining;

	if (!walk->common_attributes)
	{
		walk_message(walk, failure_parts, failure, out);
		return;
	}
	attributes = next_payload(walk, walk->gathered != NULL ?
							  common_attributes_of(failure) : failure);
	if (out != NULL)
	{
		put_span(out, FAILURE_MESSAGE, ENCODED_MESSAGE, strlen(ENCODED_MESSAGE));
		put_span(out, FAILURE_ENCODED_ATTRIBUTES, attributes.bytes, attributes.len);
	}

	/* all but what is in there now */
	initStringInfo(&rest);
	tc_proto_begin(&reader, failure.bytes, failure.len);
	for (begin = reader.next; tc_proto_next(&reader, &field); begin = reader.next)
	{
		if (field.number != FAILURE_MESSAGE && field.number != FAILURE_STACK_TRACE &&
			field.number != FAILURE_ENCODED_ATTRIBUTES)
			appendBinaryStringInfo(&rest, (const char *) begin, (int) (reader.next - begin));
	}
	walk->failed |= reader.malformed;
	remaining.bytes = (const uint8 *) rest.data;
	remaining.len = rest.len;
	walk_message(walk, failure_parts, remaining, out);
	pfree(rest.data);
}

/* Only its message is looked at; of several fields of a number the last one counts. */
static void
walk_encoded_failure(Walk *walk, ProtoSpan failure, StringInfo out)
{
	ProtoSpan	attributes = tc_span_field(failure, FAILURE_ENCODED_ATTRIBUTES);
	char	   *message = NULL;

	if (out != NULL)
		appendBinaryStringInfo(out, (const char *) failure.bytes, (int) failure.len);
	if (attributes.bytes == NULL || attributes.len > MAX_ATTRIBUTES || attributes.len > walk->room)
		return;
	walk->room -= attributes.len;
	attributes = next_payload(walk, attributes);
	if (out != NULL && !walk->failed)
		message = message_of(attributes);
	if (message != NULL)
		put_span(out, FAILURE_MESSAGE, message, strlen(message));
}

/* As SDKs encode it: JSON with a message in it.  NULL if it is something else. */
static char *
message_of(ProtoSpan payload)
{
	PayloadParts parts;
	cJSON	   *json;
	const char *message;
	char	   *result = NULL;

	if (payload.len > MAX_ATTRIBUTES || !tc_payload_read(payload.bytes, payload.len, &parts) ||
		parts.data.bytes == NULL)
		return NULL;
	json = cJSON_ParseWithLength((const char *) parts.data.bytes, parts.data.len);
	message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));
	if (message != NULL && pg_encoding_verifymbstr(PG_UTF8, message, strlen(message)) == strlen(message))
		result = pstrdup(message);
	cJSON_Delete(json);
	return result;
}

/* Texts are UTF-8, in which what JSON escapes is ASCII. */
static ProtoSpan
common_attributes_of(ProtoSpan failure)
{
	ProtoSpan	message = tc_span_field(failure, FAILURE_MESSAGE);
	ProtoSpan	stack_trace = tc_span_field(failure, FAILURE_STACK_TRACE);
	StringInfoData json;
	Payload    *payload;
	ProtoSpan	result;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"message\":");
	append_text(&json, message);
	appendStringInfoString(&json, ",\"stack_trace\":");
	append_text(&json, stack_trace);
	appendStringInfoChar(&json, '}');
	payload = tc_payload_make(TC_ENCODING_JSON, json.data, json.len, NULL, 0);
	result.bytes = (const uint8 *) VARDATA_ANY(payload);
	result.len = VARSIZE_ANY_EXHDR(payload);
	return result;
}

static void
append_text(StringInfo json, ProtoSpan text)
{
	char	   *copy = text.len > 0 ? pnstrdup((const char *) text.bytes, text.len) : pstrdup("");

	escape_json(json, copy);
	pfree(copy);
}

/* One that is gathered, or the one that takes its place. */
static ProtoSpan
next_payload(Walk *walk, ProtoSpan own)
{
	ProtoField	field;

	walk->count++;
	if (walk->gathered != NULL)
	{
		put_span(walk->gathered, PAYLOADS_PAYLOAD, own.bytes, own.len);
		return own;
	}
	while (tc_proto_next(walk->others, &field))
	{
		if (!tc_proto_is(&field, PAYLOADS_PAYLOAD, PROTO_BYTES))
			continue;
		walk->failed |= !is_payload(field.span);
		return field.span;
	}
	walk->failed = true;
	return own;
}

/* Of a message with a string that is no UTF-8 in it Temporal reads nothing. */
static bool
is_payload(ProtoSpan payload)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, payload.bytes, payload.len);
	while (tc_proto_next(&reader, &field))
	{
		ProtoSpan	key;

		if (!tc_proto_is(&field, PAYLOAD_METADATA, PROTO_BYTES))
			continue;
		key = tc_span_field(field.span, METADATA_KEY);
		if (pg_encoding_verifymbstr(PG_UTF8, (const char *) key.bytes, (int) key.len) != (int) key.len)
			return false;
	}
	return !reader.malformed;
}

static void
put_span(StringInfo out, uint32 number, const void *bytes, size_t len)
{
	uint64		values[] = {(uint64) number << 3 | PROTO_BYTES, len};

	for (int i = 0; i < lengthof(values); i++)
	{
		for (; values[i] > 0x7F; values[i] >>= 7)
			appendStringInfoChar(out, (char) (values[i] | 0x80));
		appendStringInfoChar(out, (char) values[i]);
	}
	appendBinaryStringInfo(out, bytes, (int) len);
}
