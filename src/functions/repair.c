/*-------------------------------------------------------------------------
 *
 * repair.c
 *	  SQL functions that retry, discard or acknowledge requests.
 *
 * Who has the rights of the role that made a request may do so; others do
 * not even learn whether there is one.  The tables belong to the owner of the
 * extension, as whom the statements here run: they must name everything by
 * its schema, and check the caller's rights themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "functions/repair.h"
#include "outbox/outbox.h"
#include "process/discards.h"
#include "process/in_flight.h"
#include "process/wake_bits.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"
#include "server/delivery.h"
#include "server/server.h"

static const char retry_one[] = RETRY_FINISHED("r.id = $2");

/* One that was suppressed was never sent, so it becomes one that is made now. */
static const char release_suppressed[] =
"WITH released AS ("
" UPDATE temporal_internal.outbox o"
"    SET queue = temporal_internal.queue_number(q.server_oid, q.given_namespace, q.role),"
"        xid = pg_current_xact_id(), written_by = temporal_internal.writing_transaction(),"
"        maybe_sent = o.maybe_sent OR o.written_by <> o.xmin,"
"        decisions = temporal_internal.add_decision(o.decisions, 'retried')"
"   FROM temporal_internal.queue_here q"
"  WHERE o.id = $2 AND o.queue < 0 AND q.number = o.queue AND q.made_here"
"    AND pg_has_role($1, q.role, 'USAGE') AND has_server_privilege(q.role, q.server_oid, 'USAGE')"
" RETURNING o.id, o.queue, o.key, o.recorded_activity, o.awaited_until, o.expires_at),"
" awaited AS (" NOTE_KEY_WAITS("released", "m.expires_at") ")"
" SELECT r.queue, 1::bigint FROM released r";

static const char find_waiting[] =
"SELECT FROM temporal_internal.outbox o WHERE o.id = $2 AND " OF_CALLER("o");

/* Its row stays where it is, and its turn among those for its activity, too. */
static const char retry_waiting[] =
"WITH waiting AS ("
" UPDATE temporal_internal.outbox o"
"    SET next_attempt_at = NULL, decisions = temporal_internal.add_decision(o.decisions, 'retried'),"
/* it is written anew, but may have been put back before */
"        maybe_sent = o.maybe_sent OR o.written_by <> o.xmin, written_by = temporal_internal.writing_transaction()"
"   FROM temporal_internal.queue_here q"
"  WHERE o.id = $2 AND o.queue > 0 AND q.number = o.queue AND pg_has_role($1, q.role, 'USAGE')"
" RETURNING o.id)"
" INSERT INTO temporal_internal.recheck SELECT w.id FROM waiting w";

/* The worker need not be told of one that it cannot see yet. */
static const char expire_one[] =
"WITH waiting AS ("
" UPDATE temporal_internal.outbox o"
"    SET expires_at = $4, maybe_sent = o.maybe_sent OR o.written_by <> o.xmin,"
"        written_by = temporal_internal.writing_transaction()"
"  WHERE o.id = $2 AND " OF_CALLER("o")
" RETURNING o.id, o.queue, o.xid, o.key, o.recorded_activity, o.awaited_until),"
/* where it waits for its key the worker must not find the row that it knows changed */
" awaited AS (" NOTE_KEY_WAITS("waiting", "$4") " AND $4 IS NOT NULL),"
" rechecked AS (INSERT INTO temporal_internal.recheck SELECT w.id FROM waiting w"
"     WHERE w.queue > 0 AND w.xid <> pg_current_xact_id())"
" SELECT FROM waiting";

/* The bytes of a damaged request cannot be looked at. */
#define DISCARD_WAITING(condition) \
	"WITH gone AS (" \
	" DELETE FROM temporal_internal.outbox o WHERE " condition \
	" RETURNING o.*)," \
	" rechecked AS (INSERT INTO temporal_internal.recheck SELECT g.id FROM gone g WHERE g.queue > 0)," \
	" ended AS (" \
	" INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment," \
	"     confirmed, workflow_id, run_id, activity_id, error_code, error_message, decisions, key)" \
	" SELECT g.id, g.requested_at, clock_timestamp(), g.queue, COALESCE(g.attempts, 0), g.method," \
	"     (SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1)," \
	"     false, t.workflow_id, t.run_id, t.activity_id, 'DISCARDED'," \
	"     CASE WHEN g.maybe_sent OR g.attempts > 0 THEN 'it was discarded after it may have been sent'" \
	"          ELSE 'it was discarded' END," \
	"     temporal_internal.add_decision(g.decisions, 'discarded'), g.key" \
	"   FROM gone g CROSS JOIN LATERAL temporal_internal.request_target(g.method," \
	"     CASE WHEN g.error_code IS DISTINCT FROM 'DATA_CORRUPTED' THEN g.request END) t" \
	" RETURNING queue)" \
	COUNT_ENDED

