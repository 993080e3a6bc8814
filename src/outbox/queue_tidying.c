/*-------------------------------------------------------------------------
 *
 * queue_tidying.c
 *	  Taking rows away from temporal_internal.queue that nothing refers to any more.
 *
 * Anybody who may name namespaces can make any number of queues.  A row may
 * go only when no request can be given its number, and no row of a request
 * has it: requests without a row here are sent by nobody.  So, in this order,
 * which must not be changed:
 *
 * 1. It is retired (unused_since = infinity), if it has no requests that wait
 *	  or were rejected.  tc_queue_number() passes over such a row, and the
 *	  invalidation that is sent at commit makes sessions forget its number.
 * 2. When all transactions have ended that had their ids by then, which the
 *	  caller sees to, nobody can use the number any more: tc_queue_number()
 *	  takes the messages after it has an id.  What used it before is committed
 *	  now, or never will be.  From here on the rows that have the number only
 *	  move, from temporal_internal.outbox and temporal_internal.rejected to temporal_internal.delivery.
 * 3. If it has no requests that wait or were rejected even so, all that will
 *	  ever be are in temporal_internal.delivery already: that time is noted.
 * 4. When all segments of temporal_internal.delivery were begun, that is truncated,
 *	  since then, nothing refers to the row, and it is deleted.
 *
 * So nobody is made to wait, temporal_internal.delivery is not read, and requests cost
 * nothing.  Times are compared with none but those of the segments, so a clock
 * that is put back or forward does no harm.  A crash at any point leaves one of
 * these states, and the next worker goes on.
 *
 * Queues of other origins are left alone: their requests may yet come, by
 * logical replication or from a dump.  Nothing here waits for others: rows and
 * tables that somebody has locked have their turn later.  Only the worker of
 * the database calls this.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"

/* So many pages, of some 80 rows each, need not be tidied up */
#define FEW_PAGES 16

/* Entries of the index that are looked at in one step */
#define STEP_MAX 500

/*
 * Entries of a number that are looked at to find a row: if so many are of dead
 * rows it counts as used until they were removed.
 */
#define LOOK_MAX 64

/* The number is the first column of each index that is used here. */
#define INDEX_COLUMN 1

typedef struct Tidying
{
	Relation	queue;
	Relation	outbox;
	Relation	outbox_index;
	Relation	rejected;
	Relation	rejected_index;
	Relation	activity;		/* recorded ones */
	Relation	activity_index;
	TupleTableSlot *row;		/* of temporal_internal.queue */
	TupleTableSlot *outbox_row;
	TupleTableSlot *rejected_row;
	TupleTableSlot *activity_row;
} Tidying;

/* A row that was found */
typedef struct Candidate
{
	int64		number;
	ItemPointerData tid;
	bool		in_use;			/* unused_since is null */
	TimestampTz unused_since;
} Candidate;

static bool tidying_open(Tidying *tidying);
static void tidying_close(Tidying *tidying);
static Relation open_index(Relation rel, TableId id, int number);
static Candidate *next_candidates(Tidying *tidying, int64 *position, int *count);
static bool has_requests(const Tidying *tidying, int64 number);
static bool has_row(Relation rel, Relation index, TupleTableSlot *slot, int64 number);
static bool lock_row(Tidying *tidying, const Candidate *candidate);
static bool set_unused_since(Tidying *tidying, const Candidate *candidate, TimestampTz since);

bool
tc_queues_are_many(void)
{
	Relation	rel = tc_table_open_nowait(TABLE_QUEUE, AccessShareLock);
	bool		result;

	if (rel == NULL)
		return true;
	result = RelationGetNumberOfBlocks(rel) > FEW_PAGES;
	table_close(rel, NoLock);
	return result;
}

bool
tc_queues_retire(int64 *position)
{
	Tidying		tidying;
	Candidate  *candidates;
	int			count;
	bool		retired = false;

	if (!tidying_open(&tidying))
		return false;
	candidates = next_candidates(&tidying, position, &count);
	for (int i = 0; i < count; i++)
		if (candidates[i].in_use && !has_requests(&tidying, candidates[i].number))
			retired |= set_unused_since(&tidying, &candidates[i], DT_NOEND);
	if (retired)
		CacheInvalidateRelcache(tidying.queue);
	tidying_close(&tidying);
	return true;
}

