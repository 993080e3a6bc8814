/*-------------------------------------------------------------------------
 *
 * redirect.c
 *	  SQL function redirect_request(): a request goes to another server or
 *	  namespace than it was made for, because that was a mistake.
 *
 * There it is another request, with an id of its own: the worker may have the
 * first one in memory, and what it knows of it must not change under its
 * hands.  The first one ends, and each names the other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "functions/repair.h"
#include "outbox/outbox.h"
#include "process/in_flight.h"
#include "process/wake_bits.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"
#include "server/server.h"

/*
 * $1 the caller, $2 the id, $3 the server, $4 the namespace, $5 the id of the
 * new request.  What is held elsewhere is adopted first.
 */
#define MAY_BE_REDIRECTED(request) \
	"q.number = " request ".queue AND " request ".id = $2 AND pg_has_role($1, q.role, 'USAGE')" \
	" AND has_server_privilege(q.role, $3, 'USAGE')"

static const char redirect[] =
"WITH waiting AS ("
" DELETE FROM temporal_internal.outbox o USING temporal_internal.queue_here q"
"  WHERE " MAY_BE_REDIRECTED("o") " AND q.made_here"
" RETURNING o.*, o.xmin AS stored_by, q.role, q.made_here, q.system_identifier, q.database),"
" finished AS ("
" DELETE FROM temporal_internal.rejected r USING temporal_internal.queue_here q"
"  WHERE " MAY_BE_REDIRECTED("r")
" RETURNING r.*, r.xmin AS stored_by, q.role, q.made_here, q.system_identifier, q.database),"
" gone AS ("
" SELECT w.id, w.requested_at, clock_timestamp() AS finished_at, w.queue, w.attempts, w.method, w.request,"
"     w.maybe_sent OR (w.queue > 0 AND (w.key IS NULL OR w.recorded_activity IS NOT NULL)) AS maybe_sent,"
"     'REDIRECTED' AS error_code, NULL::boolean AS rejected,"
"     concat('it was sent elsewhere', CASE WHEN w.maybe_sent OR w.attempts > 0 THEN ' after it may have been sent' END,"
"         ', as request ', $5) AS error_message,"
"     w.decisions, w.former_identities, w.xid, w.written_by, w.stored_by, w.role, w.made_here, w.system_identifier, w.database,"
"     w.key, w.recorded_in, w.recorded_activity, w.awaited_until, w.expires_at"
"   FROM waiting w"
" UNION ALL"
" SELECT f.id, f.requested_at, f.finished_at, f.queue, f.attempts, f.method, f.request, f.maybe_sent,"
"     f.error_code, CASE WHEN NOT f.maybe_sent THEN true END,"
"     f.error_message,"
"     f.decisions, f.former_identities, f.xid, f.written_by, f.stored_by, f.role, f.made_here, f.system_identifier, f.database,"
"     f.key, f.recorded_in, f.recorded_activity, f.awaited_until, NULL"
"   FROM finished f),"
" rechecked AS (INSERT INTO temporal_internal.recheck SELECT w.id FROM waiting w WHERE w.queue > 0),"
" ended AS ("
" INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment,"
"     confirmed, workflow_id, run_id, activity_id, error_code, error_message, rejected, decisions, key)"
" SELECT g.id, g.requested_at, g.finished_at, g.queue, COALESCE(g.attempts, 0), g.method,"
"     (SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1),"
"     false, t.workflow_id, t.run_id, t.activity_id, g.error_code, g.error_message, g.rejected,"
"     temporal_internal.add_decision(g.decisions, concat('redirected as ', $5)), g.key"
"   FROM gone g CROSS JOIN LATERAL temporal_internal.request_target(g.method, g.request) t),"
" made AS ("
" INSERT INTO temporal_internal.outbox (id, xid, requested_at, queue, written_by, method, maybe_sent, request,"
"     former_identities, decisions, key, recorded_in, recorded_activity, awaited_until, expires_at)"
" SELECT $5, pg_current_xact_id(), now(), temporal_internal.queue_number($3, $4, g.role),"
"     temporal_internal.writing_transaction(), g.method,"
/* the worker may be about to send one that waits */
"     g.maybe_sent OR NOT g.made_here OR g.written_by <> g.stored_by, g.request,"
"     temporal_internal.add_identity(g.former_identities, g.id, g.system_identifier, g.database, g.xid, g.requested_at),"
"     temporal_internal.add_decision(g.decisions, concat('redirected from ', g.id)), g.key, g.recorded_in, g.recorded_activity,"
"     now() + (g.awaited_until - g.requested_at), g.expires_at"
"   FROM gone g"
" RETURNING id, queue, key, recorded_activity, awaited_until, expires_at),"
" awaited AS (" NOTE_KEY_WAITS("made", "m.expires_at") ")"
" SELECT m.queue, 1::bigint FROM made m";

PG_FUNCTION_INFO_V1(tc_redirect_request);

/* SQL: redirect_request(id bigint, server text, namespace text) returns bigint */
Datum
tc_redirect_request(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, INT8OID, OIDOID, TEXTOID, INT8OID};
	Datum		values[5];
	char		nulls[] = {' ', ' ', ' ', PG_ARGISNULL(2) ? 'n' : ' ', ' ', '\0'};
	char	   *server = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *namespace_name = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	uint64		count = 0;
	int			nin_flight;
	int64	   *in_flight;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("request id must not be null")));
	tc_repair_prevent_read_only("redirect_request()");
	tc_repair_require_delivery();

	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = PG_GETARG_DATUM(0);
	values[2] = ObjectIdGetDatum(tc_server_for_caller(server, namespace_name).serverid);
	values[3] = PG_GETARG_DATUM(2);
	values[4] = Int64GetDatum(tc_outbox_next_id());

	(void) tc_run_as_owner(redirect, lengthof(types), types, values, nulls, tc_repair_wake_queue, &count);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no request %lld that waits, was rejected or is unconfirmed", (long long) PG_GETARG_INT64(0)),
				 errdetail("Only requests of roles whose rights you have, and which may use the server, can be redirected.")));

	/* only now: whether others have such a request is not told */
	in_flight = tc_in_flight_ids(tc_slot_of(MyDatabaseId), &nin_flight);
	for (int i = 0; i < nin_flight; i++)
		if (in_flight[i] == PG_GETARG_INT64(0))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("request %lld is being sent", (long long) PG_GETARG_INT64(0)),
					 errhint("Wait for its outcome with temporal.wait_for_request().")));
	tc_wake_at_commit(TC_WAKE_RECHECK); /* others may wait behind it */
	tc_warn_if_nothing_is_sent();
	PG_RETURN_INT64(DatumGetInt64(values[4]));
}
