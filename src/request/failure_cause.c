/*-------------------------------------------------------------------------
 *
 * failure_cause.c
 *	  Causes of failures: JSON as users have it, and Temporal's messages.
 *
 * A cause is an object whose keys are the names of a failure's arguments.
 * It has no source: of a failure that shows whose it is, which is not for the
 * user to say.  Errors tell names of keys, and never a value.
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
#include "request/payload_json.h"
#include "request/request_arguments.h"
#include "request/to_utf8.h"

/* Bytes of a key that an error message tells */
#define TOLD_MAX 64

static const char keys_hint[] =
"A cause has the keys \"message\", \"type\", \"details\", \"non_retryable\", \"stack_trace\" and \"cause\", of which only \"message\" has to be there.";

/* A Failure, and what it points to */
typedef struct CauseMessage
{
	Temporal__Failure failure;
	Temporal__ApplicationFailureInfo info;
	OnePayload	details;
	bool		has_message;
} CauseMessage;

static Temporal__Failure *build_cause(JsonbContainer *container, int number);
static void take_key(CauseMessage *cause, const char *key, JsonbValue *value, int number);
static char *string_of(const char *key, const JsonbValue *value, int number);
pg_noreturn static void wrong_type(const char *key, const char *wanted, int number);
static void push_cause(TcJsonbInState *state, ProtoSpan failure, int number);
static void push_key(TcJsonbInState *state, const char *key);
static void push_text(TcJsonbInState *state, const char *key, ProtoSpan span);
static void push_details(TcJsonbInState *state, ProtoSpan payload);

Temporal__Failure *
tc_failure_cause(Jsonb *json)
{
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cause must be a JSON object"),
				 errhint("%s", keys_hint)));
	return build_cause(&json->root, 1);
}

/* The outermost one has the number 1. */
static Temporal__Failure *
build_cause(JsonbContainer *container, int number)
{
	CauseMessage *cause = palloc0(sizeof(CauseMessage));
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	if (number > TC_CAUSES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a failure must not have more than %d causes", TC_CAUSES_MAX),
				 errdetail("Each of them is the cause of the one before."),
				 errhint("Leave out what is in between.")));
	temporal__application_failure_info__init(&cause->info);
	temporal__failure__init(&cause->failure);
	cause->failure.application_failure_info = &cause->info;
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			take_key(cause, key, &value, number);
	}
	if (!cause->has_message)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("message of a cause must not be null"),
				 errdetail("Cause %d of the failure, counted from the outermost, has none.", number),
				 errhint("%s", keys_hint)));
	return &cause->failure;
}

/* JSON's null is what SQL's NULL is as an argument: not given. */
static void
take_key(CauseMessage *cause, const char *key, JsonbValue *value, int number)
{
	bool		is_null = value->type == jbvNull;

	if (strcmp(key, "message") == 0)
	{
		cause->has_message = !is_null;
		cause->failure.message = string_of(key, value, number);
	}
	else if (strcmp(key, "type") == 0)
		cause->info.type = string_of(key, value, number);
	else if (strcmp(key, "stack_trace") == 0)
		cause->failure.stack_trace = string_of(key, value, number);
	else if (strcmp(key, "details") == 0)
	{
		if (!is_null)
			cause->info.details = tc_one_payload(tc_payload_of_jsonb(JsonbValueToJsonb(value)),
												 &cause->details);
	}
	else if (strcmp(key, "non_retryable") == 0)
	{
		if (!is_null && value->type != jbvBool)
			wrong_type(key, "a Boolean value", number);
		cause->info.non_retryable = !is_null && value->val.boolean;
	}
	else if (strcmp(key, "cause") == 0)
	{
		if (!is_null &&
			(value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data)))
			wrong_type(key, "an object", number);
		if (!is_null)
			cause->failure.cause = build_cause(value->val.binary.data, number + 1);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid key \"%.*s\" of a cause",
						pg_mbcliplen(key, strlen(key), TOLD_MAX), key),
				 errdetail("It is in cause %d of the failure, counted from the outermost.", number),
				 errhint("%s", keys_hint)));
}

/* In UTF-8; empty for null */
static char *
string_of(const char *key, const JsonbValue *value, int number)
{
	if (value->type == jbvNull)
		return "";
	if (value->type != jbvString)
		wrong_type(key, "a string", number);
	return tc_string_to_utf8(key, pnstrdup(value->val.string.val, value->val.string.len),
							 value->val.string.len);
}

static void
wrong_type(const char *key, const char *wanted, int number)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" of a cause must be %s", key, wanted),
			 errdetail("It is in cause %d of the failure, counted from the outermost.", number)));
}

Jsonb *
tc_failure_cause_shown(ProtoSpan failure)
{
	TcJsonbInState state = {0};

	push_cause(&state, failure, 1);
	return JsonbValueToJsonb(state.result);
}

static void
push_cause(TcJsonbInState *state, ProtoSpan failure, int number)
{
	CauseArguments cause;

	tc_push_jsonb_value(state, WJB_BEGIN_OBJECT, NULL);
	if (tc_failure_cause_read(failure, &cause))
	{
		/* an empty message is one */
		push_text(state, "message", cause.message);
		if (cause.type.len > 0)
			push_text(state, "type", cause.type);
		push_details(state, cause.details);
		if (cause.non_retryable)
		{
			JsonbValue	value = {.type = jbvBool,.val.boolean = true};

			push_key(state, "non_retryable");
			tc_push_jsonb_value(state, WJB_VALUE, &value);
		}
		if (cause.stack_trace.len > 0)
			push_text(state, "stack_trace", cause.stack_trace);
		if (cause.cause.bytes != NULL && number < TC_CAUSES_MAX)
		{
			push_key(state, "cause");
			push_cause(state, cause.cause, number + 1);
		}
	}
	tc_push_jsonb_value(state, WJB_END_OBJECT, NULL);
}

static void
push_key(TcJsonbInState *state, const char *key)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	tc_push_jsonb_value(state, WJB_KEY, &value);
}

static void
push_text(TcJsonbInState *state, const char *key, ProtoSpan span)
{
	JsonbValue	value = {.type = jbvString};

	push_key(state, key);
	value.val.string.val = tc_utf8_to_server((const char *) span.bytes, span.len, SIZE_MAX);
	value.val.string.len = strlen(value.val.string.val);
	tc_push_jsonb_value(state, WJB_VALUE, &value);
}

/* They were jsonb, and are again. */
static void
push_details(TcJsonbInState *state, ProtoSpan payload)
{
	PayloadParts parts;
	char	   *json;
	Jsonb	   *details;
	JsonbValue	value;

	if (payload.bytes == NULL || !tc_payload_read(payload.bytes, payload.len, &parts) ||
		!tc_payload_is_json(&parts))
		return;
	json = tc_utf8_as_text((const char *) parts.data.bytes, parts.data.len);
	if (json == NULL)
		return;
	details = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	push_key(state, "details");
	if (!JB_ROOT_IS_SCALAR(details) || !JsonbExtractScalar(&details->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &details->root;
		value.val.binary.len = VARSIZE(details) - VARHDRSZ;
	}
	tc_push_jsonb_value(state, WJB_VALUE, &value);
}
