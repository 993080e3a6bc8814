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

#include "compat.h"
#include "functions/record_request.h"
#include "outbox/outbox.h"
#include "process/wakeup.h"
#include "server/delivery.h"
#include "server/server.h"

/* Bytes of an id that an error message tells */
#define TOLD_MAX 200

/* What an error message says of the call */
typedef struct CallInfo
{
	const RequestCaller *caller;
	RequestMethod method;
	const RequestArgs *args;
} CallInfo;

static void tell_call(void *arg);
static void tell_text(StringInfo buf, const char *format, const text *value);

int64
tc_record_request(const RequestCaller *caller, RequestMethod method, const RequestArgs *args,
				  const char *server, char *namespace_name)
{
	CallInfo	call = {caller, method, args};
	ErrorContextCallback context = {error_context_stack, tell_call, &call};
	QueueKey	key = {
		.role = GetUserId(),
		.namespace_name = namespace_name
	};
	RequestIdentity identity;
	int64		queue;
	uint8	   *request;
	size_t		len;

	PreventCommandDuringRecovery(caller->name);
	PreventCommandIfReadOnly(caller->name);
	PreventCommandIfParallelMode(caller->name);
	error_context_stack = &context;

	tc_request_check(method, args);
	if (key.namespace_name != NULL)
		(void) tc_namespace_to_utf8(key.namespace_name);	/* can it be sent? */
	key.server = tc_server_for_caller(server, key.namespace_name).serverid;

	key.suppressed = !tc_delivery_is_on();

	identity.xid = U64FromFullTransactionId(GetTopFullTransactionId());
	queue = tc_queue_number(&key);
	identity.id = tc_outbox_next_id();
	identity.requested_at = GetCurrentTimestamp();
	request = tc_request_encode(method, args, &identity, &len);
	tc_outbox_insert(&identity, queue, method, request, len);
	if (!key.suppressed)
		tc_wake_at_commit(queue);
	error_context_stack = context.previous;
	if (!key.suppressed)
		tc_warn_if_nothing_is_sent();

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