static const char discard_one[] =
DISCARD_WAITING("o.id = $2 AND " OF_CALLER("o"));

static const char discard_many[] =
DISCARD_WAITING("($2 IS NULL OR EXISTS (SELECT FROM temporal_internal.queue_here q"
				"   WHERE q.number = o.queue AND q.server = $2))"
				" AND ($4 IS NULL OR EXISTS (SELECT FROM temporal_internal.queue_here q"
				"   WHERE q.number = o.queue AND q.requested_by = $4))"
				" AND " OF_CALLER("o")
				" AND o.id NOT IN (SELECT temporal_internal.in_flight_requests())");

static const char discard_finished[] = DISCARD_FINISHED("r.id = $2 AND " OF_CALLER("r"));

static const char acknowledge_one[] = ACKNOWLEDGE("r.id = $2 AND " OF_CALLER("r"));

static uint64 run_for_request(const char *query, int64 id, ResultRow take, void *arg);
static void no_such_request(int64 id);

PG_FUNCTION_INFO_V1(tc_retry_request);
PG_FUNCTION_INFO_V1(tc_expire_request);
PG_FUNCTION_INFO_V1(tc_discard_request);
PG_FUNCTION_INFO_V1(tc_discard_requests);
PG_FUNCTION_INFO_V1(tc_acknowledge_request);
PG_FUNCTION_INFO_V1(tc_warn_not_adopted);
PG_FUNCTION_INFO_V1(tc_required_server);

PG_FUNCTION_INFO_V1(tc_prevent_read_only);

/* SQL: retry_request(id bigint) returns void */
Datum
tc_retry_request(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	uint64		count = 0;

	tc_repair_prevent_read_only("retry_request()");
	tc_repair_require_delivery();
	(void) run_for_request(retry_one, id, tc_repair_wake_queue, &count);
	if (count == 0)
		(void) run_for_request(release_suppressed, id, tc_repair_wake_queue, &count);
	if (count == 0)
	{
		if (run_for_request(retry_waiting, id, NULL, NULL) == 0)
			no_such_request(id);
		tc_wake_at_commit(TC_WAKE_RECHECK);
	}
	tc_warn_if_nothing_is_sent();
	PG_RETURN_VOID();
}

/* SQL: expire_request(id bigint, expires_at timestamptz) returns void */
Datum
tc_expire_request(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, INT8OID, BOOLOID, TIMESTAMPTZOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(0),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner())), PG_GETARG_DATUM(1)
	};
	char		nulls[] = {' ', ' ', ' ', PG_ARGISNULL(1) ? 'n' : ' ', '\0'};

	tc_repair_prevent_read_only("expire_request()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("request id must not be null")));
	if (!PG_ARGISNULL(1) && PG_GETARG_TIMESTAMPTZ(1) <= GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_at must be in the future"),
				 errhint("Give the request up at once with temporal.discard_request().")));
	if (tc_run_as_owner(expire_one, lengthof(types), types, values, nulls, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no request %lld that waits", (long long) PG_GETARG_INT64(0)),
				 errdetail("Only requests of roles whose rights you have can be given a time.")));
	tc_wake_at_commit(TC_WAKE_RECHECK);
	PG_RETURN_VOID();
}

/*
 * SQL: discard_request(id bigint) returns void
 *
 * The worker may have the request in memory, about to send it; that is why
 * its end is not known.
 */
Datum
tc_discard_request(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	uint64		discarded = 0;
	int			count;
	int64	   *in_flight;

	tc_repair_prevent_read_only("discard_request()");
	if (run_for_request(find_waiting, id, NULL, NULL) > 0)
	{
		in_flight = tc_in_flight_ids(tc_slot_of(MyDatabaseId), &count);
		for (int i = 0; i < count; i++)
			if (in_flight[i] == id)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_IN_USE),
						 errmsg("request %lld is being sent", (long long) id),
						 errhint("Wait for its outcome with temporal.wait_for_request().")));
	}
	if (run_for_request(discard_one, id, tc_repair_count_discarded, &discarded) > 0)
		tc_wake_at_commit(TC_WAKE_RECHECK); /* others may wait behind it */
	else if (run_for_request(discard_finished, id, tc_repair_count_discarded, &discarded) == 0)
		no_such_request(id);
	PG_RETURN_VOID();
}

