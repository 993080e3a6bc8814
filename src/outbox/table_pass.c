/*-------------------------------------------------------------------------
 *
 * table_pass.c
 *	  Going through a table of ours, some pages at a time.
 *
 * A pass over a whole table is made of steps, so that no transaction of the
 * worker is long.  Rows that come meanwhile may be missed: the next pass has
 * them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "outbox/table_pass.h"

void
tc_table_pass(Relation rel, BlockNumber *block, int npages, PassRow take, void *arg)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	BlockNumber end = Min(nblocks, *block + npages);
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	for (; *block < end; (*block)++)
		for (OffsetNumber n = FirstOffsetNumber; n <= MaxHeapTuplesPerPage; n++)
		{
			ItemPointerData tid;

			ItemPointerSet(&tid, *block, n);
			if (table_tuple_fetch_row_version(rel, &tid, GetActiveSnapshot(), slot))
				take(rel, slot, &tid, arg);
			ExecClearTuple(slot);
		}
	if (*block >= nblocks)
		*block = 0;
	ExecDropSingleTupleTableSlot(slot);
}
