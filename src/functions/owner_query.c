/*-------------------------------------------------------------------------
 *
 * owner_query.c
 *	  Running statements on the tables of the extension, for who has no
 *	  privilege on them.
 *
 * No statement comes from a caller, and no value of a caller becomes part of
 * one: values are parameters.  What is read is counted for nobody, see
 * uncounted.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

#include "base/extension.h"
#include "base/uncounted.h"
#include "functions/owner_query.h"

/* A set that a function returns */
typedef struct ReturnedSet
{
	Tuplestorestate *rows;
	TupleDesc	desc;
} ReturnedSet;

static uint64 run(const char *query, int nargs, Oid *types, Datum *values, const char *nulls,
				  bool only_reads, ResultRow take, void *arg);
static void put_row(HeapTuple tuple, TupleDesc desc, void *arg);

uint64
tc_run_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls,
				ResultRow take, void *arg)
{
	return run(query, nargs, types, values, nulls, false, take, arg);
}

uint64
tc_read_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls,
				 ResultRow take, void *arg)
{
	return run(query, nargs, types, values, nulls, true, take, arg);
}

static uint64
run(const char *query, int nargs, Oid *types, Datum *values, const char *nulls,
	bool only_reads, ResultRow take, void *arg)
{
	/* the statements name them */
	static const char *const named[] = {
		"outbox", "rejected", "queue", "queue_here", "delivery", "delivery_segment", "recheck",
		"recorded_activity", "every_activity", "ended_activity", "queue_pause", "every_pause"
	};
	OwnerScope	scope;
	CountsBefore counts;
	volatile uint64 count = 0;

	tc_require_names(named, lengthof(named));

	tc_uncounted_begin(&counts, !only_reads);
	PG_TRY();
	{
		tc_owner_enter(&scope);
		SPI_connect();
		if (SPI_execute_with_args(query, nargs, types, values, nulls, false, 0) < 0)
			elog(ERROR, "could not run a statement on temporal_internal.outbox");
		count = SPI_processed;
		if (take != NULL)
			for (uint64 i = 0; i < count; i++)
				take(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, arg);
		SPI_finish();
		tc_owner_leave(&scope);
	}
	PG_FINALLY();
	{
		tc_uncounted_end(&counts);
	}
	PG_END_TRY();
	return count;
}

void
tc_return_as_owner(FunctionCallInfo fcinfo, const char *query, int nargs, Oid *types,
				   Datum *values, const char *nulls)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ReturnedSet set;
	MemoryContext old;

	if (result == NULL || !IsA(result, ReturnSetInfo) || (result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &set.desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	set.rows = tuplestore_begin_heap(true, false, work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = set.rows;
	result->setDesc = set.desc;
	MemoryContextSwitchTo(old);
	(void) tc_read_as_owner(query, nargs, types, values, nulls, put_row, &set);
}

static void
put_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	ReturnedSet *set = arg;
	Datum	   *values = palloc(set->desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(set->desc->natts * sizeof(bool));

	if (desc->natts != set->desc->natts)
		elog(ERROR, "unexpected number of columns");
	heap_deform_tuple(tuple, desc, values, nulls);
	tuplestore_putvalues(set->rows, set->desc, values, nulls);
	pfree(values);
	pfree(nulls);
}
