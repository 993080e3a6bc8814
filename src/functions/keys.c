/*-------------------------------------------------------------------------
 *
 * keys.c
 *	  Keys under which activities are recorded, as arguments.
 *
 * Nothing here says whether anything was recorded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "functions/keys.h"
#include "request/request.h"
#include "server/delivery.h"
#include "server/server.h"

/* As Temporal's ids may have; it fits into a row of an index */
#define MAX_KEY_BYTES 1000

void
tc_key_check(const text *key)
{
	static const char hint[] = "Pass what the activity is about, such as the key of a row.";

	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("key must not be null"),
				 errdetail("It is what the activity is recorded under."),
				 errhint("%s", hint)));
	if (VARSIZE_ANY_EXHDR(key) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key must not be empty"),
				 errdetail("It is what the activity is recorded under."),
				 errhint("%s", hint)));
	if (VARSIZE_ANY_EXHDR(key) > MAX_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("key is too long"),
				 errdetail("It has %zu bytes, the limit is %d.",
						   (size_t) VARSIZE_ANY_EXHDR(key), MAX_KEY_BYTES),
				 errhint("Check that the key was not mixed up with another value.")));
}

QueueKey
tc_caller_queue(const char *function, const char *server, char *namespace_name)
{
	QueueKey	result = {
		.role = GetUserId(),
		.namespace_name = namespace_name,
		.suppressed = !tc_delivery_is_on()
	};

	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	if (namespace_name != NULL)
		(void) tc_namespace_to_utf8(namespace_name);
	result.server = tc_server_for_caller(server, namespace_name).serverid;
	return result;
}

bool
tc_key_find(const QueueKey *queue_key, const char *key, RecordedActivity *activity, Oid *owner)
{
	Oid			second;
	bool		found = tc_activity_find(queue_key, key, activity, owner, &second);

	if (OidIsValid(second))
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
				 errmsg("key \"%s\" has been recorded by several roles", key),
				 errdetail("Roles \"%s\" and \"%s\" have recorded an activity under it, and you have the privileges of both.",
						   GetUserNameFromId(*owner, false), GetUserNameFromId(second, false)),
				 errhint("Use SET ROLE to become the role whose activity is meant.")));
	return found;
}
