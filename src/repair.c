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
#include "utils/acl.h"
#include "utils/builtins.h"

#include "outbox.h"
#include "server.h"
#include "wakeup.h"
#include "worker_slots.h"

/*
 * Requests that were rejected, or are unconfirmed, move back to the outbox as if
 * they were made now; those of which it is not known are looked up first.  What
 * they are sent with is new, so what they were sent with is noted.  $1 is the
 * caller, the others select.
 */
#define RETRY_REJECTED(condition) \
	"WITH gone AS (" \
	" DELETE FROM temporal.rejected r USING temporal.queue_here q" \
	"  WHERE q.number = r.queue AND pg_has_role($1, q.role, 'USAGE') AND " condition \
	" RETURNING r.*, q.server_oid, q.given_namespace, q.role, q.made_here," \
	"     q.system_identifier, q.database)" \
	" INSERT INTO temporal.outbox (id, xid, requested_at, queue, method, maybe_sent, request," \
	"     former_identities)" \
	" SELECT g.id, pg_current_xact_id(), now()," \
	"     temporal.queue_number(g.server_oid, g.given_namespace, g.role), g.method," \
	"     g.maybe_sent OR NOT g.made_here, g.request," \
	"     temporal.add_identity(g.former_identities, g.id, g.system_identifier, g.database, g.xid," \
	"         g.requested_at)" \
	"   FROM gone g"

/* Who may no longer use a server may not retry there either. */
static const char retry_one[] =
RETRY_REJECTED("r.id = $2 AND has_server_privilege(q.role, q.server_oid, 'USAGE')");
static const char retry_many[] =
RETRY_REJECTED("NOT r.maybe_sent AND ($2 IS NULL OR q.server = $2) AND ($3 IS NULL OR r.error_code = $3)"
			   " AND has_server_privilege(q.role, q.server_oid, 'USAGE')");

static const char find_waiting[] =
"SELECT FROM temporal.outbox o JOIN temporal.queue_here q ON q.number = o.queue"
" WHERE o.id = $2 AND pg_has_role($1, q.role, 'USAGE')";

/* The bytes of a damaged request cannot be looked at. */
#define DISCARD_WAITING(condition) \
	"WITH gone AS (" \
	" DELETE FROM temporal.outbox o USING temporal.queue_here q" \
	"  WHERE q.number = o.queue AND " condition \
	" RETURNING o.*)" \
	" INSERT INTO temporal.delivery (id, requested_at, finished_at, queue, attempts, method, segment," \
	"     confirmed, workflow_id, run_id, activity_id, error_code, error_message)" \
	" SELECT g.id, g.requested_at, clock_timestamp(), g.queue, COALESCE(g.attempts, 0), g.method," \
	"     (SELECT segment FROM temporal.delivery_segment ORDER BY since DESC LIMIT 1)," \
	"     false, t.workflow_id, t.run_id, t.activity_id, 'DISCARDED'," \
	"     CASE WHEN g.maybe_sent OR g.attempts > 0 THEN 'it was discarded after it may have been sent'" \
	"          ELSE 'it was discarded' END" \
	"   FROM gone g CROSS JOIN LATERAL temporal.request_target(g.method," \
	"     CASE WHEN g.error_code IS DISTINCT FROM 'DATA_CORRUPTED' THEN g.request END) t"

static const char discard_one[] =
DISCARD_WAITING("o.id = $2 AND pg_has_role($1, q.role, 'USAGE')");

/* The owner of the extension gives up also what belongs to a role that is gone. */
static const char discard_many[] =
DISCARD_WAITING("($2 IS NULL OR q.server = $2) AND ($3 IS NULL OR q.requested_by = $3)"
				" AND ($4 OR pg_has_role($1, q.role, 'USAGE'))"
				" AND o.id NOT IN (SELECT temporal.in_flight_requests())");

static const char discard_rejected[] =
"DELETE FROM temporal.rejected r USING temporal.queue_here q"
" WHERE r.id = $2 AND q.number = r.queue AND pg_has_role($1, q.role, 'USAGE')";

static uint64 run_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls);
static uint64 run_for_request(const char *query, int64 id);
static void no_such_request(int64 id);

PG_FUNCTION_INFO_V1(tc_retry_request);
PG_FUNCTION_INFO_V1(tc_retry_rejected);
PG_FUNCTION_INFO_V1(tc_discard_request);
PG_FUNCTION_INFO_V1(tc_discard_requests);
PG_FUNCTION_INFO_V1(tc_warn_not_adopted);
PG_FUNCTION_INFO_V1(tc_required_server);

/* SQL: retry_request(id bigint) returns void */
Datum
tc_retry_request(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);

	if (run_for_request(retry_one, id) == 0 && run_for_request(find_waiting, id) == 0)
		no_such_request(id);
	tc_warn_if_nothing_is_sent();
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
		tc_warn_if_nothing_is_sent();
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
	if (run_for_request(discard_one, id) > 0)
		tc_wake_all_at_commit();	/* others may wait behind it */
	else if (run_for_request(discard_rejected, id) == 0)
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
	Oid			types[] = {OIDOID, TEXTOID, TEXTOID, BOOLOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner()))
	};
	char		nulls[] = {' ', PG_ARGISNULL(0) ? 'n' : ' ', PG_ARGISNULL(1) ? 'n' : ' ', ' ', '\0'};
	uint64		count = run_as_owner(discard_many, 4, types, values, nulls);

	if (count > 0)
		tc_wake_all_at_commit();	/* others may wait behind them */
	PG_RETURN_INT64((int64) count);
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
	/* the statements here name them */
	static const char *const named[] = {"outbox", "rejected", "queue", "queue_here", "delivery", "delivery_segment"};
	OwnerScope	scope;
	uint64		count;

	tc_require_names(named, lengthof(named));

	tc_owner_enter(&scope);
	SPI_connect();
	if (SPI_execute_with_args(query, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run a statement on temporal.outbox");
	count = SPI_processed;
	SPI_finish();
	tc_owner_leave(&scope);
	return count;
}
