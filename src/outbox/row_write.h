/*-------------------------------------------------------------------------
 *
 * row_write.h
 *	  Writing rows of our tables, whatever their owner has done with them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ROW_WRITE_H
#define TC_ROW_WRITE_H

#include "outbox/tables.h"

/*
 * Insert a row; values and nulls are those of the known columns.  Columns
 * that are empty at the end are not stored.
 */
extern void tc_row_insert(Relation rel, TableId id, const Datum *values, const bool *nulls);

/*
 * Change columns of a row that the active snapshot sees, or delete it.  An
 * error if somebody else is changing it: lock it before, unless nobody does.
 */
extern void tc_row_update(Relation rel, TableId id, ItemPointer tid, const Datum *values,
						  const bool *nulls, const bool *replace);
extern void tc_row_delete(Relation rel, TableId id, ItemPointer tid);

/*
 * Is a row stored as the transaction stored it that it says it was written by?
 * That stays so when files are copied, or the row is frozen or moved; whoever
 * puts it back from elsewhere stores it anew.
 */
extern bool tc_row_is_of_its_writer(HeapTuple tuple, Datum written_by);

/*
 * Let a tuple end with its last column that is not null, as if the others had
 * been added to the table later: then most rows need no bitmap of nulls.
 * nulls is that of all natts columns.
 */
extern void tc_tuple_shorten(HeapTuple tuple, const bool *nulls, int natts);

#endif							/* TC_ROW_WRITE_H */