/*
 * SQL: discard_requests(server text, requested_by text) returns bigint
 *
 * What is in flight is passed over: it ends by itself.
 */
Datum
tc_discard_requests(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, TEXTOID, BOOLOID, TEXTOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(0),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner())), PG_GETARG_DATUM(1)
	};
	char		nulls[] = {' ', PG_ARGISNULL(0) ? 'n' : ' ', ' ', PG_ARGISNULL(1) ? 'n' : ' ', '\0'};
	uint64		count = 0;

	tc_repair_prevent_read_only("discard_requests()");
	(void) tc_run_as_owner(discard_many, 4, types, values, nulls, tc_repair_count_discarded, &count);
	if (count > 0)
		tc_wake_at_commit(TC_WAKE_RECHECK); /* others may wait behind them */
	PG_RETURN_INT64((int64) count);
}

/* SQL: acknowledge_request(id bigint) returns void */
Datum
tc_acknowledge_request(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);

	tc_repair_prevent_read_only("acknowledge_request()");
	if (run_for_request(acknowledge_one, id, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no request %lld that is unconfirmed and waits for a decision", (long long) id),
				 errdetail("Only requests of roles whose rights you have can be acknowledged.")));
	PG_RETURN_VOID();
}

/* SQL: prevent_read_only(command text) returns void */
Datum
tc_prevent_read_only(PG_FUNCTION_ARGS)
{
	tc_repair_prevent_read_only(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* An error that names what the caller called, not what it is made of. */
void
tc_repair_prevent_read_only(const char *command)
{
	PreventCommandDuringRecovery(command);
	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
}

/* Who has said that nothing is to be sent does not mean that. */
void
tc_repair_require_delivery(void)
{
	if (!tc_delivery_is_on())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot send a request again while temporal_complete.delivery is off"),
				 errhint("Run SET temporal_complete.delivery = on.")));
}

/* SQL: warn_not_adopted(requests bigint, missing text) returns void */
Datum
tc_warn_not_adopted(PG_FUNCTION_ARGS)
{
	int64		requests = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);

	if (requests > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg_plural("%lld request stays held", "%lld requests stay held",
							   requests, (long long) requests),
				 PG_ARGISNULL(1) ? 0 :
				 errdetail("What they were made with is not here: %s.",
						   text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 errhint("Create what is missing and call temporal.adopt() again, or give them up with temporal.discard_requests().")));
	PG_RETURN_VOID();
}

/* SQL: required_server(name text) returns oid */
Datum
tc_required_server(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			server = tc_server_of_name(name);

	if (!OidIsValid(server))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist, or is not a server of Temporal", name),
				 errhint("Create it, or name another one.")));
	PG_RETURN_OID(server);
}

static void
no_such_request(int64 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("there is no request %lld that waits, was rejected or is unconfirmed", (long long) id),
			 errdetail("Only requests of roles whose rights you have can be retried or discarded, and those of servers that the role may use can be retried.")));
}

/* Run a query about a request, see OF_CALLER. */
static uint64
run_for_request(const char *query, int64 id, ResultRow take, void *arg)
{
	Oid			types[] = {OIDOID, INT8OID, BOOLOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()), Int64GetDatum(id),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner()))
	};

	return tc_run_as_owner(query, 3, types, values, NULL, take, arg);
}

/* A row of RETRY_FINISHED; arg counts the requests. */
void
tc_repair_wake_queue(HeapTuple tuple, TupleDesc desc, void *arg)
{
	bool		isnull;

	tc_wake_at_commit(DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull)));
	*(uint64 *) arg += DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
}

void
tc_repair_count_discarded(HeapTuple tuple, TupleDesc desc, void *arg)
{
	Datum		values[4];
	bool		nulls[4];

	heap_deform_tuple(tuple, desc, values, nulls);
	*(uint64 *) arg += DatumGetInt64(values[0]);
	/* of a role or server that is gone there are no statistics */
	if (!nulls[1] && !nulls[2] && !nulls[3])
		tc_count_discards_at_commit(DatumGetObjectId(values[1]), DatumGetObjectId(values[2]),
									TextDatumGetCString(values[3]), DatumGetInt64(values[0]));
}
