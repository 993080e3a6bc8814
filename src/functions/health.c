/*-------------------------------------------------------------------------
 *
 * health.c
 *	  What temporal.health() needs that no table says, and the error of
 *	  temporal.check_health().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/settings.h"
#include "compat.h"
#include "functions/rows.h"
#include "outbox/summaries.h"
#include "outbox/tables.h"
#include "process/crash_memory.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/worker_slots.h"

#define FACTS_NATTS 14

/* So many ranges without a summary take a look-up some milliseconds; the worker is not always done */
#define MISSING_SUMMARIES 64

PG_FUNCTION_INFO_V1(tc_health_facts);
PG_FUNCTION_INFO_V1(tc_summary_problems);
PG_FUNCTION_INFO_V1(tc_raise_unhealthy);

/* Tables with requests that are there, and are (or, if not, are not) exactly as the install script made them */
static ArrayType *
tables(bool missing)
{
	Datum		names[TABLE_COUNT];
	int			count = 0;

	for (TableId id = REQUEST_TABLES_FIRST; id <= REQUEST_TABLES_LAST; id++)
	{
		Relation	rel = tc_table_try_open(id, AccessShareLock);
		bool		is_one = missing ? rel == NULL : rel != NULL && !tc_table_is_as_made(rel, id);

		if (is_one)
			names[count++] = CStringGetTextDatum(tc_table_name(id));
		if (rel != NULL)
			table_close(rel, AccessShareLock);
	}
	return construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT);
}

/* Workers that there are in the cluster */
static int
count_workers(void)
{
	int			count = 0;

	for (int i = 0; tc_preloaded() && i < tc_slot_count(); i++)
	{
		SlotView	slot;

		tc_slot_view(i, &slot);
		if (slot.state == SLOT_STARTING || slot.state == SLOT_RUNNING)
			count++;
	}
	return count;
}

/* SQL: health_facts() returns record */
Datum
tc_health_facts(PG_FUNCTION_ARGS)
{
	bool		preloaded = tc_preloaded();
	StarvedOf	starved = preloaded ? tc_launcher_starved() : STARVED_OF_NOTHING;
	TupleDesc	desc;
	Datum		values[FACTS_NATTS];
	bool		nulls[FACTS_NATTS] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(TC_VERSION);
	values[1] = BoolGetDatum(preloaded);
	values[2] = BoolGetDatum(tc_enabled);
	values[3] = BoolGetDatum(tc_this_database_is_listed());
	values[4] = BoolGetDatum(RecoveryInProgress());
	values[5] = BoolGetDatum(tc_has_worker(MyDatabaseId));
	values[6] = BoolGetDatum(starved != STARVED_OF_NOTHING);
	values[7] = Int32GetDatum(count_workers());
	values[8] = Int32GetDatum(preloaded ? tc_launcher_count_wanted() : 0);
	values[9] = Int32GetDatum(tc_max_workers);
	values[10] = BoolGetDatum(starved == STARVED_OF_PROCESSES);
	values[11] = BoolGetDatum(tc_crashes_stop(MyDatabaseId));
	values[12] = PointerGetDatum(tables(true));
	values[13] = PointerGetDatum(tables(false));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * Say what look-ups in a segment cannot pass over by an index.  What is being
 * summarized just now is no problem; on a standby that is not known.
 */
static void
add_problems(Row *row, Relation segment, Oid indexid)
{
	Relation	index = index_open(indexid, AccessShareLock);
	SummaryLook look;

	tc_summaries_look(segment, index, &look);
	if (look.unfinished > 0)
	{
		if (!RecoveryInProgress() && ConditionalLockRelation(segment, ShareUpdateExclusiveLock))
		{
			tc_summaries_look(segment, index, &look);
			UnlockRelation(segment, ShareUpdateExclusiveLock);
		}
		else
			look.unfinished = 0;
	}
	if (look.unfinished > 0 || look.missing >= MISSING_SUMMARIES)
	{
		tc_row_add(row, ObjectIdGetDatum(indexid));
		tc_row_add(row, Int64GetDatum(look.missing));
		tc_row_add(row, Int64GetDatum(look.unfinished));
		if (look.unfinished > 0)
			tc_row_add(row, Int64GetDatum(look.first_unfinished));
		else
			tc_row_add_null(row);
		tc_row_end(row);
	}
	index_close(index, AccessShareLock);
}

/* SQL: summary_problems() returns setof record */
Datum
tc_summary_problems(PG_FUNCTION_ARGS)
{
	static const int numbers[] = {DELIVERY_ID_IDX, DELIVERY_WORKFLOW_ID_IDX};
	Row			row;

	tc_rows_begin(fcinfo, &row);
	for (int i = 0; i < DELIVERY_SEGMENTS; i++)
	{
		TableId		id = (TableId) (TABLE_DELIVERY_0 + i);
		Relation	segment = tc_table_try_open(id, AccessShareLock);

		/* it is being truncated, or is not there: another check says so */
		if (segment == NULL)
			continue;
		for (int j = 0; j < lengthof(numbers); j++)
		{
			Oid			indexid = tc_table_index(segment, id, numbers[j]);

			if (OidIsValid(indexid))
				add_problems(&row, segment, indexid);
		}
		table_close(segment, AccessShareLock);
	}
	return (Datum) 0;
}

/* SQL: raise_unhealthy(problems text) returns void; NULL: nothing is wrong */
Datum
tc_raise_unhealthy(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete is not healthy"),
				 errdetail_internal("%s", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 errhint("See temporal.health().")));
	PG_RETURN_VOID();
}
