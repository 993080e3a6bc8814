/*-------------------------------------------------------------------------
 *
 * delivery_segments.c
 *	  The segments of temporal_internal.delivery, and what is in them.
 *
 * Outcomes older than temporal_complete.retention go without DELETE and
 * without bloat: four segments are filled in turn, each for a third of the
 * retention, and a segment is truncated when its turn comes again.  What is
 * truncated then was recorded at least a retention ago.
 *
 * The indexes on ids and workflows are BRIN indexes: they have an entry for a
 * range of pages, made when they are full.  Only rows in the last pages are
 * searched one by one.
 *
 * Only the worker of the database does this.  It must never wait for others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "compat.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"
#include "outbox/summaries.h"

/* Columns of temporal_internal.delivery_segment */
enum
{
	SEGMENT_SEGMENT = 1,
	SEGMENT_SINCE,
	SEGMENT_NATTS = SEGMENT_SINCE
};

/* Come back after that long when a reader holds the next segment */
#define BUSY_DELAY_MS 60000

/* So many pages are summarized at once: a new worker begins with the first one */
#define PAGES_AT_ONCE 1024

/* Come back after that long when a segment could not be summarized */
#define SUMMARY_RETRY_MS 1000

/* The segment as the worker knows it; -1 before the first look */
static int	filled_segment = -1;

/* An index that has summaries of the segment that is being filled */
typedef struct Summaries
{
	int			index;			/* its number, see tables.h */
	BlockNumber pages_per_range;	/* as in the install script */
	BlockNumber full_ranges;
	BlockNumber summarized_ranges;
} Summaries;

static Summaries summaries[] =
{
	{
		DELIVERY_ID_IDX, 32
	},
	{
		DELIVERY_WORKFLOW_ID_IDX, 32
	},
};

static Oid	growing_segment = InvalidOid;

/*
 * Has its last range, which is being filled, no summary?  An index that is
 * made, also by TRUNCATE, has one, which each row would change.
 */
static bool last_range_is_open = false;
static int64 summarize_not_before = 0;	/* monotonic ms */

/* The table must not be empty. */
static void
current_segment(Relation rel, int *segment, TimestampTz *since)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	/* a logical subscriber has the row of its publisher, too */
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[SEGMENT_NATTS];
		bool		nulls[SEGMENT_NATTS];

		tc_row_deform(tuple, rel, TABLE_DELIVERY_SEGMENT, values, nulls);
		if (found && DatumGetTimestampTz(values[SEGMENT_SINCE - 1]) <= *since)
			continue;
		found = true;
		*segment = DatumGetInt16(values[SEGMENT_SEGMENT - 1]);
		*since = DatumGetTimestampTz(values[SEGMENT_SINCE - 1]);
	}
	systable_endscan(scan);
	if (!found || *segment < 0 || *segment >= DELIVERY_SEGMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("temporal_internal.delivery_segment does not say which segment is filled"),
				 errhint("Replace what is in it by the row (0, now()).")));
}

/*
 * A segment begins at that time.  Others that claim not to have begun before
 * were by a clock that was wrong: when they began is not known any more.
 */
static void
set_segment(Relation rel, int segment, TimestampTz since)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	Datum		values[SEGMENT_NATTS] = {Int16GetDatum(segment), TimestampTzGetDatum(since)};
	bool		nulls[SEGMENT_NATTS] = {false};
	bool		replace[SEGMENT_NATTS] = {true, true};
	HeapTuple	tuple;
	bool		found = false;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		old[SEGMENT_NATTS];
		bool		old_nulls[SEGMENT_NATTS];

		tc_row_deform(tuple, rel, TABLE_DELIVERY_SEGMENT, old, old_nulls);
		if (DatumGetInt16(old[SEGMENT_SEGMENT - 1]) == segment)
		{
			tc_row_update(rel, TABLE_DELIVERY_SEGMENT, &tuple->t_self, values, nulls, replace);
			found = true;
		}
		else if (DatumGetTimestampTz(old[SEGMENT_SINCE - 1]) >= since)
			tc_row_delete(rel, TABLE_DELIVERY_SEGMENT, &tuple->t_self);
	}
	systable_endscan(scan);
	if (!found)
		tc_row_insert(rel, TABLE_DELIVERY_SEGMENT, values, nulls);
}

bool
tc_delivery_begun(TimestampTz *first, TimestampTz *last)
{
	Relation	rel = tc_table_open_nowait(TABLE_DELIVERY_SEGMENT, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		known[DELIVERY_SEGMENTS] = {false};

	if (rel == NULL)
		return false;
	*first = DT_NOEND;
	*last = DT_NOBEGIN;
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);

	/*
	 * of several rows of a segment, which a subscriber has, the earlier one
	 * counts
	 */
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[SEGMENT_NATTS];
		bool		nulls[SEGMENT_NATTS];
		int			segment;

		tc_row_deform(tuple, rel, TABLE_DELIVERY_SEGMENT, values, nulls);
		segment = DatumGetInt16(values[SEGMENT_SEGMENT - 1]);
		if (segment >= 0 && segment < DELIVERY_SEGMENTS)
			known[segment] = true;
		*first = Min(*first, DatumGetTimestampTz(values[SEGMENT_SINCE - 1]));
		*last = Max(*last, DatumGetTimestampTz(values[SEGMENT_SINCE - 1]));
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	for (int i = 0; i < DELIVERY_SEGMENTS; i++)
		if (!known[i])
			*first = DT_NOBEGIN;
	return true;
}

