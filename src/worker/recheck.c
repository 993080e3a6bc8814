/*-------------------------------------------------------------------------
 *
 * recheck.c
 *	  Requests that wait, of which a user has changed the row.
 *
 * retry_request() and discard_request() put the id of a request that waits
 * into temporal_internal.recheck, and wake the worker with a bit of its own, so that
 * it looks at exactly these: others keep their times.  What became of the row
 * is seen when it is read again, as for each retry.
 *
 * A table, not shared memory, because so many ids have room in it as there
 * may be, and none is forgotten when the worker is replaced meanwhile or the
 * transaction is a prepared one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "utils/snapmgr.h"

#include "base/event_loop.h"
#include "outbox/row_write.h"
#include "worker/key_waits.h"
#include "worker/queue.h"
#include "worker/recheck.h"

/* Columns of temporal_internal.recheck */
enum
{
	RECHECK_ID = 1,
	RECHECK_NATTS = RECHECK_ID
};

/* So many are looked at in one transaction */
#define RECHECKS_AT_ONCE 1000

/* Come back after that long when somebody has locked the table */
#define LOCKED_MS 1000

static bool wanted;
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;


void
tc_recheck_want(void)
{
	wanted = true;
}

bool
tc_recheck_is_wanted(void)
{
	return wanted && not_before <= tc_monotonic_ms();
}

void
tc_recheck_work(void)
{
	Relation	rel = tc_table_open_nowait(TABLE_RECHECK, RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	int			count = 0;

	if (rel == NULL)
	{
		not_before = tc_monotonic_ms() + LOCKED_MS;
		tc_timer_wake(&timer, not_before);
		return;
	}
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (count < RECHECKS_AT_ONCE && (tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[RECHECK_NATTS];
		bool		nulls[RECHECK_NATTS];

		tc_row_deform(tuple, rel, TABLE_RECHECK, values, nulls);
		tc_row_delete(rel, TABLE_RECHECK, &tuple->t_self);
		if (tc_request_by_id(DatumGetInt64(values[RECHECK_ID - 1])) == NULL)
			tc_key_waits_look();
		tc_request_retry_now(DatumGetInt64(values[RECHECK_ID - 1]));
		count++;
	}
	wanted = count == RECHECKS_AT_ONCE;
	systable_endscan(scan);
	table_close(rel, NoLock);
}
