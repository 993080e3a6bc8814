/*-------------------------------------------------------------------------
 *
 * row_scan.h
 *	  Rows of one of our tables, in the order of one of its indexes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ROW_SCAN_H
#define TC_ROW_SCAN_H

#include "access/htup.h"
#include "access/skey.h"
#include "access/stratnum.h"

#include "outbox/tables.h"

/* A scan of a part of a table, with its keys */
typedef struct RowScan
{
	TableId		table;
	Relation	rel;
	Relation	index;
	ScanKeyData keys[3];
	int			nkeys;
} RowScan;

/* Takes a row, which is there until it returns; false: enough, this row was the last. */
typedef bool (*TupleConsumer) (void *arg, Relation rel, HeapTuple tuple);

/* For the worker: an error if somebody has locked the table.  The lock is kept. */
extern void tc_row_scan_open(RowScan *scan, TableId table, int index);
extern void tc_row_scan_close(RowScan *scan);

/* Only rows for which that holds, too.  Columns are those of the table. */
extern void tc_row_scan_key(RowScan *scan, AttrNumber attr, StrategyNumber strategy,
							RegProcedure function, Datum value);

/* Give the consumer what the active snapshot sees.  True if it had enough. */
extern bool tc_row_scan_run(const RowScan *scan, TupleConsumer consumer, void *arg);

/* Bytes that are stored in a row; NULL, and why, if the table is damaged there. */
extern bytea *tc_stored_bytes(Datum value, char **problem);

#endif							/* TC_ROW_SCAN_H */
