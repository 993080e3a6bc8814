/*-------------------------------------------------------------------------
 *
 * snapshot_read.c
 *	  Reading a table by difference of snapshots.
 *
 * A batch of a queue is what one snapshot sees and the one before did not.
 * Rows carry the top-level xid of the transaction that made them, so a batch
 * is a few ranges of the index (queue, xid, id): one for each transaction that
 * was running when the former snapshot was taken, and one from its xmax to the
 * xmax of the new one.  Each row is read once, no row is claimed or locked,
 * and dead rows behind the position are not looked at again however long
 * somebody's snapshot keeps them.
 *
 * A batch is read in pieces, each in a transaction of its own: snapshots are
 * kept as values, never held open.  Nothing here writes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/snapshot_read.h"

/* A batch that is being read */
typedef struct Reading
{
	const ReadTable *table;
	RowScan		scan;
	ReadPosition *position;
	TupleConsumer consumer;
	void	   *arg;
} Reading;

static int	uint64_cmp(const void *a, const void *b);
static bool read_transaction(Reading *reading, uint64 xid);
static bool read_range(Reading *reading);
static uint64 xid_of(const ReadTable *table, Relation rel, HeapTuple tuple);
static bool take_row(void *arg, Relation rel, HeapTuple tuple);

static int
uint64_cmp(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return (x > y) - (x < y);
}

ReadSnapshot *
tc_snapshot_take(void)
{
	Snapshot	snapshot = GetActiveSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);
	TransactionId next_xid = XidFromFullTransactionId(next);
	ReadSnapshot *result;

	/* the xids of a snapshot are not older than half the xid space */
#define WIDEN(x) \
	U64FromFullTransactionId(FullTransactionIdFromEpochAndXid((x) > next_xid ? epoch - 1 : epoch, (x)))

	result = palloc(offsetof(ReadSnapshot, xip) + snapshot->xcnt * sizeof(uint64));
	result->xmax = WIDEN(snapshot->xmax);
	result->nxip = snapshot->xcnt;
	for (int i = 0; i < result->nxip; i++)
		result->xip[i] = WIDEN(snapshot->xip[i]);
	qsort(result->xip, result->nxip, sizeof(uint64), uint64_cmp);
	return result;
#undef WIDEN
}

bool
tc_snapshot_sees(const ReadSnapshot *snapshot, uint64 xid)
{
	return snapshot != NULL && xid < snapshot->xmax &&
		bsearch(&xid, snapshot->xip, snapshot->nxip, sizeof(uint64), uint64_cmp) == NULL;
}

bool
tc_snapshot_read(const ReadTable *table, int64 queue, ReadPosition *position,
				 TupleConsumer consumer, void *arg)
{
	Reading		reading = {
		.table = table,.position = position,.consumer = consumer,.arg = arg
	};
	bool		stopped = false;

	if (position->goal == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(position->context);

		position->goal = tc_snapshot_take();
		MemoryContextSwitchTo(old);
		position->xip_index = 0;
		position->xid = 0;
		position->id = 0;
	}

	tc_row_scan_open(&reading.scan, table->table, table->index);
	tc_row_scan_key(&reading.scan, table->queue, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(queue));

	/* transactions that were running at the former snapshot */
	while (!stopped && position->done != NULL && position->xip_index < position->done->nxip)
	{
		uint64		xid = position->done->xip[position->xip_index];

		/* one that still runs is also among goal->xip: its turn comes later */
		if (tc_snapshot_sees(position->goal, xid))
			stopped = read_transaction(&reading, xid);
		if (!stopped)
		{
			position->xip_index++;
			position->xid = 0;
		}
	}
	/* transactions that had not begun then */
	if (!stopped)
		stopped = read_range(&reading);
	tc_row_scan_close(&reading.scan);

	if (stopped)
		return false;
	if (position->done != NULL)
		pfree(position->done);
	position->done = position->goal;
	position->goal = NULL;
	return true;
}

/*
 * All that the new `done` sees must have been read: while a batch's range is
 * being read, that is what its goal sees before the position, otherwise it
 * is what the former snapshot saw.
 */
