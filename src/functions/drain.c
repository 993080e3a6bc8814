/*-------------------------------------------------------------------------
 *
 * drain.c
 *	  SQL function drain(): waits until all that was committed before has
 *	  ended.
 *
 * It is about the requests that the caller would see in temporal.request, but
 * for those that are never sent from here: held and suppressed ones.  What
 * was committed before is what the snapshot at its begin sees; what comes
 * later is not looked at, by the order of the index.  But a request that finds
 * the key for which it waits is written anew, by the worker: such requests are
 * known by their ids.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"

#include "base/extension.h"
#include "functions/outcome_wait.h"
#include "process/wakeup.h"

/* $1 the caller, $2 whether he sees all requests, $3 the snapshot, $4 ids of requests that waited then */
#define OF_CALLER \
	" FROM temporal_internal.queue_here q JOIN temporal_internal.outbox o ON o.queue = q.number" \
	" WHERE q.number > 0 AND q.made_here AND ($2 OR pg_has_role($1, q.role, 'USAGE'))"

static const char look_first[] =
"SELECT pg_current_snapshot()::text, EXISTS (SELECT" OF_CALLER " AND o.xid = pg_current_xact_id_if_assigned()),"
" ARRAY(SELECT o.id" OF_CALLER " AND o.awaited_until IS NOT NULL)";

static const char look[] =
"SELECT EXISTS (SELECT" OF_CALLER " AND o.xid < pg_snapshot_xmax($3::pg_snapshot)"
" AND pg_visible_in_snapshot(o.xid, $3::pg_snapshot))"
" OR EXISTS (SELECT FROM temporal_internal.outbox o WHERE o.id = ANY ($4))";

/* What was committed before */
typedef struct Before
{
	char	   *snapshot;
	Datum		awaiting;
} Before;

static bool is_drained(const Before *before);
static void begin_drain(Before *before);

PG_FUNCTION_INFO_V1(tc_drain);

/* SQL: drain(timeout interval) returns boolean */
Datum
tc_drain(PG_FUNCTION_ARGS)
{
	static const char *const named[] = {"outbox", "queue", "queue_here"};
	int64		timeout = -1;
	OutcomeWait wait;
	Before		before;
	bool		drained;

	if (!PG_ARGISNULL(0))
		timeout = tc_outcome_timeout_ms(PG_GETARG_INTERVAL_P(0), "drain()");
	tc_require_names(named, lengthof(named));
	SPI_connect();
	tc_outcome_wait_begin(&wait, timeout);
	begin_drain(&before);
	while (!(drained = is_drained(&before)))
	{
		if (wait.looks == 0)
			tc_warn_if_nothing_is_sent();
		if (!tc_outcome_wait(&wait))
			break;
	}
	tc_outcome_wait_end();
	SPI_finish();
	PG_RETURN_BOOL(drained);
}

/* Run a statement with a snapshot of now, whatever the isolation level is; its row is in SPI_tuptable. */
static void
run(const char *query, const Before *before)
{
	Oid			types[] = {OIDOID, BOOLOID, TEXTOID, INT8ARRAYOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()),
		BoolGetDatum(has_privs_of_role(GetUserId(), ROLE_PG_MONITOR)),
		before != NULL ? CStringGetTextDatum(before->snapshot) : (Datum) 0,
		before != NULL ? before->awaiting : (Datum) 0
	};
	char		given = before != NULL ? ' ' : 'n';
	char		nulls[] = {' ', ' ', given, given, '\0'};
	OwnerScope	scope;
	SPIPlanPtr	plan;

	tc_owner_enter(&scope);
	plan = SPI_prepare(query, lengthof(types), types);
	if (plan == NULL ||
		SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run a statement on temporal_internal.outbox");
	SPI_freeplan(plan);
	tc_owner_leave(&scope);
}

static void
begin_drain(Before *before)
{
	bool		isnull;

	/* see also what this very statement did, to say what is wrong with it */
	CommandCounterIncrement();
	run(look_first, NULL);
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("drain() cannot run in a transaction that made requests"),
				 errdetail("They are sent after the transaction has committed."),
				 errhint("Call drain() in another transaction, after COMMIT.")));
	before->snapshot = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	before->awaiting = datumCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull), false, -1);
	SPI_freetuptable(SPI_tuptable);
}

static bool
is_drained(const Before *before)
{
	bool		isnull;
	bool		waits;

	run(look, before);
	waits = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return !waits;
}
