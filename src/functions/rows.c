/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Rows that a function returns, put together column by column.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "functions/rows.h"

void
tc_rows_begin(FunctionCallInfo fcinfo, Row *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	memset(row, 0, sizeof(*row));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &row->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	Assert(row->desc->natts <= ROW_MAX_NATTS);
	row->store = tuplestore_begin_heap(false, false, work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = row->store;
	result->setDesc = row->desc;
	MemoryContextSwitchTo(old);
}

void
tc_row_end(Row *row)
{
	Assert(row->count == row->desc->natts);
	tuplestore_putvalues(row->store, row->desc, row->values, row->nulls);
	row->count = 0;
}

void
tc_row_add(Row *row, Datum value)
{
	row->nulls[row->count] = false;
	row->values[row->count++] = value;
}

void
tc_row_add_null(Row *row)
{
	row->values[row->count] = (Datum) 0;
	row->nulls[row->count++] = true;
}

void
tc_row_add_text(Row *row, const char *text)
{
	if (text[0] != '\0')
		tc_row_add(row, CStringGetTextDatum(text));
	else
		tc_row_add_null(row);
}

void
tc_row_add_time(Row *row, TimestampTz time)
{
	if (time != 0)
		tc_row_add(row, TimestampTzGetDatum(time));
	else
		tc_row_add_null(row);
}
