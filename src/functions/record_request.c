/*-------------------------------------------------------------------------
 *
 * record_request.c
 *	  What every way to ask for something has in common.
 *
 * The steps only: no encoding, no table and no network here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "functions/keys.h"
#include "functions/record_request.h"
#include "outbox/key_waits.h"
#include "outbox/outbox.h"
#include "outbox/recorded_activity.h"
#include "process/wakeup.h"
#include "request/request_fields.h"

/* Bytes of an id that an error message tells */
#define TOLD_MAX 200

/* What an error message says of the call */
typedef struct CallInfo
{
	const RequestCaller *caller;
	RequestMethod method;
	const RequestArgs *args;
} CallInfo;

static RequestMethod take_activity(const RecordedActivity *activity, RequestMethod method,
								   RequestArgs *args);
static text *id_text(const char *utf8);
static int64 write_request(RequestMethod method, const RequestArgs *args, const QueueKey *queue_key,
						   const RequestKey *key);
static void tell_call(void *arg);
static void tell_text(StringInfo buf, const char *format, const text *value);

int64
tc_record_request(const RequestCaller *caller, RequestMethod method, const RequestArgs *args,
				  const char *server, char *namespace_name)
{
	CallInfo	call = {caller, method, args};
	ErrorContextCallback context = {error_context_stack, tell_call, &call};
	QueueKey	queue_key;
	int64		id;

	error_context_stack = &context;
	tc_request_check(method, args);
	queue_key = tc_caller_queue(caller->name, server, namespace_name);
	id = write_request(method, args, &queue_key, NULL);
	error_context_stack = context.previous;
	if (!queue_key.suppressed)
		tc_warn_if_nothing_is_sent();
	return id;
}

int64
tc_record_request_by_key(const RequestCaller *caller, RequestMethod method, RequestArgs *args,
						 const text *key, const char *server, char *namespace_name)
{
	CallInfo	call = {caller, method, args};
	ErrorContextCallback context = {error_context_stack, tell_call, &call};
	QueueKey	queue_key;
	RequestKey	request_key;
	RecordedActivity activity;
	Oid			owner;
	int64		id;

	error_context_stack = &context;
	tc_key_check(key);
	queue_key = tc_caller_queue(caller->name, server, namespace_name);
	request_key.key = text_to_cstring(key);
	if (tc_key_find(&queue_key, request_key.key, &activity, &owner))
	{
		request_key.queue = activity.queue;
		request_key.id = activity.id;
		call.method = method = take_activity(&activity, method, args);
	}
	else if (args->wait_for_key != NULL)
	{
		request_key.id = 0;
		args->awaits_key = true;
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no activity is recorded under key \"%s\"", request_key.key),
				 errdetail("It has not been recorded for this server and namespace by a role whose privileges you have, or was forgotten, has expired, or has ended by its key."),
				 errhint("Record it with temporal.record_activity() first, or pass wait_for_key.")));
	tc_request_check(method, args);
	id = write_request(method, args, &queue_key, &request_key);
	error_context_stack = context.previous;
	if (!queue_key.suppressed)
		tc_warn_if_nothing_is_sent();
	return id;
}

/* Have arguments name the activity as it was recorded.  Returns the method by which that goes. */
static RequestMethod
take_activity(const RecordedActivity *activity, RequestMethod method, RequestArgs *args)
{
	RequestTarget target;

	if (!tc_request_decode(activity->method, activity->heartbeat, activity->len, &target))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("what was recorded under key \"%s\" cannot be read", activity->key)));
	if (!tc_method_by_id(activity->method))
	{
		args->task_token = (bytea *) cstring_to_text_with_len((const char *) target.task_token,
															  target.task_token_len);
		return method;
	}
	args->workflow_id = id_text(target.workflow_id != NULL ? target.workflow_id : "");
	args->activity_id = id_text(target.activity_id);
	args->run_id = id_text(target.run_id);
	return method + 1;
}

/* Ids were given in the encoding of this database, so they come back as they were. */
static text *
id_text(const char *utf8)
{
	return utf8 == NULL ? NULL : cstring_to_text(tc_utf8_to_server(utf8, strlen(utf8), SIZE_MAX));
}

/* Write a request that has been checked; it is sent when the transaction commits.  Returns its id. */
static int64
write_request(RequestMethod method, const RequestArgs *args, const QueueKey *queue_key,
			  const RequestKey *key)
{
	RequestIdentity identity;
	int64		queue;
	uint8	   *request;
	size_t		len;
	TimestampTz awaited_until;

	identity.xid = U64FromFullTransactionId(GetTopFullTransactionId());
	queue = tc_queue_number(queue_key);
	identity.id = tc_outbox_next_id();
	identity.requested_at = GetCurrentTimestamp();
	request = tc_request_encode(method, args, &identity, &len);
	awaited_until = tc_request_awaited_until(args, identity.requested_at);
	tc_outbox_insert(&identity, queue, method, request, len, key, awaited_until);
	if (queue_key->suppressed)
		return identity.id;
	if (args->awaits_key)
	{
		KeyWait		wait = {
			.key_hash = (int64) tc_key_hash(key->key, strlen(key->key)),
			.queue = queue,
			.id = identity.id,
			.awaited_until = awaited_until
		};

		tc_key_wait_insert(&wait);
	}
	tc_wake_at_commit(queue);
	return identity.id;
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
	if (call->caller->number > 0)
		errcontext("call " UINT64_FORMAT " of %s%s", call->caller->number,
				   call->caller->name, activity.data);
	else
		errcontext("%s%s", call->caller->name, activity.data);
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