bool
tc_queues_remove(int64 *position)
{
	Tidying		tidying;
	Candidate  *candidates;
	int			count;
	TimestampTz first_segment;
	TimestampTz last_segment;

	if (!tc_delivery_begun(&first_segment, &last_segment) || !tidying_open(&tidying))
		return false;
	candidates = next_candidates(&tidying, position, &count);
	for (int i = 0; i < count; i++)
	{
		Candidate  *candidate = &candidates[i];
		TimestampTz now = Max(GetCurrentTimestamp(), last_segment);

		if (candidate->in_use)
			continue;
		if (has_requests(&tidying, candidate->number))
		{
			/* somebody has put back what a dump had */
			if (candidate->unused_since != DT_NOEND)
				(void) set_unused_since(&tidying, candidate, DT_NOEND);
		}
		/* also if the clock was put back */
		else if (candidate->unused_since > now)
			(void) set_unused_since(&tidying, candidate, now);
		else if (candidate->unused_since < first_segment && lock_row(&tidying, candidate))
			tc_row_delete(tidying.queue, TABLE_QUEUE, &candidate->tid);
	}
	tidying_close(&tidying);
	return true;
}

/* False if a table is locked, or has lost an index without which this would take too long. */
static bool
tidying_open(Tidying *tidying)
{
	memset(tidying, 0, sizeof(Tidying));
	tidying->queue = tc_table_open_nowait(TABLE_QUEUE, RowExclusiveLock);
	if (tidying->queue != NULL)
		tidying->outbox = tc_table_open_nowait(TABLE_OUTBOX, AccessShareLock);
	if (tidying->outbox != NULL)
		tidying->rejected = tc_table_open_nowait(TABLE_REJECTED, AccessShareLock);
	if (tidying->rejected != NULL)
		tidying->activity = tc_table_open_nowait(TABLE_RECORDED_ACTIVITY, AccessShareLock);
	if (tidying->activity != NULL &&
		OidIsValid(tc_table_index(tidying->queue, TABLE_QUEUE, QUEUE_PKEY)))
	{
		tidying->outbox_index = open_index(tidying->outbox, TABLE_OUTBOX, OUTBOX_QUEUE_IDX);
		tidying->rejected_index = open_index(tidying->rejected, TABLE_REJECTED, REJECTED_QUEUE_IDX);
		tidying->activity_index = open_index(tidying->activity, TABLE_RECORDED_ACTIVITY,
											 RECORDED_ACTIVITY_KEY_IDX);
	}
	if (tidying->outbox_index == NULL || tidying->rejected_index == NULL ||
		tidying->activity_index == NULL)
	{
		tidying_close(tidying);
		return false;
	}
	tidying->row = table_slot_create(tidying->queue, NULL);
	tidying->outbox_row = table_slot_create(tidying->outbox, NULL);
	tidying->rejected_row = table_slot_create(tidying->rejected, NULL);
	tidying->activity_row = table_slot_create(tidying->activity, NULL);
	return true;
}

static Relation
open_index(Relation rel, TableId id, int number)
{
	Oid			index = tc_table_index(rel, id, number);

	return OidIsValid(index) ? index_open(index, AccessShareLock) : NULL;
}

static void
tidying_close(Tidying *tidying)
{
	if (tidying->row != NULL)
	{
		ExecDropSingleTupleTableSlot(tidying->row);
		ExecDropSingleTupleTableSlot(tidying->outbox_row);
		ExecDropSingleTupleTableSlot(tidying->rejected_row);
		ExecDropSingleTupleTableSlot(tidying->activity_row);
	}
	if (tidying->activity_index != NULL)
		index_close(tidying->activity_index, NoLock);
	if (tidying->rejected_index != NULL)
		index_close(tidying->rejected_index, NoLock);
	if (tidying->outbox_index != NULL)
		index_close(tidying->outbox_index, NoLock);
	if (tidying->activity != NULL)
		table_close(tidying->activity, NoLock);
	if (tidying->rejected != NULL)
		table_close(tidying->rejected, NoLock);
	if (tidying->outbox != NULL)
		table_close(tidying->outbox, NoLock);
	if (tidying->queue != NULL)
		table_close(tidying->queue, NoLock);
}

/*
 * The next rows that were made here, palloc'd.  Entries of the index are
 * counted, also those of dead rows, so a step takes no longer after many were
 * deleted.
 */
