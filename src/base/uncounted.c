/*-------------------------------------------------------------------------
 *
 * uncounted.c
 *	  What is read of others' rows, and must not be counted for who asks.
 *
 * By such counts a reader could tell whether there is a row that he may not
 * see, and in which table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgstat.h"

#include "base/uncounted.h"

void
tc_uncounted_begin(CountsBefore *before, bool with_tables)
{
	before->buffers = pgBufferUsage;
	before->wal = pgWalUsage;
	before->of_tables = pgstat_track_counts;
	if (!with_tables)
		pgstat_track_counts = false;
}

void
tc_uncounted_end(const CountsBefore *before)
{
	pgBufferUsage = before->buffers;
	pgWalUsage = before->wal;
	pgstat_track_counts = before->of_tables;
}
