/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  SQL function wait_for_request(): waits until a request is finished.
 *
 * How it waits is in outcome_wait.c.
 * Never here: an answer from anything but the tables, as they are now.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "functions/outcome_wait.h"
#include "functions/owner_query.h"
#include "outbox/outbox.h"
#include "process/wakeup.h"

/* Prepared once a session */
static SPIPlanPtr row_plan = NULL;

static bool first_look(int64 id, Datum *row);
static bool read_request(int64 id, Datum *row);
static bool made_in_this_transaction(int64 id);
static void prepare(SPIPlanPtr *plan, const char *query);
static void run(SPIPlanPtr plan, int64 id);

PG_FUNCTION_INFO_V1(tc_wait_for_request);

/* SQL: wait_for_request(id bigint, timeout interval) returns temporal.request */
Datum
tc_wait_for_request(PG_FUNCTION_ARGS)
{
	static const char *const named[] = {"request"};
	int64		id;
	int64		timeout = -1;
	OutcomeWait wait;
	Datum		row;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("request id must not be null")));
	id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		timeout = tc_outcome_timeout_ms(PG_GETARG_INTERVAL_P(1), "wait_for_request()");

	tc_require_names(named, lengthof(named));
	SPI_connect();
	prepare(&row_plan,
			"SELECT r, r.state FROM temporal.request r"
			" WHERE r.id OPERATOR(pg_catalog.=) $1");

	/* See also what this very statement did, to say what is wrong with it. */
	CommandCounterIncrement();

	tc_outcome_wait_begin_for(&wait, id, timeout);
	for (;;)
	{
		if (wait.looks == 0)
		{
			if (first_look(id, &row))
				break;
		}
		else if (!tc_outbox_has(id))
		{
			pfree(DatumGetPointer(row));
			if (read_request(id, &row))
				break;
		}

		if (!tc_outcome_wait(&wait))
		{
			/* as it is now */
			pfree(DatumGetPointer(row));
			(void) read_request(id, &row);
			break;
		}
	}
	tc_outcome_wait_end();

	SPI_finish();
	PG_RETURN_DATUM(row);
}

/*
 * Read a request as read_request() does.  If it is not finished, raise an
 * error, or warn, where that would be awaited in vain.
 */
static bool
first_look(int64 id, Datum *row)
{
	if (read_request(id, row))
		return true;
	if (made_in_this_transaction(id))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("request %lld was made in the current transaction", (long long) id),
				 errdetail("It is sent after the transaction has committed."),
				 errhint("Call wait_for_request() in another transaction, after COMMIT.")));
	tc_warn_if_nothing_is_sent();
	return false;
}

static void
prepare(SPIPlanPtr *plan, const char *query)
{
	Oid			argtypes[] = {INT8OID};
	SPIPlanPtr	prepared;

	if (*plan != NULL)
		return;
	prepared = SPI_prepare(query, 1, argtypes);
	if (prepared == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(prepared);
	*plan = prepared;
}

/*
 * Run a query with a snapshot of now, whatever the isolation level of the
 * transaction is: it waits for what others do.
 */
static void
run(SPIPlanPtr plan, int64 id)
{
	Datum		value = Int64GetDatum(id);
	int			result = SPI_execute_snapshot(plan, &value, NULL, GetLatestSnapshot(),
											  InvalidSnapshot, true, false, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
}

/*
 * Read a request as the caller may see it, as a datum in the memory context
 * outside SPI.  Returns whether the request is finished.
 */
static bool
read_request(int64 id, Datum *row)
{
	HeapTuple	tuple;
	char	   *state;
	bool		isnull;
	bool		finished;

	run(row_plan, id);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("request %lld does not exist", (long long) id),
				 errdetail("Its transaction may have been rolled back, it may be older than temporal_complete.retention, it may be a heartbeat that was followed by another one, or it may belong to a role whose requests you may not see.")));
	tuple = SPI_tuptable->vals[0];
	state = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);
	finished = strcmp(state, "delivered") == 0 ||
		strcmp(state, "rejected") == 0 ||
		strcmp(state, "suppressed") == 0 || /* it will not change */
		strcmp(state, "superseded") == 0 ||
		strcmp(state, "unconfirmed") == 0;
	*row = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);
	*row = SPI_datumTransfer(*row, false, -1);
	SPI_freetuptable(SPI_tuptable);
	return finished;
}

/*
 * A reader of the view cannot see the transaction of a request.  Which
 * requests the own transaction made is no secret.
 */
static bool
made_in_this_transaction(int64 id)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(id)};

	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return false;
	return tc_read_as_owner("SELECT FROM temporal_internal.outbox o"
							"  JOIN temporal_internal.queue q ON q.number = o.queue"
							" WHERE o.id = $1 AND o.xid = pg_current_xact_id_if_assigned()"
							"   AND temporal_internal.made_here(q.system_identifier, q.database)",
							lengthof(types), types, values, NULL, NULL, NULL) > 0;
}
