/*-------------------------------------------------------------------------
 *
 * row_scan.c
 *	  Rows of one of our tables, in the order of one of its indexes.
 *
 * For the worker: nothing here waits for a lock on a table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "outbox/row_scan.h"

void
tc_row_scan_open(RowScan *scan, TableId table, int index)
{
	/* not waited for: nothing else of the worker must wait with it */
	scan->table = table;
	scan->rel = tc_table_open_nowait(table, AccessShareLock);
	if (scan->rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock table temporal_internal.%s to read it", tc_table_name(table))));
	scan->index = index_open(tc_required_table_index(scan->rel, table, index), AccessShareLock);
	scan->nkeys = 0;
}

void
tc_row_scan_close(RowScan *scan)
{
	index_close(scan->index, AccessShareLock);
	table_close(scan->rel, NoLock);
}

void
tc_row_scan_key(RowScan *scan, AttrNumber attr, StrategyNumber strategy,
				RegProcedure function, Datum value)
{
	Assert(scan->nkeys < lengthof(scan->keys));
	ScanKeyInit(&scan->keys[scan->nkeys++], attr, strategy, function, value);
}

bool
tc_row_scan_run(const RowScan *scan, TupleConsumer consumer, void *arg)
{
	ScanKeyData keys[lengthof(scan->keys)];
	SysScanDesc desc;
	HeapTuple	tuple;
	bool		stopped = false;

	/* the scan changes the attribute numbers of its keys */
	memcpy(keys, scan->keys, scan->nkeys * sizeof(ScanKeyData));
	desc = systable_beginscan_ordered(scan->rel, scan->index, GetActiveSnapshot(),
									  scan->nkeys, keys);
	while (!stopped &&
		   (tuple = systable_getnext_ordered(desc, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		stopped = !consumer(arg, scan->rel, tuple);
	}
	systable_endscan_ordered(desc);
	return stopped;
}

/*
 * One damaged row must not keep those behind it from being read, hence the
 * subtransaction, for large values only: others lie in the row itself.
 */
bytea *
tc_stored_bytes(Datum value, char **problem)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bytea	   *volatile result = NULL;

	*problem = NULL;
	if (!VARATT_IS_EXTERNAL(stored) && !VARATT_IS_COMPRESSED(stored))
		return DatumGetByteaPP(value);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		result = DatumGetByteaPP(value);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
		if (category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_CORRUPTED) &&
			category != ERRCODE_TO_CATEGORY(ERRCODE_IO_ERROR))
			ReThrowError(error);
		*problem = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return result;
}
