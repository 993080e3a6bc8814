/*-------------------------------------------------------------------------
 *
 * queue_error.c
 *	  Why all requests of a queue wait, for those who look.
 *
 * One row a queue, written by the worker of the database only.  It waits for
 * nobody who has locked the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "outbox/outbox.h"
#include "outbox/row_write.h"

/* Columns of temporal_internal.queue_error */
enum
{
	QUEUE_ERROR_QUEUE = 1,
	QUEUE_ERROR_CODE,
	QUEUE_ERROR_MESSAGE,
	QUEUE_ERROR_SINCE,
	QUEUE_ERROR_NEXT_ATTEMPT_AT,
	QUEUE_ERROR_NATTS = QUEUE_ERROR_NEXT_ATTEMPT_AT
};

static bool find_row(Relation rel, int64 queue, ItemPointer tid);

bool
tc_outbox_set_queue_error(int64 queue, const char *error_code,
						  const char *error_message, TimestampTz next_attempt_at)
{
	Relation	rel = tc_table_open_nowait(TABLE_QUEUE_ERROR, RowExclusiveLock);
	Datum		values[QUEUE_ERROR_NATTS] = {0};
	bool		nulls[QUEUE_ERROR_NATTS] = {false};
	bool		replace[QUEUE_ERROR_NATTS] = {false};
	ItemPointerData tid;
	bool		found;

	if (rel == NULL)
		return false;
	found = find_row(rel, queue, &tid);
	if (error_code != NULL)
	{
		values[QUEUE_ERROR_QUEUE - 1] = Int64GetDatum(queue);
		values[QUEUE_ERROR_CODE - 1] = CStringGetTextDatum(error_code);
		values[QUEUE_ERROR_MESSAGE - 1] = CStringGetTextDatum(error_message);
		values[QUEUE_ERROR_SINCE - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		values[QUEUE_ERROR_NEXT_ATTEMPT_AT - 1] = TimestampTzGetDatum(next_attempt_at);
		replace[QUEUE_ERROR_CODE - 1] = true;
		replace[QUEUE_ERROR_MESSAGE - 1] = true;
		replace[QUEUE_ERROR_NEXT_ATTEMPT_AT - 1] = true;
	}
	if (error_code != NULL && found)
		tc_row_update(rel, TABLE_QUEUE_ERROR, &tid, values, nulls, replace);
	else if (error_code != NULL)
		tc_row_insert(rel, TABLE_QUEUE_ERROR, values, nulls);
	else if (found)
		tc_row_delete(rel, TABLE_QUEUE_ERROR, &tid);
	table_close(rel, NoLock);
	return true;
}

static bool
find_row(Relation rel, int64 queue, ItemPointer tid)
{
	Oid			index = tc_table_index(rel, TABLE_QUEUE_ERROR, QUEUE_ERROR_PKEY);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, QUEUE_ERROR_QUEUE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(queue));
	scan = systable_beginscan(rel, index, OidIsValid(index), GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	found = tuple != NULL;
	if (found)
		*tid = tuple->t_self;
	systable_endscan(scan);
	return found;
}

bool
tc_outbox_clear_queue_errors(void)
{
	Relation	rel = tc_table_open_nowait(TABLE_QUEUE_ERROR, RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	tuple;

	if (rel == NULL)
		return false;
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
		tc_row_delete(rel, TABLE_QUEUE_ERROR, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
	return true;
}
