/*-------------------------------------------------------------------------
 *
 * heartbeat_answers.c
 *	  What was answered to the heartbeats of recorded activities.
 *
 * temporal_internal.heartbeat_answer has a row for a recording to whose heartbeats
 * something else was answered than that all is well, and says why no more are
 * sent, if so.  It is written when that changes, by the worker alone: the rows
 * of recordings themselves belong to sessions, who wait for each other there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/heartbeats.h"
#include "outbox/row_write.h"
#include "outbox/table_pass.h"

/* Pages that are looked at in one step of tidying */
#define TIDY_BLOCKS 20

/* Columns of temporal_internal.heartbeat_answer */
enum
{
	ANSWER_ID = 1,
	ANSWER_QUEUE,
	ANSWER_XID,
	ANSWER_ANSWERED_AT,
	ANSWER_CANCEL_REQUESTED,
	ANSWER_ACTIVITY_PAUSED,
	ANSWER_ACTIVITY_RESET,
	ANSWER_ERROR_CODE,
	ANSWER_NATTS = ANSWER_ERROR_CODE
};

static void remove_if_not_recorded(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);
static HeapTuple find_answer(Relation rel, int64 id);
static bool is_there(void *arg, const HeartbeatRow *row);

bool
tc_heartbeat_answer_find(int64 id, HeartbeatReply *reply, bool *ended)
{
	Relation	rel = tc_table_open_nowait(TABLE_HEARTBEAT_ANSWER, AccessShareLock);
	HeapTuple	tuple = NULL;
	Datum		values[ANSWER_NATTS];
	bool		nulls[ANSWER_NATTS];

	if (rel == NULL)
		return false;
	if (RelationGetNumberOfBlocks(rel) > 0)
		tuple = find_answer(rel, id);
	if (tuple != NULL)
	{
		tc_row_deform(tuple, rel, TABLE_HEARTBEAT_ANSWER, values, nulls);
		reply->cancel_requested = DatumGetBool(values[ANSWER_CANCEL_REQUESTED - 1]);
		reply->activity_paused = DatumGetBool(values[ANSWER_ACTIVITY_PAUSED - 1]);
		reply->activity_reset = DatumGetBool(values[ANSWER_ACTIVITY_RESET - 1]);
		*ended = !nulls[ANSWER_ERROR_CODE - 1];
		heap_freetuple(tuple);
	}
	table_close(rel, NoLock);
	return tuple != NULL;
}

char *
tc_heartbeat_answer_error(int64 id)
{
	Relation	rel = tc_table_open_nowait(TABLE_HEARTBEAT_ANSWER, AccessShareLock);
	HeapTuple	tuple = NULL;
	Datum		values[ANSWER_NATTS];
	bool		nulls[ANSWER_NATTS];
	char	   *result = NULL;

	if (rel == NULL)
		return NULL;
	if (RelationGetNumberOfBlocks(rel) > 0)
		tuple = find_answer(rel, id);
	if (tuple != NULL)
	{
		tc_row_deform(tuple, rel, TABLE_HEARTBEAT_ANSWER, values, nulls);
		if (!nulls[ANSWER_ERROR_CODE - 1])
			result = TextDatumGetCString(values[ANSWER_ERROR_CODE - 1]);
		heap_freetuple(tuple);
	}
	table_close(rel, NoLock);
	return result;
}

bool
tc_heartbeat_answers_put(const HeartbeatAnswer *answers, int count)
{
	Relation	rel = tc_table_open_nowait(TABLE_HEARTBEAT_ANSWER, RowExclusiveLock);

	if (rel == NULL)
		return false;
	for (int i = 0; i < count; i++)
	{
		const HeartbeatAnswer *answer = &answers[i];
		HeapTuple	old = find_answer(rel, answer->id);
		Datum		values[ANSWER_NATTS] = {0};
		bool		nulls[ANSWER_NATTS] = {false};

		if (old != NULL)
			tc_row_delete(rel, TABLE_HEARTBEAT_ANSWER, &old->t_self);
		values[ANSWER_ID - 1] = Int64GetDatum(answer->id);
		values[ANSWER_QUEUE - 1] = Int64GetDatum(answer->queue);
		values[ANSWER_XID - 1] = FullTransactionIdGetDatum(FullTransactionIdFromU64(answer->xid));
		values[ANSWER_ANSWERED_AT - 1] = TimestampTzGetDatum(answer->at);
		values[ANSWER_CANCEL_REQUESTED - 1] = BoolGetDatum(answer->reply.cancel_requested);
		values[ANSWER_ACTIVITY_PAUSED - 1] = BoolGetDatum(answer->reply.activity_paused);
		values[ANSWER_ACTIVITY_RESET - 1] = BoolGetDatum(answer->reply.activity_reset);
		nulls[ANSWER_ERROR_CODE - 1] = answer->error_code == NULL;
		if (answer->error_code != NULL)
			values[ANSWER_ERROR_CODE - 1] = CStringGetTextDatum(answer->error_code);
		tc_row_insert(rel, TABLE_HEARTBEAT_ANSWER, values, nulls);
		/* the next one may be of the same recording */
		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
	}
	table_close(rel, NoLock);
	return true;
}

bool
tc_heartbeat_answers_tidy(BlockNumber *block)
{
	Relation	rel = tc_table_open_nowait(TABLE_HEARTBEAT_ANSWER, RowExclusiveLock);
	HeartbeatRows rows;

	if (rel == NULL)
		return false;
	if (tc_recorded_state() == RECORDED_LOCKED)
	{
		table_close(rel, NoLock);
		return false;
	}
	tc_heartbeat_rows_open(&rows);
	tc_table_pass(rel, block, TIDY_BLOCKS, remove_if_not_recorded, &rows);
	tc_heartbeat_rows_close(&rows);
	table_close(rel, NoLock);
	return true;
}

static void
remove_if_not_recorded(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg)
{
	HeartbeatRows *rows = arg;
	ItemPointerData nowhere;
	bool		isnull;

	ItemPointerSet(&nowhere, InvalidBlockNumber, FirstOffsetNumber);
	if (!tc_heartbeat_row(rows, DatumGetInt64(slot_getattr(slot, ANSWER_QUEUE, &isnull)),
						  U64FromFullTransactionId(DatumGetFullTransactionId(slot_getattr(slot, ANSWER_XID, &isnull))),
						  DatumGetInt64(slot_getattr(slot, ANSWER_ID, &isnull)),
						  &nowhere, is_there, NULL))
	{
		ExecClearTuple(slot);
		tc_row_delete(rel, TABLE_HEARTBEAT_ANSWER, tid);
	}
}

static bool
is_there(void *arg, const HeartbeatRow *row)
{
	return false;
}

/* A copy; NULL if there is none. */
static HeapTuple
find_answer(Relation rel, int64 id)
{
	Oid			index = tc_table_index(rel, TABLE_HEARTBEAT_ANSWER, HEARTBEAT_ANSWER_PKEY);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, ANSWER_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = systable_beginscan(rel, index, OidIsValid(index), GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}