int
tc_delivery_segment(void)
{
	if (filled_segment < 0)
	{
		Relation	rel = tc_table_open_nowait(TABLE_DELIVERY_SEGMENT, AccessShareLock);
		TimestampTz since;

		if (rel == NULL)
			return -1;
		current_segment(rel, &filled_segment, &since);
		table_close(rel, NoLock);
	}
	return filled_segment;
}

TimestampTz
tc_delivery_rotate(bool *begun)
{
	int64		period_ms = (int64) tc_retention * 1000 / (DELIVERY_SEGMENTS - 1);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz later = TimestampTzPlusMilliseconds(now, BUSY_DELAY_MS);
	TimestampTz due;
	int			segment;
	TimestampTz since;
	Relation	rel = tc_table_open_nowait(TABLE_DELIVERY_SEGMENT, RowExclusiveLock);

	*begun = false;
	if (rel == NULL)
		return later;
	current_segment(rel, &segment, &since);
	due = TimestampTzPlusMilliseconds(since, period_ms);
	if (since > now)
	{
		/* the clock was put back: the segment's time begins anew */
		set_segment(rel, segment, now);
		due = TimestampTzPlusMilliseconds(now, period_ms);
	}
	else if (due <= now)
	{
		int			next = (segment + 1) % DELIVERY_SEGMENTS;
		Relation	table = tc_table_open_nowait((TableId) (TABLE_DELIVERY_0 + next), AccessExclusiveLock);

		due = later;
		if (table != NULL)
		{
			tc_truncate(table);
			table_close(table, NoLock);
			set_segment(rel, next, now);
			segment = next;
			*begun = true;
			due = TimestampTzPlusMilliseconds(now, period_ms);
		}
	}
	table_close(rel, NoLock);
	filled_segment = segment;
	return due;
}

bool
tc_delivery_has_grown(Relation segment)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(segment);
	bool		is_same = RelationGetRelid(segment) == growing_segment;
	bool		has_grown = false;

	growing_segment = RelationGetRelid(segment);
	last_range_is_open = last_range_is_open && is_same;
	for (int i = 0; i < lengthof(summaries); i++)
	{
		Summaries  *index = &summaries[i];

		/* the last page takes more rows, each of which would change a summary */
		index->full_ranges = blocks > 0 ? (blocks - 1) / index->pages_per_range : 0;
		if (!is_same || index->full_ranges < index->summarized_ranges)
			index->summarized_ranges = 0;
		has_grown = has_grown || index->full_ranges > index->summarized_ranges;
	}
	return (has_grown || !last_range_is_open) && tc_monotonic_ms() >= summarize_not_before;
}

void
tc_delivery_summarize(void)
{
	TableId		id = (TableId) (TABLE_DELIVERY_0 + filled_segment);
	Relation	segment;
	Oid			indexes[lengthof(summaries)];

	/* if it cannot be done now, then later */
	summarize_not_before = tc_monotonic_ms() + SUMMARY_RETRY_MS;
	segment = tc_table_open_nowait(id, ShareUpdateExclusiveLock);
	if (segment == NULL)
		return;
	for (int i = 0; i < lengthof(summaries); i++)
	{
		indexes[i] = RelationGetRelid(segment) == growing_segment ?
			tc_table_index(segment, id, summaries[i].index) : InvalidOid;
		/* once for each segment, and each worker */
		if (OidIsValid(indexes[i]) && summaries[i].summarized_ranges == 0)
			tc_summaries_mend(segment, indexes[i]);
	}
	table_close(segment, NoLock);
	for (int i = 0; i < lengthof(summaries); i++)
	{
		Summaries  *index = &summaries[i];
		BlockNumber end = Min(index->full_ranges,
							  index->summarized_ranges + PAGES_AT_ONCE / index->pages_per_range);

		if (!OidIsValid(indexes[i]))
			return;
		if (!last_range_is_open)
			DirectFunctionCall2(brin_desummarize_range, ObjectIdGetDatum(indexes[i]),
								Int64GetDatum((int64) index->full_ranges * index->pages_per_range));
		while (index->summarized_ranges < end)
		{
			DirectFunctionCall2(brin_summarize_range, ObjectIdGetDatum(indexes[i]),
								Int64GetDatum((int64) index->summarized_ranges * index->pages_per_range));
			index->summarized_ranges++;
		}
	}
	last_range_is_open = true;
	summarize_not_before = 0;
}
