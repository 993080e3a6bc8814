/*-------------------------------------------------------------------------
 *
 * recorded_activities.c
 *	  SQL functions that record activities under keys, and show them.
 *
 * A key belongs to the role that recorded it.  To record needs what asking for
 * something needs: USAGE on the foreign server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "base/extension.h"
#include "compat.h"
#include "functions/arguments.h"
#include "functions/keys.h"
#include "functions/owner_query.h"
#include "outbox/outbox.h"
#include "outbox/recorded_activity.h"
#include "process/session_life.h"
#include "process/wakeup.h"
#include "request/request.h"
#include "request/request_fields.h"
#include "server/server.h"

/* What is said of how it is recorded, from which argument on */
typedef struct RecordOptions
{
	bool		heartbeat;
	Interval   *interval;
	bool		while_session;
	TimestampTz expires_at;
} RecordOptions;

static Datum record(FunctionCallInfo fcinfo, const char *name, RequestMethod method,
					RequestArgs *args, int first_option);
static void check_options(const RecordOptions *options, bool has_details);

PG_FUNCTION_INFO_V1(tc_record_activity);
PG_FUNCTION_INFO_V1(tc_record_activity_by_id);
PG_FUNCTION_INFO_V1(tc_forget_activity);
PG_FUNCTION_INFO_V1(tc_visible_activities);
PG_FUNCTION_INFO_V1(tc_activity_history);
PG_FUNCTION_INFO_V1(tc_request_attempt);

/*
 * record_activity(key, task_token, heartbeat, heartbeat_interval, heartbeat_details,
 *		while_session, expires_at, server, namespace)
 */
Datum
tc_record_activity(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.task_token = ARG_BYTEA(1),
	};

	return record(fcinfo, "record_activity()", METHOD_HEARTBEAT, &args, 2);
}

/*
 * record_activity_by_id(key, workflow_id, activity_id, run_id, heartbeat,
 *		heartbeat_interval, heartbeat_details, while_session, expires_at, server, namespace)
 */
Datum
tc_record_activity_by_id(PG_FUNCTION_ARGS)
{
	RequestArgs args = {
		.workflow_id = ARG_TEXT(1),
		.activity_id = ARG_TEXT(2),
		.run_id = ARG_TEXT(3),
	};

	return record(fcinfo, "record_activity_by_id()", METHOD_HEARTBEAT_BY_ID, &args, 4);
}

static Datum
record(FunctionCallInfo fcinfo, const char *name, RequestMethod method, RequestArgs *args,
	   int first_option)
{
	RecordedActivity activity = {.method = method};
	RequestIdentity identity;
	RecordOptions options = {
		.heartbeat = ARG_BOOL(first_option),
		.interval = ARG_INTERVAL(first_option + 1),
		.while_session = ARG_BOOL(first_option + 3),
		.expires_at = PG_ARGISNULL(first_option + 4) ? DT_NOEND :
		PG_GETARG_TIMESTAMPTZ(first_option + 4),
	};
	QueueKey	queue_key;
	bool		replaced_heartbeats;

	tc_key_check(ARG_TEXT(0));
	args->value = ARG_PAYLOAD(first_option + 2);
	tc_request_check(method, args);
	check_options(&options, args->value != NULL);
	activity.key = ARG_CSTRING(0);
	queue_key = tc_caller_queue(name, ARG_CSTRING(ARG_SERVER), ARG_CSTRING(ARG_NAMESPACE));

	activity.xid = U64FromFullTransactionId(GetTopFullTransactionId());
	activity.queue = tc_queue_number(&queue_key);
	activity.id = tc_outbox_next_id();
	activity.recorded_at = GetCurrentTimestamp();
	identity.id = activity.id;
	identity.xid = activity.xid;
	identity.requested_at = activity.recorded_at;
	activity.heartbeat = tc_request_encode(method, args, &identity, &activity.len);
	activity.expires_at = options.expires_at;
	activity.heartbeats = options.heartbeat;
	activity.heartbeat_interval = options.interval;
	if (options.while_session)
		activity.session = tc_session_number();
	replaced_heartbeats = tc_activity_record(&activity, &queue_key);
	if (!queue_key.suppressed)
	{
		RecordedKey recorded = {
			.hash = tc_key_hash(activity.key, strlen(activity.key)),
			.queue = activity.queue,
			.role = queue_key.role
		};

		if (activity.heartbeats || replaced_heartbeats)
			tc_wake_at_commit(activity.queue);
		tc_tell_key_at_commit(&recorded);
		tc_warn_if_nothing_is_sent();
	}
	PG_RETURN_VOID();
}

