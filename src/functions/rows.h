/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  Rows that a function returns, put together column by column.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ROWS_H
#define TC_ROWS_H

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Columns of the widest row */
#define ROW_MAX_NATTS 40

/* A row that is being put together, and where it goes */
typedef struct Row
{
	Tuplestorestate *store;
	TupleDesc	desc;
	int			count;
	Datum		values[ROW_MAX_NATTS];
	bool		nulls[ROW_MAX_NATTS];
} Row;

/* For a function that returns a set: what it returns are the rows that are ended. */
extern void tc_rows_begin(FunctionCallInfo fcinfo, Row *row);
extern void tc_row_end(Row *row);

/* The next column.  An empty text and the time 0 are NULL. */
extern void tc_row_add(Row *row, Datum value);
extern void tc_row_add_null(Row *row);
extern void tc_row_add_text(Row *row, const char *text);
extern void tc_row_add_time(Row *row, TimestampTz time);

#endif							/* TC_ROWS_H */
