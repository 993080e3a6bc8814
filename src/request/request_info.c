/*-------------------------------------------------------------------------
 *
 * request_info.c
 *	  What is known of requests: their methods, their identities, whom they
 *	  are about, and what replies to them say.
 *
 * Requests are read where they lie, and nothing here raises an error because
 * of what is in them or in a reply.  Payloads are passed over.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/proto_reader.h"
#include "compat.h"
#include "request/request.h"
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

/* In Respond*Failed* alone; Failure, ApplicationFailureInfo */
#define TOKEN_FORM_FAILURE 2
#define ID_FORM_FAILURE 5
#define FAILURE_APPLICATION_INFO 5
#define APPLICATION_INFO_NON_RETRYABLE 2
#define ID_FORM_IDENTITY 6

/* Fields of replies */
#define HEARTBEAT_CANCEL_REQUESTED 1
#define HEARTBEAT_ACTIVITY_PAUSED 2
#define HEARTBEAT_ACTIVITY_RESET 3
#define SYSTEM_INFO_SERVER_VERSION 1

#define WORKFLOW_SERVICE "/temporal.api.workflowservice.v1.WorkflowService/"

typedef struct MethodInfo
{
	const char *path;
	const char *verb;
	bool		by_id;
} MethodInfo;

static const MethodInfo methods[] = {
	[METHOD_COMPLETE] =
	{WORKFLOW_SERVICE "RespondActivityTaskCompleted", "complete", false},
	[METHOD_COMPLETE_BY_ID] =
	{WORKFLOW_SERVICE "RespondActivityTaskCompletedById", "complete", true},
	[METHOD_FAIL] =
	{WORKFLOW_SERVICE "RespondActivityTaskFailed", "fail", false},
	[METHOD_FAIL_BY_ID] =
	{WORKFLOW_SERVICE "RespondActivityTaskFailedById", "fail", true},
	[METHOD_REPORT_CANCELLATION] =
	{WORKFLOW_SERVICE "RespondActivityTaskCanceled", "report_cancellation", false},
	[METHOD_REPORT_CANCELLATION_BY_ID] =
	{WORKFLOW_SERVICE "RespondActivityTaskCanceledById", "report_cancellation", true},
	[METHOD_HEARTBEAT] =
	{WORKFLOW_SERVICE "RecordActivityTaskHeartbeat", "heartbeat", false},
	[METHOD_HEARTBEAT_BY_ID] =
	{WORKFLOW_SERVICE "RecordActivityTaskHeartbeatById", "heartbeat", true},
};

bool
tc_method_is_valid(int method)
{
	return method >= METHOD_FIRST && method <= METHOD_LAST;
}

const char *
tc_method_path(RequestMethod method)
{
	return methods[method].path;
}

const char *
tc_method_verb(RequestMethod method)
{
	return methods[method].verb;
}

bool
tc_method_is_heartbeat(RequestMethod method)
{
	return method == METHOD_HEARTBEAT || method == METHOD_HEARTBEAT_BY_ID;
}

bool
tc_method_by_id(RequestMethod method)
{
	return methods[method].by_id;
}

/*---------------------------------------------------------------------------
 * Identity
 *---------------------------------------------------------------------------
 */

#define IDENTITY_PREFIX "postgresql:"
#define UNIX_TO_POSTGRES_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

StaticAssertDecl(sizeof(IDENTITY_PREFIX) + NAMEDATALEN + 20 + 1 + 20 + 1 + 10 + 1 + 20 + 1 + 20 < TC_IDENTITY_MAX,
				 "an identity may not fit its buffer");

/* Append what comes behind the database's name; returns the end. */
static char *
append_identity_suffix(char *next, const RequestIdentity *identity)
{
	next += pg_lltoa(identity->id, next);
	*next++ = '@';
	next += pg_ulltoa_n(GetSystemIdentifier(), next);
	*next++ = '/';
	next += pg_ultoa_n(MyDatabaseId, next);
	*next++ = '/';
	next += pg_ulltoa_n(identity->xid, next);
	*next++ = '/';
	next += pg_lltoa(identity->requested_at + UNIX_TO_POSTGRES_EPOCH_USECS, next);
	return next;
}