static void
check_options(const RecordOptions *options, bool has_details)
{
	const char *needs_heartbeat = options->interval != NULL ? "heartbeat_interval" :
		has_details ? "heartbeat_details" :
		options->while_session ? "while_session" : NULL;

	if (!options->heartbeat && needs_heartbeat != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no meaning without heartbeats", needs_heartbeat),
				 errhint("Pass heartbeat => true as well.")));
	if (options->interval != NULL)
		tc_interval_check("heartbeat_interval", options->interval, true,
						  "It is the time from one heartbeat to the next.",
						  "Pass NULL to have it follow the heartbeat timeout of the activity.");
	if (options->expires_at <= GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_at must be in the future"),
				 errdetail("From then on the activity counts as forgotten."),
				 errhint("Pass NULL if it is not to expire.")));
}

/* forget_activity(key, server, namespace) */
Datum
tc_forget_activity(PG_FUNCTION_ARGS)
{
	RecordedActivity activity;
	QueueKey	queue_key;
	Oid			owner;
	char	   *key;
	bool		forgotten = false;

	tc_key_check(ARG_TEXT(0));
	key = ARG_CSTRING(0);
	queue_key = tc_caller_queue("forget_activity()", ARG_CSTRING(ARG_SERVER),
								ARG_CSTRING(ARG_NAMESPACE));
	if (tc_key_find(&queue_key, key, &activity, &owner))
	{
		queue_key.role = owner;
		forgotten = tc_activity_forget(&queue_key, key);
		if (activity.heartbeats && !queue_key.suppressed)
			tc_wake_at_commit(activity.queue);
	}
	PG_RETURN_BOOL(forgotten);
}

/*
 * SQL: visible_activities() returns setof record
 *
 * What recorded activities the caller may see.  A function, so that nothing of
 * a reader's query is evaluated on rows that he may not see, or counts them.
 */
Datum
tc_visible_activities(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, BOOLOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()),
		/* of a role that was dropped nobody has the privileges */
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner()))
	};

	tc_return_as_owner(fcinfo,
					   "SELECT a.key, a.server, a.namespace, a.workflow_id, a.activity_id, a.run_id,"
					   "     a.attempt, a.recorded_at, a.recorded_by, a.state, a.heartbeat,"
					   "     a.heartbeat_interval, a.while_session, a.expires_at, a.cancel_requested,"
					   "     a.activity_paused, a.activity_reset, a.heartbeat_error, a.answered_at, a.id"
					   "  FROM temporal_internal.every_activity a"
					   " WHERE pg_has_role($1, a.role, 'USAGE') OR (a.role IS NULL AND $2)",
					   lengthof(types), types, values, NULL);
	return (Datum) 0;
}

/*
 * $1: who looks; $2: may see what is of dropped roles; $3: the key.  What is
 * recorded or has ended is found by queue and key; outcomes are all looked
 * through, and their keys only where they may be seen (OFFSET keeps that from
 * being turned round): so how long it takes does not tell of others' keys.  A recording of
 * which somebody else held the row while another one took its place is
 * replaced though it is there.  One may be replaced while its verdict is on its
 * way: then both are told.
 */
