/*-------------------------------------------------------------------------
 *
 * summaries.c
 *	  Ranges of a BRIN index that look-ups cannot pass over.
 *
 * A look-up reads each range of pages that has no summary.  Whoever summarizes
 * a range puts a placeholder there first, into which others add what they
 * insert meanwhile.  If that is cancelled, by a session that wants a lock from
 * autovacuum for instance, the placeholder stays: a range that has one is never
 * summarized again, until somebody removes it.
 *
 * Only the pages of the index are read: what is looked for is a bit in the head
 * of each summary.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/brin.h"
#include "access/brin_page.h"
#include "access/brin_tuple.h"
#include "access/genam.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

#include "outbox/summaries.h"

void
tc_summaries_look(Relation segment, Relation index, SummaryLook *look)
{
	BlockNumber pages_per_range = BrinGetPagesPerRange(index);
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	int			full_ranges = RelationGetNumberOfBlocks(segment) / pages_per_range;
	int			summarized = 0;

	memset(look, 0, sizeof(SummaryLook));
	look->first_unfinished = InvalidBlockNumber;
	for (BlockNumber block = BRIN_METAPAGE_BLKNO + 1; block < nblocks; block++)
	{
		Buffer		buffer = ReadBuffer(index, block);
		Page		page = BufferGetPage(buffer);

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!PageIsNew(page) && BRIN_IS_REGULAR_PAGE(page))
			for (OffsetNumber n = FirstOffsetNumber; n <= PageGetMaxOffsetNumber(page); n++)
			{
				ItemId		item = PageGetItemId(page, n);
				BrinTuple  *tuple;

				if (!ItemIdIsUsed(item))
					continue;
				tuple = (BrinTuple *) PageGetItem(page, item);
				if (!BrinTupleIsPlaceholder(tuple))
				{
					summarized += tuple->bt_blkno / pages_per_range < full_ranges;
					continue;
				}
				look->unfinished++;
				look->first_unfinished = Min(look->first_unfinished, tuple->bt_blkno);
			}
		UnlockReleaseBuffer(buffer);
	}
	look->missing = Max(full_ranges - summarized - look->unfinished, 0);
}

void
tc_summaries_mend(Relation segment, Oid indexid)
{
	SummaryLook look;

	do
	{
		Relation	index = index_open(indexid, AccessShareLock);

		tc_summaries_look(segment, index, &look);
		index_close(index, NoLock);
		if (look.unfinished > 0)
			DirectFunctionCall2(brin_desummarize_range, ObjectIdGetDatum(indexid),
								Int64GetDatum((int64) look.first_unfinished));
	} while (look.unfinished > 1);
}
