/*-------------------------------------------------------------------------
 *
 * heartbeats.c
 *	  Recorded activities for which heartbeats are sent, for the worker.
 *
 * They are read by difference of snapshots, as requests are, and then again
 * for each heartbeat, where they were found before: so a recording counts as
 * long as its row is there, whatever removed it, and nothing of what it says
 * has to be kept in memory.
 *
 * Nothing here writes, or waits for a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/heartbeats.h"
#include "outbox/recorded_row.h"
#include "outbox/snapshot_read.h"

static const ReadTable recorded = {
	TABLE_RECORDED_ACTIVITY, RECORDED_ACTIVITY_HEARTBEAT_IDX,
	RECORDED_ACTIVITY_HEARTBEAT_QUEUE, RECORDED_ACTIVITY_XID, RECORDED_ACTIVITY_ID
};

/* Who takes rows */
typedef struct Taker
{
	HeartbeatConsumer consumer;
	void	   *arg;
	bool		found;			/* at least one */
} Taker;

static bool take_tuple(void *arg, Relation rel, HeapTuple tuple);
static void look_for_queues(HeartbeatRows *rows, const QueueKey *key);
static bool is_row(const HeartbeatRows *rows, HeapTuple tuple, int64 queue, int64 id);
static int64 to_ms(const Interval *interval);

RecordedState
tc_recorded_state(void)
{
	Relation	rel = tc_table_open_nowait(TABLE_RECORDED_ACTIVITY, AccessShareLock);
	BlockNumber nblocks;

	if (rel == NULL)
		return RECORDED_LOCKED;
	if (!OidIsValid(tc_table_index(rel, TABLE_RECORDED_ACTIVITY, RECORDED_ACTIVITY_HEARTBEAT_IDX)))
	{
		table_close(rel, NoLock);
		return RECORDED_LOCKED;
	}
	nblocks = RelationGetNumberOfBlocks(rel);
	table_close(rel, NoLock);
	return nblocks > 0 ? RECORDED_SOME : RECORDED_NONE;
}

bool
tc_heartbeats_read(int64 queue, ReadPosition *position, HeartbeatConsumer consumer, void *arg)
{
	Taker		taker = {consumer, arg};

	return tc_snapshot_read(&recorded, queue, position, take_tuple, &taker);
}

void
tc_heartbeat_rows_open(HeartbeatRows *rows)
{
	tc_row_scan_open(&rows->scan, TABLE_RECORDED_ACTIVITY, RECORDED_ACTIVITY_HEARTBEAT_IDX);
	rows->nqueues = -1;
	rows->nblocks = RelationGetNumberOfBlocks(rows->scan.rel);
	rows->slot = table_slot_create(rows->scan.rel, NULL);
}

void
tc_heartbeat_rows_close(HeartbeatRows *rows)
{
	ExecDropSingleTupleTableSlot(rows->slot);
	tc_row_scan_close(&rows->scan);
}

bool
tc_heartbeat_row(HeartbeatRows *rows, int64 queue, uint64 xid, int64 id, ItemPointer tid,
				 HeartbeatConsumer consumer, void *arg)
{
	Taker		taker = {consumer, arg};

	if (ItemPointerGetBlockNumber(tid) < rows->nblocks &&
		table_tuple_fetch_row_version(rows->scan.rel, tid, GetActiveSnapshot(), rows->slot))
	{
		bool		should_free;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(rows->slot, false, &should_free);
		bool		is_it = is_row(rows, tuple, queue, id);

		if (is_it)
			(void) take_tuple(&taker, rows->scan.rel, tuple);
		if (should_free)
			heap_freetuple(tuple);
		ExecClearTuple(rows->slot);
		if (is_it)
			return true;
	}

	/* gone, or moved by VACUUM FULL, say */
	rows->scan.nkeys = 0;
	tc_row_scan_key(&rows->scan, RECORDED_ACTIVITY_HEARTBEAT_QUEUE, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(queue));
	tc_row_scan_key(&rows->scan, RECORDED_ACTIVITY_XID, BTEqualStrategyNumber, F_XID8EQ,
					FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
	tc_row_scan_key(&rows->scan, RECORDED_ACTIVITY_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	(void) tc_row_scan_run(&rows->scan, take_tuple, &taker);
	return taker.found;
}

bool
tc_heartbeat_is_replaced(HeartbeatRows *rows, const HeartbeatRow *row, const QueueKey *key)
{
	Oid			index = tc_table_index(rows->scan.rel, TABLE_RECORDED_ACTIVITY, RECORDED_ACTIVITY_KEY_IDX);
	bool		result = false;

	if (rows->nqueues < 0)
		look_for_queues(rows, key);
	for (int i = 0; i < rows->nqueues && !result && OidIsValid(index); i++)
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&keys[0], RECORDED_ACTIVITY_QUEUE, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(rows->queues[i].number));
		ScanKeyInit(&keys[1], RECORDED_ACTIVITY_KEY, BTEqualStrategyNumber, F_TEXTEQ, row->key);
		scan = systable_beginscan(rows->scan.rel, index, true, GetActiveSnapshot(), 2, keys);
		while (!result && (tuple = systable_getnext(scan)) != NULL)
		{
			bool		isnull;

			result = DatumGetInt64(heap_getattr(tuple, RECORDED_ACTIVITY_ID,
												RelationGetDescr(rows->scan.rel), &isnull)) > row->id;
		}
		systable_endscan(scan);
	}
	return result;
}