void
tc_read_position_rewind(ReadPosition *position, uint64 xid)
{
	const ReadSnapshot *base = position->done;
	ReadSnapshot *done = NULL;
	uint64		xmax = base ? base->xmax : 0;

	if (position->goal != NULL && (base == NULL || position->xip_index >= base->nxip))
	{
		base = position->goal;
		xmax = Max(xmax, position->xid);
	}
	xmax = Min(xmax, xid);
	if (base != NULL && xmax > 0)
	{
		done = MemoryContextAlloc(position->context,
								  offsetof(ReadSnapshot, xip) + base->nxip * sizeof(uint64));
		done->xmax = xmax;
		done->nxip = 0;
		while (done->nxip < base->nxip && base->xip[done->nxip] < xmax)
		{
			done->xip[done->nxip] = base->xip[done->nxip];
			done->nxip++;
		}
	}
	if (position->goal != NULL)
		pfree(position->goal);
	if (position->done != NULL)
		pfree(position->done);
	position->done = done;
	position->goal = NULL;
}

void
tc_read_position_forget(ReadPosition *position)
{
	if (position->goal != NULL)
		pfree(position->goal);
	if (position->done != NULL)
		pfree(position->done);
	position->goal = position->done = NULL;
}

/* Rows of one transaction, from behind the position.  True if stopped. */
static bool
read_transaction(Reading *reading, uint64 xid)
{
	RowScan    *scan = &reading->scan;
	const ReadPosition *position = reading->position;
	int			nkeys = scan->nkeys;
	bool		stopped;

	tc_row_scan_key(scan, reading->table->xid, BTEqualStrategyNumber, F_XID8EQ,
					FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
	if (position->xid == xid)
		tc_row_scan_key(scan, reading->table->id, BTGreaterStrategyNumber, F_INT8GT,
						Int64GetDatum(position->id));
	stopped = tc_row_scan_run(scan, take_row, reading);
	scan->nkeys = nkeys;
	return stopped;
}

/* Rows of transactions from done->xmax on, from behind the position.  True if stopped. */
static bool
read_range(Reading *reading)
{
	RowScan    *scan = &reading->scan;
	const ReadPosition *position = reading->position;
	int			nkeys = scan->nkeys;
	uint64		from = position->done ? position->done->xmax : 0;
	bool		stopped;

	if (position->xid >= from && position->xid != 0)
	{
		/* first the rest of the transaction in which reading stopped */
		if (read_transaction(reading, position->xid))
			return true;
		from = position->xid + 1;
	}
	tc_row_scan_key(scan, reading->table->xid, BTGreaterEqualStrategyNumber, F_XID8GE,
					FullTransactionIdGetDatum(FullTransactionIdFromU64(from)));
	tc_row_scan_key(scan, reading->table->xid, BTLessStrategyNumber, F_XID8LT,
					FullTransactionIdGetDatum(FullTransactionIdFromU64(position->goal->xmax)));
	stopped = tc_row_scan_run(scan, take_row, reading);
	scan->nkeys = nkeys;
	return stopped;
}

static uint64
xid_of(const ReadTable *table, Relation rel, HeapTuple tuple)
{
	bool		isnull;
	Datum		xid = heap_getattr(tuple, table->xid, RelationGetDescr(rel), &isnull);

	return U64FromFullTransactionId(DatumGetFullTransactionId(xid));
}

/* Only what the goal sees; the position is moved behind each row that is given. */
static bool
take_row(void *arg, Relation rel, HeapTuple tuple)
{
	Reading    *reading = arg;
	ReadPosition *position = reading->position;
	uint64		xid = xid_of(reading->table, rel, tuple);
	bool		isnull;
	int64		id;
	bool		result;

	if (!tc_snapshot_sees(position->goal, xid))
		return true;
	id = DatumGetInt64(heap_getattr(tuple, reading->table->id, RelationGetDescr(rel), &isnull));
	result = reading->consumer(reading->arg, rel, tuple);
	position->xid = xid;
	position->id = id;
	return result;
}