static const char history[] =
"WITH visible AS MATERIALIZED ("
"    SELECT q.number, q.made_here, q.role, q.server_oid, q.given_namespace, q.server, q.namespace, q.requested_by"
"      FROM temporal_internal.queue_here q"
"     WHERE pg_has_role($1, q.role, 'USAGE') OR (q.role IS NULL AND $2)),"
" outcome AS MATERIALIZED ("
"    SELECT d.*"
"      FROM (SELECT v.server, v.namespace, v.requested_by, d.id, d.finished_at, d.method, d.activity_id, d.workflow_id,"
"                   d.run_uuid, d.run_id, d.key, d.recorded_activity, d.recorded_at, d.recorded_attempt"
"              FROM temporal_internal.delivery d JOIN visible v ON v.number = COALESCE(d.recorded_in, d.queue)"
"             OFFSET 0) d"
"     WHERE d.key = $3 AND temporal_internal.method_verb(d.method) <> 'heartbeat')"
"SELECT h.* FROM ("
"    SELECT s.server, s.namespace, s.workflow_id, s.activity_id, s.run_id, s.attempt, s.recorded_at, s.requested_by,"
"           s.state, s.ended_at, NULL::bigint, NULL::text, s.error_code, s.id FROM ("
"    SELECT v.server, v.namespace, t.workflow_id, t.activity_id, t.run_id,"
"           temporal_internal.request_attempt(r.method, r.heartbeat) AS attempt, r.recorded_at, v.requested_by,"
"           CASE WHEN r.expires_at <= clock_timestamp() THEN 'expired'"
"                WHEN lead(r.id) OVER later IS NOT NULL THEN 'replaced'"
"                WHEN v.made_here IS NOT TRUE THEN 'held'"
"                WHEN r.queue < 0 THEN 'suppressed'"
"                ELSE 'recorded'"
"           END AS state,"
"           CASE WHEN r.expires_at <= clock_timestamp() THEN r.expires_at ELSE lead(r.recorded_at) OVER later END AS ended_at,"
"           a.error_code, r.id, r.expires_at"
"      FROM visible v"
"           JOIN temporal_internal.recorded_activity r ON r.queue = v.number AND r.key = $3"
"           LEFT JOIN temporal_internal.heartbeat_answer a ON a.id = r.id"
"           CROSS JOIN LATERAL temporal_internal.request_target(r.method, r.heartbeat) t"
"    WINDOW later AS (PARTITION BY v.role, v.server_oid, v.given_namespace,"
"                     CASE WHEN v.made_here IS NOT TRUE OR v.role IS NULL OR v.server_oid IS NULL OR r.queue < 0"
"                          THEN r.queue END ORDER BY r.id)) s"
/* what was finished may stay for a while, and replaces what was recorded before it, see recorded_activity.c */
"     WHERE s.expires_at IS DISTINCT FROM '-infinity'"
"    UNION ALL"
"    SELECT v.server, v.namespace, e.workflow_id, e.activity_id, e.run_id, e.attempt, e.recorded_at,"
"           v.requested_by, e.ended, e.ended_at, COALESCE(o.id, f.id, e.request),"
"           temporal_internal.method_verb(COALESCE(o.method, f.method)), e.heartbeat_error, e.id"
"      FROM visible v JOIN temporal_internal.ended_activity e ON e.queue = v.number AND e.key = $3"
"           LEFT JOIN outcome o ON o.id = e.request"
"           LEFT JOIN (SELECT DISTINCT ON (o.recorded_activity) o.recorded_activity, o.id, o.method"
"                        FROM outcome o ORDER BY o.recorded_activity, o.id) f"
"                  ON f.recorded_activity = e.id AND e.request IS NULL"
"    UNION ALL"
"    SELECT d.server, d.namespace, d.workflow_id, d.activity_id, COALESCE(d.run_uuid::text, d.run_id),"
"           d.recorded_attempt, d.recorded_at, d.requested_by, 'finished', d.finished_at, d.id,"
"           temporal_internal.method_verb(d.method), NULL, d.recorded_activity"
"      FROM outcome d"
"     WHERE d.recorded_at IS NOT NULL) h"
" ORDER BY 14";

/* SQL: activity_history(key) returns setof record */
Datum
tc_activity_history(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, BOOLOID, TEXTOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner())),
		PG_GETARG_DATUM(0)
	};

	tc_return_as_owner(fcinfo, history, lengthof(types), types, values, NULL);
	return (Datum) 0;
}

/* SQL: attempt of the activity that an encoded request names; NULL if it is not known */
Datum
tc_request_attempt(PG_FUNCTION_ARGS)
{
	int16		method = PG_GETARG_INT16(0);
	bytea	   *request = PG_GETARG_BYTEA_PP(1);
	RequestTarget target = {0};

	if (!tc_method_is_valid(method) ||
		!tc_request_decode(method, (const uint8 *) VARDATA_ANY(request),
						   VARSIZE_ANY_EXHDR(request), &target) ||
		target.attempt == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(target.attempt);
}
