/*-------------------------------------------------------------------------
 *
 * snapshot_read.c
 *	  Reading the outbox, by difference of snapshots.
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

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"
#include "outbox/tables.h"

/* A scan of a part of the outbox, with its keys */
typedef struct OutboxScan
{
	Relation	rel;
	Relation	index;
	ScanKeyData keys[3];
	int			nkeys;
} OutboxScan;

static int	uint64_cmp(const void *a, const void *b);
static void scan_open(OutboxScan *scan, int index);
static void scan_close(OutboxScan *scan);
static void scan_key(OutboxScan *scan, OutboxAttr attr, StrategyNumber strategy,
					 RegProcedure function, Datum value);
static bool scan_run(OutboxScan *scan, ReadPosition *position,
					 RowConsumer consumer, void *arg, bool *found);
static bool read_transaction(OutboxScan *scan, ReadPosition *position, uint64 xid,
							 RowConsumer consumer, void *arg);
static bool read_range(OutboxScan *scan, ReadPosition *position,
					   RowConsumer consumer, void *arg);
static bytea *fetch_request(Datum value, char **problem);
static int64 first_queue_between(OutboxScan *scan, int64 lower, int64 upper);

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
tc_outbox_read(int64 queue, ReadPosition *position,
			   RowConsumer consumer, void *arg)
{
	OutboxScan	scan;
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

	scan_open(&scan, OUTBOX_QUEUE_IDX);
	scan_key(&scan, OUTBOX_QUEUE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(queue));

	/* transactions that were running at the former snapshot */
	while (!stopped && position->done != NULL && position->xip_index < position->done->nxip)
	{
		uint64		xid = position->done->xip[position->xip_index];

		/* one that still runs is also among goal->xip: its turn comes later */
		if (tc_snapshot_sees(position->goal, xid))
			stopped = read_transaction(&scan, position, xid, consumer, arg);
		if (!stopped)
		{
			position->xip_index++;
			position->xid = 0;
		}
	}
	/* transactions that had not begun then */
	if (!stopped)
		stopped = read_range(&scan, position, consumer, arg);
	scan_close(&scan);

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
read_transaction(OutboxScan *scan, ReadPosition *position, uint64 xid,
				 RowConsumer consumer, void *arg)
{
	int			nkeys = scan->nkeys;
	bool		stopped;
	bool		found;

	scan_key(scan, OUTBOX_XID, BTEqualStrategyNumber, F_XID8EQ,
			 FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
	if (position->xid == xid)
		scan_key(scan, OUTBOX_ID, BTGreaterStrategyNumber, F_INT8GT,
				 Int64GetDatum(position->id));
	stopped = scan_run(scan, position, consumer, arg, &found);
	scan->nkeys = nkeys;
	return stopped;
}

/* Rows of transactions from done->xmax on, from behind the position.  True if stopped. */
static bool
read_range(OutboxScan *scan, ReadPosition *position, RowConsumer consumer, void *arg)
{
	int			nkeys = scan->nkeys;
	uint64		from = position->done ? position->done->xmax : 0;
	bool		stopped;
	bool		found;

	if (position->xid >= from && position->xid != 0)
	{
		/* first the rest of the transaction in which reading stopped */
		if (read_transaction(scan, position, position->xid, consumer, arg))
			return true;
		from = position->xid + 1;
	}
	scan_key(scan, OUTBOX_XID, BTGreaterEqualStrategyNumber, F_XID8GE,
			 FullTransactionIdGetDatum(FullTransactionIdFromU64(from)));
	scan_key(scan, OUTBOX_XID, BTLessStrategyNumber, F_XID8LT,
			 FullTransactionIdGetDatum(FullTransactionIdFromU64(position->goal->xmax)));
	stopped = scan_run(scan, position, consumer, arg, &found);
	scan->nkeys = nkeys;
	return stopped;
}

bool
tc_outbox_read_one(int64 id, RowConsumer consumer, void *arg)
{
	OutboxScan	scan;
	bool		found = false;

	scan_open(&scan, OUTBOX_PKEY);
	scan_key(&scan, OUTBOX_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	(void) scan_run(&scan, NULL, consumer, arg, &found);
	scan_close(&scan);
	return found;
}

int
tc_outbox_count(int64 queue, const ReadPosition *position, int max, TimestampTz *since)
{
	const ReadSnapshot *done = position->done;
	uint64		from = done != NULL ? done->xmax : 0;
	OutboxScan	scan;
	SysScanDesc desc;
	HeapTuple	tuple;
	int			count = 0;

	if (position->goal != NULL && (done == NULL || position->xip_index >= done->nxip))
		from = Max(from, position->xid);
	scan_open(&scan, OUTBOX_QUEUE_IDX);
	scan_key(&scan, OUTBOX_QUEUE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(queue));
	scan_key(&scan, OUTBOX_XID, BTGreaterEqualStrategyNumber, F_XID8GE,
			 FullTransactionIdGetDatum(FullTransactionIdFromU64(from)));
	desc = systable_beginscan_ordered(scan.rel, scan.index, GetActiveSnapshot(),
									  scan.nkeys, scan.keys);
	while (count < max && (tuple = systable_getnext_ordered(desc, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (count++ == 0 && since != NULL)
		{
			Datum		values[OUTBOX_NATTS];
			bool		nulls[OUTBOX_NATTS];

			tc_row_deform(tuple, scan.rel, TABLE_OUTBOX, values, nulls);
			*since = DatumGetTimestampTz(values[OUTBOX_REQUESTED_AT - 1]);
		}
	}
	systable_endscan_ordered(desc);
	scan_close(&scan);
	return count;
}

bool
tc_outbox_has(int64 id)
{
	Relation	rel = tc_table_open(TABLE_OUTBOX, AccessShareLock);
	Oid			index = tc_table_index(rel, TABLE_OUTBOX, OUTBOX_PKEY);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, OUTBOX_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	found = systable_getnext(scan) != NULL;
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);

	/*
	 * this may be called for long in a transaction that has nothing else to
	 * do with it
	 */
	table_close(rel, AccessShareLock);
	return found;
}

static void
scan_open(OutboxScan *scan, int index)
{
	/* not waited for: nothing else of the worker must wait with it */
	scan->rel = tc_table_open_nowait(TABLE_OUTBOX, AccessShareLock);
	if (scan->rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock table temporal.outbox to read requests")));
	scan->index = index_open(tc_required_table_index(scan->rel, TABLE_OUTBOX, index),
							 AccessShareLock);
	scan->nkeys = 0;
}

static void
scan_close(OutboxScan *scan)
{
	index_close(scan->index, AccessShareLock);
	table_close(scan->rel, NoLock);
}

static void
scan_key(OutboxScan *scan, OutboxAttr attr, StrategyNumber strategy,
		 RegProcedure function, Datum value)
{
	Assert(scan->nkeys < lengthof(scan->keys));
	ScanKeyInit(&scan->keys[scan->nkeys++], attr, strategy, function, value);
}

/*
 * Give the rows of a scan, in index order, to the consumer.  With a position,
 * only those that its goal sees, and it is moved behind each.  True if the
 * consumer had enough.
 */
static bool
scan_run(OutboxScan *scan, ReadPosition *position,
		 RowConsumer consumer, void *arg, bool *found)
{
	ScanKeyData keys[lengthof(scan->keys)];
	SysScanDesc desc;
	HeapTuple	tuple;
	bool		stopped = false;

	/* the scan changes the attribute numbers of its keys */
	memcpy(keys, scan->keys, scan->nkeys * sizeof(ScanKeyData));
	desc = systable_beginscan_ordered(scan->rel, scan->index, GetActiveSnapshot(),
									  scan->nkeys, keys);
	*found = false;
	while (!stopped &&
		   (tuple = systable_getnext_ordered(desc, ForwardScanDirection)) != NULL)
	{
		Datum		values[OUTBOX_NATTS];
		bool		nulls[OUTBOX_NATTS];
		OutboxRow	row;
		bytea	   *request;
		char	   *problem;

		CHECK_FOR_INTERRUPTS();
		tc_row_deform(tuple, scan->rel, TABLE_OUTBOX, values, nulls);
		row.xid = U64FromFullTransactionId(DatumGetFullTransactionId(values[OUTBOX_XID - 1]));
		if (position != NULL && !tc_snapshot_sees(position->goal, row.xid))
			continue;

		row.id = DatumGetInt64(values[OUTBOX_ID - 1]);
		row.tid = tuple->t_self;
		row.method = DatumGetInt16(values[OUTBOX_METHOD - 1]);
		row.maybe_sent = DatumGetBool(values[OUTBOX_MAYBE_SENT - 1]);
		row.requested_at = DatumGetTimestampTz(values[OUTBOX_REQUESTED_AT - 1]);
		row.attempts = nulls[OUTBOX_ATTEMPTS - 1] ? 0 :
			DatumGetInt32(values[OUTBOX_ATTEMPTS - 1]);
		row.next_attempt_at = nulls[OUTBOX_NEXT_ATTEMPT_AT - 1] ? 0 :
			DatumGetTimestampTz(values[OUTBOX_NEXT_ATTEMPT_AT - 1]);
		row.awaited_until = nulls[OUTBOX_AWAITED_UNTIL - 1] ? 0 :
			DatumGetTimestampTz(values[OUTBOX_AWAITED_UNTIL - 1]);
		row.is_absent = !nulls[OUTBOX_ERROR_CODE - 1] &&
			strcmp(TextDatumGetCString(values[OUTBOX_ERROR_CODE - 1]), TC_ACTIVITY_NOT_FOUND) == 0;
		if (!tc_row_is_of_its_writer(tuple, values[OUTBOX_WRITTEN_BY - 1]))
		{
			/*
			 * put back from a dump, say: sent up to now, for all that is
			 * known
			 */
			row.maybe_sent = true;
			row.next_attempt_at = 0;
		}
		request = fetch_request(values[OUTBOX_REQUEST - 1], &problem);
		row.request = request ? (const uint8 *) VARDATA_ANY(request) : NULL;
		row.len = request ? VARSIZE_ANY_EXHDR(request) : 0;
		row.problem = problem;
		row.former_identities = nulls[OUTBOX_FORMER_IDENTITIES - 1] ? NULL :
			TextDatumGetCString(values[OUTBOX_FORMER_IDENTITIES - 1]);

		row.by_key = !nulls[OUTBOX_KEY - 1];

		*found = true;
		stopped = !consumer(arg, &row);
		if (position != NULL)
		{
			position->xid = row.xid;
			position->id = row.id;
		}
		if (request != NULL && (Pointer) request != DatumGetPointer(values[OUTBOX_REQUEST - 1]))
			pfree(request);
	}
	systable_endscan_ordered(desc);
	return stopped;
}

/*
 * The bytes of a request; NULL, and why, if the table is damaged there.  One
 * damaged row must not keep those behind it from being read, hence the
 * subtransaction, for large values only: others lie in the row itself.
 */
static bytea *
fetch_request(Datum value, char **problem)
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

/*
 * Between each two known queues, which are sorted, look for the first entry
 * of the index that belongs to neither.  Rows are not looked at, so dead ones
 * cost nothing, and damaged ones stop nobody.  A number that is not visible in
 * temporal.queue has no visible rows either, and is looked for again.
 */
FoundQueue *
tc_outbox_find_queues(const int64 *known, int nknown, int64 *position, int max, int *count)
{
	FoundQueue *result = palloc(sizeof(FoundQueue));
	Relation	queues = tc_table_open_nowait(TABLE_QUEUE, AccessShareLock);
	OutboxScan	scan;
	int64		number = *position;
	int			gap = 0;
	int			n = 0;

	if (queues == NULL)
		return NULL;
	scan_open(&scan, OUTBOX_QUEUE_IDX);
	while (gap < nknown && known[gap] <= number)
		gap++;
	for (; gap <= nknown && max > 0; gap++)
	{
		int64		end = gap < nknown ? known[gap] : PG_INT64_MAX;
		int64		next;

		while (max > 0 && (next = first_queue_between(&scan, number, end)) != 0)
		{
			max--;
			number = next;
			result = repalloc(result, (n + 1) * sizeof(FoundQueue));
			result[n].number = number;
			if (tc_queue_find(number, &result[n].row, &result[n].made_here))
				n++;
		}
		if (max > 0)
			number = end;
	}
	scan_close(&scan);
	table_close(queues, NoLock);
	*position = max > 0 ? 0 : number;
	*count = n;
	return result;
}

/* The smallest number between these two that has an entry; 0 if there is none. */
static int64
first_queue_between(OutboxScan *scan, int64 lower, int64 upper)
{
	const AttrNumber column = 1;	/* of the index */
	ScanKeyData keys[2];
	IndexScanDesc desc;
	int64		result = 0;

	ScanKeyInit(&keys[0], column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(lower));
	ScanKeyInit(&keys[1], column, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(upper));
	desc = tc_index_beginscan(scan->rel, scan->index, GetActiveSnapshot(), lengthof(keys));
	desc->xs_want_itup = true;
	index_rescan(desc, keys, lengthof(keys), NULL, 0);
	if (index_getnext_tid(desc, ForwardScanDirection) != NULL)
	{
		bool		isnull;

		result = DatumGetInt64(index_getattr(desc->xs_itup, column, desc->xs_itupdesc, &isnull));
	}
	index_endscan(desc);
	return result;
}

/* Requests that are looked at for being held */
#define HELD_LOOK_MAX 10000

void
tc_outbox_report_held(void)
{
	static bool reported = false;
	Relation	rel;
	Relation	queues;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		held = 0;
	int64		looked_at = 0;
	int64		last_queue = 0;
	bool		last_is_held = false;

	if (reported)
		return;
	rel = tc_table_open_nowait(TABLE_OUTBOX, AccessShareLock);
	queues = tc_table_open_nowait(TABLE_QUEUE, AccessShareLock);
	if (rel == NULL || queues == NULL)
		return;
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (looked_at < HELD_LOOK_MAX && (tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		int64		queue = DatumGetInt64(heap_getattr(tuple, OUTBOX_QUEUE, RelationGetDescr(rel), &isnull));

		CHECK_FOR_INTERRUPTS();
		if (looked_at++ == 0 || queue != last_queue)
		{
			QueueRow	row;
			bool		made_here;

			last_queue = queue;
			last_is_held = !TC_QUEUE_IS_SUPPRESSED(queue) &&
				(!tc_queue_find(queue, &row, &made_here) || !made_here);
		}
		held += last_is_held;
	}
	systable_endscan(scan);
	table_close(queues, NoLock);
	table_close(rel, NoLock);
	if (held == 0)
		return;
	reported = true;
	ereport(LOG,
			(looked_at < HELD_LOOK_MAX ?
			 errmsg_plural("%lld request of another cluster or database is held",
						   "%lld requests of another cluster or database are held",
						   held, (long long) held) :
			 errmsg("at least %lld requests of another cluster or database are held",
					(long long) held),
			 errhint("If nobody else goes on with them, run SELECT temporal.adopt() in this database.")));
}