/* All that have the same keys.  None if somebody has locked their table. */
static void
look_for_queues(HeartbeatRows *rows, const QueueKey *key)
{
	Relation	rel = tc_table_open_nowait(TABLE_QUEUE, AccessShareLock);

	rows->nqueues = 0;
	if (rel == NULL)
		return;
	rows->queues = tc_own_queues(key, &rows->nqueues);
	table_close(rel, NoLock);
}

static bool
is_row(const HeartbeatRows *rows, HeapTuple tuple, int64 queue, int64 id)
{
	TupleDesc	desc = RelationGetDescr(rows->scan.rel);
	bool		isnull;
	Datum		datum = heap_getattr(tuple, RECORDED_ACTIVITY_ID, desc, &isnull);

	if (isnull || DatumGetInt64(datum) != id)
		return false;
	datum = heap_getattr(tuple, RECORDED_ACTIVITY_HEARTBEAT_QUEUE, desc, &isnull);
	return !isnull && DatumGetInt64(datum) == queue;
}

static bool
take_tuple(void *arg, Relation rel, HeapTuple tuple)
{
	Taker	   *taker = arg;
	Datum		values[RECORDED_ACTIVITY_NATTS];
	bool		nulls[RECORDED_ACTIVITY_NATTS];
	HeartbeatRow row;
	bytea	   *heartbeat;
	char	   *problem;
	bool		result;

	tc_row_deform(tuple, rel, TABLE_RECORDED_ACTIVITY, values, nulls);
#define GET(attr) (values[RECORDED_ACTIVITY_##attr - 1])
#define IS_NULL(attr) (nulls[RECORDED_ACTIVITY_##attr - 1])
	row.id = DatumGetInt64(GET(ID));
	row.xid = U64FromFullTransactionId(DatumGetFullTransactionId(GET(XID)));
	row.tid = tuple->t_self;
	row.key = GET(KEY);
	row.identity.id = row.id;
	row.identity.xid = row.xid;
	row.identity.requested_at = DatumGetTimestampTz(GET(RECORDED_AT));
	row.method = DatumGetInt16(GET(METHOD));
	row.expires_at = IS_NULL(EXPIRES_AT) ? DT_NOEND : DatumGetTimestampTz(GET(EXPIRES_AT));
	row.interval_ms = IS_NULL(HEARTBEAT_INTERVAL) ? 0 : to_ms(DatumGetIntervalP(GET(HEARTBEAT_INTERVAL)));
	row.session = IS_NULL(SESSION) ? 0 : DatumGetInt64(GET(SESSION));
	heartbeat = tc_stored_bytes(GET(HEARTBEAT), &problem);
	row.heartbeat = heartbeat != NULL ? (const uint8 *) VARDATA_ANY(heartbeat) : NULL;
	row.len = heartbeat != NULL ? VARSIZE_ANY_EXHDR(heartbeat) : 0;
#undef GET
#undef IS_NULL
	taker->found = true;
	result = taker->consumer(taker->arg, &row);
	if (heartbeat != NULL && (Pointer) heartbeat != DatumGetPointer(values[RECORDED_ACTIVITY_HEARTBEAT - 1]))
		pfree(heartbeat);
	return result;
}

/* Checked when it was recorded; somebody may have changed the row. */
static int64
to_ms(const Interval *interval)
{
	double		ms = (interval->month * 30.0 + interval->day) * 86400000.0 + interval->time / 1000.0;

	return (int64) Max(1000.0, Min(ms, 365 * 86400000.0));
}
