/*-------------------------------------------------------------------------
 *
 * repair.c
 *	  SQL functions that retry or discard requests.
 *
 * Who has the rights of the role that made a request may do so; others do
 * not even learn whether there is one.  The tables belong to the owner of the
 * extension, as whom the statements here run: they must name everything by
 * its schema, and check the caller's rights themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "outbox.h"
#include "wakeup.h"
#include "worker_slots.h"

/*
 * Rejected requests move back to the outbox as if they were made now; what
 * they are sent with is new, so what they were sent with is noted.  $1 is the
 * caller, the others select.
 */
#define RETRY_REJECTED(condition) \
	"WITH gone AS (" \
	" DELETE FROM temporal.rejected r USING temporal.queue q" \
	"  WHERE q.number = r.queue AND pg_has_role($1, q.requested_by, 'USAGE') AND " condition \
	" RETURNING r.*, q.server, q.namespace, q.requested_by, q.system_identifier, q.database)" \
	" INSERT INTO temporal.outbox (id, xid, requested_at, queue, method, maybe_sent, request," \
	"     former_identities)" \
	" SELECT g.id, pg_current_xact_id(), now()," \
	"     temporal.queue_number(g.server, g.namespace, g.requested_by::oid), g.method," \
	"     NOT temporal.made_here(g.system_identifier, g.database), g.request," \
	"     temporal.add_identity(g.former_identities, g.id, g.system_identifier, g.database, g.xid," \
	"         g.requested_at)" \
	"   FROM gone g"

/* Who may no longer use a server may not retry there either. */
static const char retry_one[] =
RETRY_REJECTED("r.id = $2 AND has_server_privilege(q.requested_by, q.server, 'USAGE')");
static const char retry_many[] =
RETRY_REJECTED("($2 IS NULL OR q.server = $2) AND ($3 IS NULL OR r.error_code = $3)"
			   " AND q.server IN (SELECT f.srvname FROM pg_foreign_server f"
			   "  WHERE has_server_privilege(q.requested_by, f.oid, 'USAGE'))");

static const char find_waiting[] =
"SELECT FROM temporal.outbox o JOIN temporal.queue q ON q.number = o.queue"
" WHERE o.id = $2 AND pg_has_role($1, q.requested_by, 'USAGE')";

/* The bytes of a damaged request cannot be looked at. */
static const char discard_waiting[] =
"WITH gone AS ("
" DELETE FROM temporal.outbox o USING temporal.queue q"
"  WHERE o.id = $2 AND q.number = o.queue AND pg_has_role($1, q.requested_by, 'USAGE')"
" RETURNING o.*)"
" INSERT INTO temporal.delivery (id, requested_at, finished_at, queue, attempts, method, segment,"
"     confirmed, workflow_id, run_id, activity_id, error_code, error_message)"
" SELECT g.id, g.requested_at, clock_timestamp(), g.queue, COALESCE(g.attempts, 0), g.method,"
"     (SELECT segment FROM temporal.delivery_segment ORDER BY since DESC LIMIT 1),"
"     false, t.workflow_id, t.run_id, t.activity_id, 'DISCARDED',"
"     CASE WHEN g.maybe_sent OR g.attempts > 0 THEN 'it was discarded after it may have been sent'"
"          ELSE 'it was discarded' END"
"   FROM gone g CROSS JOIN LATERAL temporal.request_target(g.method,"
"     CASE WHEN g.error_code IS DISTINCT FROM 'DATA_CORRUPTED' THEN g.request END) t";

static const char discard_rejected[] =
"DELETE FROM temporal.rejected r USING temporal.queue q"
" WHERE r.id = $2 AND q.number = r.queue AND pg_has_role($1, q.requested_by, 'USAGE')";

static uint64 run_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls);
static uint64 run_for_request(const char *query, int64 id);
static void no_such_request(int64 id) pg_attribute_noreturn();

PG_FUNCTION_INFO_V1(tc_retry_request);
PG_FUNCTION_INFO_V1(tc_retry_rejected);
PG_FUNCTION_INFO_V1(tc_discard_request);

/* SQL: retry_request(id bigint) returns void */
Datum
tc_retry_request(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);

	if (run_for_request(retry_one, id) == 0 && run_for_request(find_waiting, id) == 0)
		no_such_request(id);
	tc_warn_if_not_preloaded();
	tc_wake_all_at_commit();
	PG_RETURN_VOID();
}

/* SQL: retry_rejected(server text, error_code text) returns bigint */
Datum
tc_retry_rejected(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, TEXTOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	char		nulls[] = {' ', PG_ARGISNULL(0) ? 'n' : ' ', PG_ARGISNULL(1) ? 'n' : ' ', '\0'};
	uint64		count = run_as_owner(retry_many, 3, types, values, nulls);

	if (count > 0)
	{
		tc_warn_if_not_preloaded();
		tc_wake_all_at_commit();
	}
	PG_RETURN_INT64((int64) count);
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
	int			count;
	int64	   *in_flight;

	if (run_for_request(find_waiting, id) > 0)
	{
		in_flight = tc_in_flight_ids(&count);
		for (int i = 0; i < count; i++)
			if (in_flight[i] == id)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_IN_USE),
						 errmsg("request %lld is being sent", (long long) id),
						 errhint("Wait for its outcome with temporal.wait_for_request().")));
	}
	if (run_for_request(discard_waiting, id) > 0)
		tc_wake_all_at_commit();	/* others may wait behind it */
	else if (run_for_request(discard_rejected, id) == 0)
		no_such_request(id);
	PG_RETURN_VOID();
}

static void
no_such_request(int64 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("there is no request %lld that waits or was rejected", (long long) id),
			 errdetail("Only requests of roles whose rights you have can be retried or discarded.")));
}

/* Run a query about a request as the owner of the extension; $1 is the caller, $2 the id. */
static uint64
run_for_request(const char *query, int64 id)
{
	Oid			types[] = {OIDOID, INT8OID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId()), Int64GetDatum(id)};

	return run_as_owner(query, 2, types, values, NULL);
}

/* Returns the number of rows. */
static uint64
run_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	OwnerScope	scope;
	uint64		count;

	/* the statements here name them */
	(void) tc_required_relation_oid("outbox");
	(void) tc_required_relation_oid("rejected");
	(void) tc_required_relation_oid("queue");
	(void) tc_required_relation_oid("delivery");

	tc_owner_enter(&scope);
	SPI_connect();
	if (SPI_execute_with_args(query, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run a statement on temporal.outbox");
	count = SPI_processed;
	SPI_finish();
	tc_owner_leave(&scope);
	return count;
}
