/*-------------------------------------------------------------------------
 *
 * repair_many.c
 *	  SQL functions that decide about many requests at once.
 *
 * All take the same conditions, and with dry_run they count and do nothing
 * else.  Who may is in repair.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "functions/repair.h"
#include "process/wakeup.h"
#include "server/server.h"
#include "wire/classify.h"

/*
 * $1 and $3 as in repair.h; then server, code, workflow, and the time at which
 * the outcome was known, from one to before another.
 */
#define SELECTED(request) \
	"($2 IS NULL OR EXISTS (SELECT FROM temporal_internal.queue_here s WHERE s.number = " request ".queue AND s.server = $2))" \
	" AND ($4 IS NULL OR " request ".error_code = $4)" \
	" AND ($5 IS NULL OR (temporal_internal.request_target(" request ".method, " request ".request)).workflow_id = $5)" \
	" AND ($6 IS NULL OR " request ".finished_at >= $6)" \
	" AND ($7 IS NULL OR " request ".finished_at < $7)"

#define COUNT(condition) \
	"SELECT count(*) FROM temporal_internal.rejected r WHERE " condition

/* Not what is unconfirmed: that may be done already, somebody has to look at each. */
#define REJECTED "NOT r.maybe_sent AND " SELECTED("r")
#define UNCONFIRMED "r.maybe_sent AND " SELECTED("r")

/* Those that RETRY_FINISHED would take */
#define MAY_BE_RETRIED \
	"EXISTS (SELECT FROM temporal_internal.queue_here q WHERE q.number = r.queue AND pg_has_role($1, q.role, 'USAGE')" \
	" AND has_server_privilege(q.role, q.server_oid, 'USAGE'))"

static const char retry_rejected[] = RETRY_FINISHED(REJECTED);
static const char count_retried[] = COUNT(MAY_BE_RETRIED " AND " REJECTED);
static const char discard_rejected[] = DISCARD_FINISHED(OF_CALLER("r") " AND " REJECTED);
static const char count_discarded[] = COUNT(OF_CALLER("r") " AND " REJECTED);
static const char acknowledge[] = ACKNOWLEDGE(OF_CALLER("r") " AND " SELECTED("r"));
static const char count_acknowledged[] = COUNT(OF_CALLER("r") " AND " UNCONFIRMED);

/* It is looked at for all segments; who may is as elsewhere.  What became of keys goes along, uncounted. */
static const char purge[] =
"WITH ended AS (DELETE FROM temporal_internal.ended_activity e WHERE e.ended_at < $2 AND " OF_CALLER("e") "),"
" last AS (DELETE FROM temporal_internal.last_heartbeat l WHERE l.finished_at < $2 AND " OF_CALLER("l") " RETURNING l.id),"
" others AS (DELETE FROM temporal_internal.delivery d WHERE d.finished_at < $2 AND " OF_CALLER("d") " RETURNING d.id)"
" SELECT count(*) FROM (SELECT FROM last UNION ALL SELECT FROM others) o";

static uint64 run_selected(FunctionCallInfo fcinfo, const char *query, ResultRow take, void *arg);
static void take_count(HeapTuple tuple, TupleDesc desc, void *arg);
static bool is_dry_run(FunctionCallInfo fcinfo);
static void check_selection(FunctionCallInfo fcinfo, const char *further_code);

PG_FUNCTION_INFO_V1(tc_retry_rejected);
PG_FUNCTION_INFO_V1(tc_discard_rejected);
PG_FUNCTION_INFO_V1(tc_acknowledge_unconfirmed);
PG_FUNCTION_INFO_V1(tc_purge);

/* Arguments of all but purge() */
enum
{
	ARG_SERVER,
	ARG_ERROR_CODE,
	ARG_WORKFLOW_ID,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_DRY_RUN
};

/* SQL: retry_rejected(server, error_code, workflow_id, since, until, dry_run) returns bigint */
Datum
tc_retry_rejected(PG_FUNCTION_ARGS)
{
	uint64		count = 0;

	if (is_dry_run(fcinfo))
		(void) run_selected(fcinfo, count_retried, take_count, &count);
	else
	{
		tc_repair_prevent_read_only("retry_rejected()");
		tc_repair_require_delivery();
		(void) run_selected(fcinfo, retry_rejected, tc_repair_wake_queue, &count);
		if (count > 0)
			tc_warn_if_nothing_is_sent();
	}
	if (count == 0)
		check_selection(fcinfo, NULL);
	PG_RETURN_INT64((int64) count);
}