static Candidate *
next_candidates(Tidying *tidying, int64 *position, int *count)
{
	Relation	index = index_open(tc_table_index(tidying->queue, TABLE_QUEUE, QUEUE_PKEY),
								   AccessShareLock);
	Candidate  *result = palloc(STEP_MAX * sizeof(Candidate));
	ScanKeyData key;
	IndexScanDesc scan;
	ItemPointer tid;
	int			nseen = 0;
	int			nfound = 0;

	/* no number is 0, which is the beginning */
	ScanKeyInit(&key, INDEX_COLUMN, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(*position == 0 ? PG_INT64_MIN : *position));
	scan = tc_index_beginscan(tidying->queue, index, GetActiveSnapshot(), 1);
	scan->xs_want_itup = true;
	index_rescan(scan, &key, 1, NULL, 0);
	*position = 0;
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		Datum		values[QUEUE_NATTS];
		bool		nulls[QUEUE_NATTS];
		bool		isnull;
		bool		should_free;
		HeapTuple	tuple;
		int64		number = DatumGetInt64(index_getattr(scan->xs_itup, INDEX_COLUMN,
														 scan->xs_itupdesc, &isnull));

		/* all versions of a row are looked at in one step */
		if ((nseen >= STEP_MAX && number != *position) || nfound == STEP_MAX)
			break;
		nseen++;
		*position = number;
		if (!index_fetch_heap(scan, tidying->row))
			continue;
		tuple = ExecFetchSlotHeapTuple(tidying->row, false, &should_free);
		tc_row_deform(tuple, tidying->queue, TABLE_QUEUE, values, nulls);
		if (tc_is_made_here(DatumGetInt64(values[QUEUE_SYSTEM_IDENTIFIER - 1]),
							DatumGetObjectId(values[QUEUE_DATABASE - 1])))
		{
			Candidate  *candidate = &result[nfound++];

			candidate->number = number;
			candidate->tid = tuple->t_self;
			candidate->in_use = nulls[QUEUE_UNUSED_SINCE - 1];
			candidate->unused_since = DatumGetTimestampTz(values[QUEUE_UNUSED_SINCE - 1]);
		}
		if (should_free)
			heap_freetuple(tuple);
	}
	if (tid == NULL)
		*position = 0;
	ExecClearTuple(tidying->row);
	index_endscan(scan);
	index_close(index, NoLock);
	*count = nfound;
	return result;
}

static bool
has_requests(const Tidying *tidying, int64 number)
{
	return has_row(tidying->outbox, tidying->outbox_index, tidying->outbox_row, number) ||
		has_row(tidying->rejected, tidying->rejected_index, tidying->rejected_row, number) ||
		has_row(tidying->activity, tidying->activity_index, tidying->activity_row, number);
}

static bool
has_row(Relation rel, Relation index, TupleTableSlot *slot, int64 number)
{
	IndexScanDesc scan = tc_index_beginscan(rel, index, GetActiveSnapshot(), 1);
	ScanKeyData key;
	bool		found = false;

	ScanKeyInit(&key, INDEX_COLUMN, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	index_rescan(scan, &key, 1, NULL, 0);
	for (int i = 0; !found && index_getnext_tid(scan, ForwardScanDirection) != NULL; i++)
		found = i == LOOK_MAX || index_fetch_heap(scan, slot);
	ExecClearTuple(slot);
	index_endscan(scan);
	return found;
}

/* False if somebody else is changing it: rebind_server() does. */
static bool
lock_row(Tidying *tidying, const Candidate *candidate)
{
	ItemPointerData tid = candidate->tid;
	TM_FailureData failure;
	bool		locked;

	locked = table_tuple_lock(tidying->queue, &tid, GetActiveSnapshot(), tidying->row,
							  GetCurrentCommandId(true), LockTupleExclusive, LockWaitSkip,
							  0, &failure) == TM_Ok;
	ExecClearTuple(tidying->row);
	return locked;
}

static bool
set_unused_since(Tidying *tidying, const Candidate *candidate, TimestampTz since)
{
	Datum		values[QUEUE_NATTS] = {0};
	bool		nulls[QUEUE_NATTS] = {false};
	bool		replace[QUEUE_NATTS] = {false};
	ItemPointerData tid = candidate->tid;

	if (!lock_row(tidying, candidate))
		return false;
	values[QUEUE_UNUSED_SINCE - 1] = TimestampTzGetDatum(since);
	replace[QUEUE_UNUSED_SINCE - 1] = true;
	tc_row_update(tidying->queue, TABLE_QUEUE, &tid, values, nulls, replace);
	return true;
}
