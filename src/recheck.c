/*-------------------------------------------------------------------------
 *
 * recheck.c
 *	  Requests that wait, of which a user has changed the row.
 *
 * retry_request() and discard_request() put the id of a request that waits
 * into temporal.recheck, and wake the worker with a bit of its own, so that
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

#include "access/table.h"
#include "executor/spi.h"

#include "event_loop.h"
#include "queue.h"
#include "recheck.h"
#include "tables.h"

/* So many are looked at in one transaction */
#define RECHECKS_AT_ONCE 1000

/* Come back after that long when somebody has locked the table */
#define LOCKED_MS 1000

static bool wanted;
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;

static void timer_due(void *arg);

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
	bool		isnull;

	if (rel == NULL)
	{
		not_before = tc_monotonic_ms() + LOCKED_MS;
		tc_timer_set(&timer, not_before, timer_due, NULL);
		return;
	}
	SPI_connect();
	if (SPI_execute("DELETE FROM temporal.recheck WHERE ctid OPERATOR(pg_catalog.=) ANY"
					" (ARRAY(SELECT r.ctid FROM temporal.recheck r LIMIT " CppAsString2(RECHECKS_AT_ONCE) "))"
					" RETURNING id", false, 0) != SPI_OK_DELETE_RETURNING)
		elog(ERROR, "could not read which requests are to be looked at");
	for (uint64 i = 0; i < SPI_processed; i++)
		tc_queue_retry_now(DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
													   1, &isnull)));
	wanted = SPI_processed == RECHECKS_AT_ONCE;
	SPI_finish();
	table_close(rel, NoLock);
}

/* The timer only wakes the loop. */
static void
timer_due(void *arg)
{
}