/* "postgresql:<dbname>/", which does not change while a process lives */
static const char *
identity_prefix(size_t *len)
{
	static char prefix[sizeof(IDENTITY_PREFIX) + NAMEDATALEN];
	static size_t prefix_len = 0;

	if (prefix_len == 0)
	{
		char	   *dbname = get_database_name(MyDatabaseId);
		char	   *next = prefix;

		memcpy(next, IDENTITY_PREFIX, strlen(IDENTITY_PREFIX));
		next += strlen(IDENTITY_PREFIX);
		for (const char *c = dbname; c != NULL && *c != '\0'; c++)
			*next++ = (*c >= 0x20 && *c <= 0x7E) ? *c : '?';
		*next++ = '/';
		prefix_len = next - prefix;
	}
	*len = prefix_len;
	return prefix;
}

static size_t
build_identity(const RequestIdentity *identity, char *buf)
{
	size_t		len;
	const char *prefix = identity_prefix(&len);

	memcpy(buf, prefix, len);
	return append_identity_suffix(buf + len, identity) - buf;
}

void
tc_request_identity(const RequestIdentity *identity, char *buf)
{
	buf[build_identity(identity, buf)] = '\0';
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

size_t
tc_identity_field(RequestMethod method, const RequestIdentity *identity, uint8 *buf)
{
	char		string[TC_IDENTITY_MAX];
	size_t		len = build_identity(identity, string);

	return put_field(tc_method_by_id(method) ? ID_FORM_IDENTITY : TOKEN_FORM_IDENTITY,
					 string, len, buf);
}

size_t
tc_namespace_field(RequestMethod method, const char *namespace_utf8, uint8 *buf)
{
	return put_field(tc_method_by_id(method) ? ID_FORM_NAMESPACE : TOKEN_FORM_NAMESPACE,
					 namespace_utf8, strlen(namespace_utf8), buf);
}

/* Is it "postgresql:<anything>/<suffix>"? */
static bool
identity_ends_in(const char *string, size_t len, const char *suffix, size_t suffix_len)
{
	size_t		prefix_len = strlen(IDENTITY_PREFIX);

	return len >= prefix_len + 1 + suffix_len &&
		memcmp(string, IDENTITY_PREFIX, prefix_len) == 0 &&
		string[len - suffix_len - 1] == '/' &&
		memcmp(string + len - suffix_len, suffix, suffix_len) == 0;
}

bool
tc_identity_matches(const char *string, size_t len, const RequestIdentity *identity,
					const char *former)
{
	char		suffix[TC_IDENTITY_MAX];
	size_t		suffix_len = append_identity_suffix(suffix, identity) - suffix;

	if (identity_ends_in(string, len, suffix, suffix_len))
		return true;
	while (former != NULL && *former != '\0')
	{
		suffix_len = strcspn(former, " ");
		if (suffix_len > 0 && identity_ends_in(string, len, former, suffix_len))
			return true;
		former += suffix_len;
		former += strspn(former, " ");
	}
	return false;
}

TimestampTz
tc_former_identity_time(const char *former)
{
	const char *end = former + strcspn(former, " ");
	const char *last = end;

	while (last > former && last[-1] >= '0' && last[-1] <= '9')
		last--;
	return (TimestampTz) strtoll(last, NULL, 10) - UNIX_TO_POSTGRES_EPOCH_USECS;
}

/*---------------------------------------------------------------------------
 * Decoding
 *---------------------------------------------------------------------------
 */

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

bool
tc_heartbeat_reply_decode(const uint8 *reply, size_t len, HeartbeatReply *result)
{
	ProtoReader reader;
	ProtoField	field;

	memset(result, 0, sizeof(HeartbeatReply));

	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, HEARTBEAT_CANCEL_REQUESTED, PROTO_VARINT))
			result->cancel_requested = (field.varint != 0);
		else if (tc_proto_is(&field, HEARTBEAT_ACTIVITY_PAUSED, PROTO_VARINT))
			result->activity_paused = (field.varint != 0);
		else if (tc_proto_is(&field, HEARTBEAT_ACTIVITY_RESET, PROTO_VARINT))
			result->activity_reset = (field.varint != 0);
	}
	return !reader.malformed;
}

char *
tc_system_info_decode(const uint8 *reply, size_t len)
{
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	version = {NULL, 0};
	char	   *copy;

	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, SYSTEM_INFO_SERVER_VERSION, PROTO_BYTES))
			version = field.span;
	}
	if (reader.malformed || version.len == 0)
		return NULL;
	copy = palloc(version.len + 1);
	return copy_span(version, &copy);
}