/* SQL: discard_rejected(server, error_code, workflow_id, since, until, dry_run) returns bigint */
Datum
tc_discard_rejected(PG_FUNCTION_ARGS)
{
	uint64		count = 0;

	if (is_dry_run(fcinfo))
		(void) run_selected(fcinfo, count_discarded, take_count, &count);
	else
	{
		tc_repair_prevent_read_only("discard_rejected()");
		(void) run_selected(fcinfo, discard_rejected, tc_repair_count_discarded, &count);
	}
	if (count == 0)
		check_selection(fcinfo, NULL);
	PG_RETURN_INT64((int64) count);
}

/* SQL: acknowledge_unconfirmed(server, error_code, workflow_id, since, until, dry_run) returns bigint */
Datum
tc_acknowledge_unconfirmed(PG_FUNCTION_ARGS)
{
	uint64		count = 0;

	if (is_dry_run(fcinfo))
		(void) run_selected(fcinfo, count_acknowledged, take_count, &count);
	else
	{
		tc_repair_prevent_read_only("acknowledge_unconfirmed()");
		count = run_selected(fcinfo, acknowledge, NULL, NULL);
	}
	if (count == 0)
		check_selection(fcinfo, "NO_ANSWER");
	PG_RETURN_INT64((int64) count);
}

/* SQL: purge(older_than interval) returns bigint */
Datum
tc_purge(PG_FUNCTION_ARGS)
{
	Interval   *older_than = PG_GETARG_INTERVAL_P(0);
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz before = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
																 TimestampTzGetDatum(now),
																 IntervalPGetDatum(older_than)));
	Oid			types[] = {OIDOID, TIMESTAMPTZOID, BOOLOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()), TimestampTzGetDatum(before),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner()))
	};
	uint64		count = 0;

	tc_repair_prevent_read_only("purge()");
	if (before > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative"),
				 errhint("Pass 0 to purge all outcomes.")));
	(void) tc_run_as_owner(purge, lengthof(types), types, values, NULL, take_count, &count);
	PG_RETURN_INT64((int64) count);
}

static uint64
run_selected(FunctionCallInfo fcinfo, const char *query, ResultRow take, void *arg)
{
	Oid			types[] = {OIDOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()), PG_GETARG_DATUM(ARG_SERVER),
		BoolGetDatum(has_privs_of_role(GetUserId(), tc_extension_owner())),
		PG_GETARG_DATUM(ARG_ERROR_CODE), PG_GETARG_DATUM(ARG_WORKFLOW_ID),
		PG_GETARG_DATUM(ARG_SINCE), PG_GETARG_DATUM(ARG_UNTIL)
	};
	char		nulls[] = {
		' ', PG_ARGISNULL(ARG_SERVER) ? 'n' : ' ', ' ',
		PG_ARGISNULL(ARG_ERROR_CODE) ? 'n' : ' ', PG_ARGISNULL(ARG_WORKFLOW_ID) ? 'n' : ' ',
		PG_ARGISNULL(ARG_SINCE) ? 'n' : ' ', PG_ARGISNULL(ARG_UNTIL) ? 'n' : ' ', '\0'
	};

	return take == take_count ?
		tc_read_as_owner(query, lengthof(types), types, values, nulls, take, arg) :
		tc_run_as_owner(query, lengthof(types), types, values, nulls, take, arg);
}

static void
take_count(HeapTuple tuple, TupleDesc desc, void *arg)
{
	bool		isnull;

	*(uint64 *) arg = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
}

static bool
is_dry_run(FunctionCallInfo fcinfo)
{
	return !PG_ARGISNULL(ARG_DRY_RUN) && PG_GETARG_BOOL(ARG_DRY_RUN);
}

/* Nothing was found: could there be something?  A code that is none of a rejected request may be allowed. */
static void
check_selection(FunctionCallInfo fcinfo, const char *further_code)
{
	if (!PG_ARGISNULL(ARG_ERROR_CODE))
	{
		char	   *code = text_to_cstring(PG_GETARG_TEXT_PP(ARG_ERROR_CODE));

		if (!tc_is_rejection_code(code) && (further_code == NULL || strcmp(code, further_code) != 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("no request is %s with error code \"%s\"",
							further_code == NULL ? "rejected" : "unconfirmed", code),
					 further_code == NULL ?
					 errhint("Codes of rejected requests are %s.", tc_rejection_codes()) :
					 errhint("Codes of such requests are %s, and %s.", further_code, tc_rejection_codes())));
	}
	if (!PG_ARGISNULL(ARG_SERVER))
	{
		char	   *server = text_to_cstring(PG_GETARG_TEXT_PP(ARG_SERVER));

		if (!OidIsValid(tc_server_of_name(server)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("server \"%s\" does not exist, or is not a server of Temporal", server),
					 errdetail("No request that was rejected, or is unconfirmed, has gone to one that had this name either.")));
	}
}
