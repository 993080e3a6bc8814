/*-------------------------------------------------------------------------
 *
 * database_worker.c
 *	  SQL functions about the worker of this database: to wake it, and to see
 *	  what it has in flight.
 *
 * By shared memory alone: nothing here waits for the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/inval.h"

#include "process/in_flight.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"

PG_FUNCTION_INFO_V1(tc_wake_worker_sql);
PG_FUNCTION_INFO_V1(tc_wake_queue);
PG_FUNCTION_INFO_V1(tc_look_at_servers);
PG_FUNCTION_INFO_V1(tc_in_flight_requests);

/*
 * SQL: wake_worker(), at commit.  CREATE EXTENSION calls it, which is why it
 * warns if there is nobody to wake.
 */
Datum
tc_wake_worker_sql(PG_FUNCTION_ARGS)
{
	tc_warn_if_nothing_is_sent();
	tc_wake_all_at_commit();
	PG_RETURN_VOID();
}

/* SQL: wake_queue(number bigint) returns boolean */
Datum
tc_wake_queue(PG_FUNCTION_ARGS)
{
	tc_warn_if_nothing_is_sent();
	tc_wake_at_commit(PG_GETARG_INT64(0));
	PG_RETURN_BOOL(true);
}

/*
 * SQL: look_at_servers() returns void
 *
 * A queue was given another server, of which no catalog tells the worker.
 */
Datum
tc_look_at_servers(PG_FUNCTION_ARGS)
{
	CacheInvalidateCatalog(ForeignServerRelationId);
	tc_look_at_options_at_commit();
	PG_RETURN_VOID();
}

/* SQL: in_flight_requests() returns setof bigint */
Datum
tc_in_flight_requests(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		int			count;

		funcctx = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		funcctx->user_fctx = tc_in_flight_ids(tc_slot_of(MyDatabaseId), &count);
		funcctx->max_calls = count;
		MemoryContextSwitchTo(old);
	}

	funcctx = SRF_PERCALL_SETUP();
	if (funcctx->call_cntr < funcctx->max_calls)
	{
		/* the macro counts before it looks at its argument */
		int64		id = ((int64 *) funcctx->user_fctx)[funcctx->call_cntr];

		SRF_RETURN_NEXT(funcctx, Int64GetDatum(id));
	}
	SRF_RETURN_DONE(funcctx);
}
