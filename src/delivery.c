/*-------------------------------------------------------------------------
 *
 * delivery.c
 *	  The segments of temporal.delivery, and what is in them.
 *
 * Outcomes older than temporal_complete.retention go without DELETE and
 * without bloat: four segments are filled in turn, each for a third of the
 * retention, and a segment is truncated when its turn comes again.  What is
 * truncated then was recorded at least a retention ago.
 *
 * The index on ids is a BRIN index: it has an entry for a range of pages, made
 * when they are full.  Only rows in the last pages are searched one by one.
 *
 * Only the worker of the database does this.  It must never wait for others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "event_loop.h"
#include "outbox.h"
#include "temporal_complete.h"

#define SEGMENTS 4

/* Come back after that long when a reader holds the next segment */
#define BUSY_DELAY_MS 60000

/* As in the install script */
#define PAGES_PER_RANGE 16

/* So many ranges are summarized at once: a new worker begins with the first one */
#define SUMMARIZED_AT_ONCE 64

/* Come back after that long when a segment could not be summarized */
#define SUMMARY_RETRY_MS 1000

/* The segment as the worker knows it; -1 before the first look */
static int	filled_segment = -1;

/* Ranges of pages of the segment that is being filled */
static Oid	growing_segment = InvalidOid;
static BlockNumber full_ranges = 0;
static BlockNumber summarized_ranges = 0;
static int64 summarize_not_before = 0;	/* monotonic ms */

static void
current_segment(int *segment, TimestampTz *since)
{
	bool		isnull;

	/* a logical subscriber has the row of its publisher, too */
	if (SPI_execute("SELECT segment, since FROM temporal.delivery_segment ORDER BY since DESC",
					true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("temporal.delivery_segment is empty"),
				 errhint("Insert the row (0, now()) into it.")));
	*segment = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	*since = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
}

int
tc_delivery_segment(void)
{
	if (filled_segment < 0)
	{
		TimestampTz since;

		SPI_connect();
		current_segment(&filled_segment, &since);
		SPI_finish();
	}
	return filled_segment;
}

TimestampTz
tc_delivery_rotate(void)
{
	int64		period_ms = (int64) tc_retention * 1000 / (SEGMENTS - 1);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due;
	int			segment;
	TimestampTz since;

	SPI_connect();
	current_segment(&segment, &since);
	if (since > now)
	{
		/* the clock was put back: the segment's time begins anew */
		if (SPI_execute("UPDATE temporal.delivery_segment SET since = pg_catalog.now()",
						false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "could not correct the time of a segment of temporal.delivery");
		since = now;
	}
	due = TimestampTzPlusMilliseconds(since, period_ms);
	if (due <= now)
	{
		int			next = (segment + 1) % SEGMENTS;
		char		name[NAMEDATALEN];
		char		statement[128];

		snprintf(name, sizeof(name), "delivery_%d", next);
		if (ConditionalLockRelationOid(tc_relation_oid(name), AccessExclusiveLock))
		{
			snprintf(statement, sizeof(statement), "TRUNCATE temporal.%s", name);
			if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
				elog(ERROR, "could not truncate the next segment of temporal.delivery");
			snprintf(statement, sizeof(statement),
					 "UPDATE temporal.delivery_segment SET segment = %d, since = pg_catalog.now()",
					 next);
			if (SPI_execute(statement, false, 0) != SPI_OK_UPDATE)
				elog(ERROR, "could not begin the next segment of temporal.delivery");
			segment = next;
			due = TimestampTzPlusMilliseconds(now, period_ms);
		}
		else
			due = TimestampTzPlusMilliseconds(now, BUSY_DELAY_MS);
	}
	SPI_finish();
	filled_segment = segment;
	return due;
}

bool
tc_delivery_has_grown(Relation segment)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(segment);

	/* the last page takes more rows, each of which would change a summary */
	full_ranges = blocks > 0 ? (blocks - 1) / PAGES_PER_RANGE : 0;
	if (RelationGetRelid(segment) != growing_segment || full_ranges < summarized_ranges)
	{
		growing_segment = RelationGetRelid(segment);
		summarized_ranges = 0;
	}
	return full_ranges > summarized_ranges && tc_monotonic_ms() >= summarize_not_before;
}

void
tc_delivery_summarize(void)
{
	char		name[NAMEDATALEN];
	Oid			index;
	BlockNumber end = Min(full_ranges, summarized_ranges + SUMMARIZED_AT_ONCE);

	/* if it cannot be done now, then later */
	summarize_not_before = tc_monotonic_ms() + SUMMARY_RETRY_MS;
	snprintf(name, sizeof(name), "delivery_%d_id_idx", filled_segment);
	index = tc_relation_oid(name);
	if (!OidIsValid(index) ||
		!ConditionalLockRelationOid(growing_segment, ShareUpdateExclusiveLock))
		return;
	while (summarized_ranges < end)
	{
		DirectFunctionCall2(brin_summarize_range, ObjectIdGetDatum(index),
							Int64GetDatum((int64) summarized_ranges * PAGES_PER_RANGE));
		summarized_ranges++;
	}
	summarize_not_before = 0;
}
