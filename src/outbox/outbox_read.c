/*-------------------------------------------------------------------------
 *
 * outbox_read.c
 *	  Reading the outbox, for the worker.
 *
 * Nothing here writes, or waits for a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/heartbeats.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"
#include "outbox/snapshot_read.h"

static const ReadTable outbox = {
	TABLE_OUTBOX, OUTBOX_QUEUE_IDX, OUTBOX_QUEUE, OUTBOX_XID, OUTBOX_ID
};

/* Who takes rows of the outbox */
typedef struct Taker
{
	RowConsumer consumer;
	void	   *arg;
	bool		found;			/* at least one */
} Taker;

static bool take_tuple(void *arg, Relation rel, HeapTuple tuple);
static bool count_range(int64 queue, StrategyNumber strategy, uint64 xid, const int64 *id, int64 end, RowCount *count);
static bool open_recorded(RowScan *scan);
static int64 first_of(int64 a, int64 b);
static int64 first_queue_between(RowScan *scan, int64 lower, int64 upper);

bool
tc_outbox_read(int64 queue, ReadPosition *position, RowConsumer consumer, void *arg)
{
	Taker		taker = {consumer, arg};

	return tc_snapshot_read(&outbox, queue, position, take_tuple, &taker);
}

bool
tc_outbox_read_one(int64 id, RowConsumer consumer, void *arg)
{
	RowScan		scan;
	Taker		taker = {consumer, arg};

	tc_row_scan_open(&scan, TABLE_OUTBOX, OUTBOX_PKEY);
	tc_row_scan_key(&scan, OUTBOX_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	(void) tc_row_scan_run(&scan, take_tuple, &taker);
	tc_row_scan_close(&scan);
	return taker.found;
}

int
tc_outbox_count(int64 queue, const ReadPosition *position, int max)
{
	RowCount	count = {0};

	(void) tc_outbox_count_on(queue, position, max, &count);
	return count.rows;
}

bool
tc_outbox_count_on(int64 queue, const ReadPosition *position, int max, RowCount *count)
{
	const ReadSnapshot *done = position->done;
	uint64		from = done != NULL ? done->xmax : 0;
	int64		end = count->rows + max;
	bool		is_last = true;

	if (position->goal != NULL && (done == NULL || position->xip_index >= done->nxip))
		from = Max(from, position->xid);
	if (count->rows == 0)
		return count_range(queue, BTGreaterEqualStrategyNumber, from, NULL, end, count);
	is_last = count_range(queue, BTEqualStrategyNumber, count->xid, &count->id, end, count);
	return is_last && count_range(queue, BTGreaterStrategyNumber, count->xid, NULL, end, count);
}

/* Of transactions that compare so with xid, behind an id if that is given.  False if there are more. */
static bool
count_range(int64 queue, StrategyNumber strategy, uint64 xid, const int64 *id, int64 end, RowCount *count)
{
	RegProcedure compare = strategy == BTEqualStrategyNumber ? F_XID8EQ :
		strategy == BTGreaterStrategyNumber ? F_XID8GT : F_XID8GE;
	RowScan		scan;
	SysScanDesc desc;
	HeapTuple	tuple = NULL;

	tc_row_scan_open(&scan, TABLE_OUTBOX, OUTBOX_QUEUE_IDX);
	tc_row_scan_key(&scan, OUTBOX_QUEUE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(queue));
	tc_row_scan_key(&scan, OUTBOX_XID, strategy, compare, FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
	if (id != NULL)
		tc_row_scan_key(&scan, OUTBOX_ID, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(*id));
	desc = systable_beginscan_ordered(scan.rel, scan.index, GetActiveSnapshot(),
									  scan.nkeys, scan.keys);
	while (count->rows < end && (tuple = systable_getnext_ordered(desc, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		/* where to go on from, and since when the first one waits */
		if (++count->rows == end || count->rows == 1)
		{
			Datum		values[OUTBOX_NATTS];
			bool		nulls[OUTBOX_NATTS];

			tc_row_deform(tuple, scan.rel, TABLE_OUTBOX, values, nulls);
			count->xid = U64FromFullTransactionId(DatumGetFullTransactionId(values[OUTBOX_XID - 1]));
			count->id = DatumGetInt64(values[OUTBOX_ID - 1]);
			if (count->rows == 1)
				count->since = DatumGetTimestampTz(values[OUTBOX_REQUESTED_AT - 1]);
		}
	}
	systable_endscan_ordered(desc);
	tc_row_scan_close(&scan);
	return tuple == NULL;
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

static bool
take_tuple(void *arg, Relation rel, HeapTuple tuple)
{
	Taker	   *taker = arg;
	Datum		values[OUTBOX_NATTS];
	bool		nulls[OUTBOX_NATTS];
	OutboxRow	row;
	bytea	   *request;
	char	   *problem;
	bool		result;

	tc_row_deform(tuple, rel, TABLE_OUTBOX, values, nulls);
	row.xid = U64FromFullTransactionId(DatumGetFullTransactionId(values[OUTBOX_XID - 1]));
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
	row.expires_at = nulls[OUTBOX_EXPIRES_AT - 1] ? 0 :
		DatumGetTimestampTz(values[OUTBOX_EXPIRES_AT - 1]);
	row.is_absent = !nulls[OUTBOX_ERROR_CODE - 1] &&
		strcmp(TextDatumGetCString(values[OUTBOX_ERROR_CODE - 1]), TC_ACTIVITY_NOT_FOUND) == 0;
	if (!tc_row_is_of_its_writer(tuple, values[OUTBOX_WRITTEN_BY - 1]))
	{
		/*
		 * put back from a dump, say: sent up to now, for all that is known
		 */
		row.maybe_sent = true;
		row.next_attempt_at = 0;
	}
	request = tc_stored_bytes(values[OUTBOX_REQUEST - 1], &problem);
	row.request = request ? (const uint8 *) VARDATA_ANY(request) : NULL;
	row.len = request ? VARSIZE_ANY_EXHDR(request) : 0;
	row.problem = problem;
	row.former_identities = nulls[OUTBOX_FORMER_IDENTITIES - 1] ? NULL :
		TextDatumGetCString(values[OUTBOX_FORMER_IDENTITIES - 1]);

	row.recorded_activity = nulls[OUTBOX_RECORDED_ACTIVITY - 1] ? 0 :
		DatumGetInt64(values[OUTBOX_RECORDED_ACTIVITY - 1]);
	row.awaited_key = !nulls[OUTBOX_KEY - 1] && row.recorded_activity == 0 ?
		TextDatumGetCString(values[OUTBOX_KEY - 1]) : NULL;

	taker->found = true;
	result = taker->consumer(taker->arg, &row);
	if (request != NULL && (Pointer) request != DatumGetPointer(values[OUTBOX_REQUEST - 1]))
		pfree(request);
	return result;
}

/*
 * Between each two known queues, which are sorted, look for the first entry
 * of the index that belongs to neither.  Rows are not looked at, so dead ones
 * cost nothing, and damaged ones stop nobody.  A number that is not visible in
 * temporal_internal.queue has no visible rows either, and is looked for again.
 */
FoundQueue *
tc_outbox_find_queues(const int64 *known, int nknown, int64 *position, int max, int *count)
{
	FoundQueue *result = palloc(sizeof(FoundQueue));
	Relation	queues = tc_table_open_nowait(TABLE_QUEUE, AccessShareLock);
	RowScan		scan;
	RowScan		recorded_scan;
	bool		recorded;
	int64		number = *position;
	int			gap = 0;
	int			n = 0;

	if (queues == NULL)
		return NULL;
	tc_row_scan_open(&scan, TABLE_OUTBOX, OUTBOX_QUEUE_IDX);
	recorded = open_recorded(&recorded_scan);
	while (gap < nknown && known[gap] <= number)
		gap++;
	for (; gap <= nknown && max > 0; gap++)
	{
		int64		end = gap < nknown ? known[gap] : PG_INT64_MAX;
		int64		next;

		while (max > 0)
		{
			next = first_queue_between(&scan, number, end);
			if (recorded)
				next = first_of(next, first_queue_between(&recorded_scan, number, end));
			if (next == 0)
				break;
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
	tc_row_scan_close(&scan);
	if (recorded)
		tc_row_scan_close(&recorded_scan);
	table_close(queues, NoLock);
	*position = max > 0 ? 0 : number;
	*count = n;
	return result;
}

/* Recordings with heartbeats; false if there are none, or somebody has locked them. */
static bool
open_recorded(RowScan *scan)
{
	if (tc_recorded_state() != RECORDED_SOME)
		return false;
	tc_row_scan_open(scan, TABLE_RECORDED_ACTIVITY, RECORDED_ACTIVITY_HEARTBEAT_IDX);
	return true;
}

/* The smaller one of two numbers, either of which may be 0: there is none. */
static int64
first_of(int64 a, int64 b)
{
	return a == 0 ? b : b == 0 ? a : Min(a, b);
}

/* The smallest number between these two that has an entry; 0 if there is none. */
static int64
first_queue_between(RowScan *scan, int64 lower, int64 upper)
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
