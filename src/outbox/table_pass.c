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
#include "access/table.h"
#include "access/tableam.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "outbox/outbox.h"
#include "outbox/table_pass.h"

typedef struct OldRows
{
	AttrNumber	time_attr;
	TimestampTz before;
	PassRow		take;
} OldRows;

static void take_if_old(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);

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

bool
tc_table_pass_old(TableId id, AttrNumber time_attr, BlockNumber *block, int npages, PassRow take)
{
	Relation	rel = tc_table_open_nowait(id, RowExclusiveLock);
	OldRows		old = {.time_attr = time_attr,.take = take};
	TimestampTz last_segment;
	bool		ok;

	if (rel == NULL)
		return false;
	ok = tc_delivery_begun(&old.before, &last_segment);
	if (ok)
		tc_table_pass(rel, block, npages, take_if_old, &old);
	table_close(rel, NoLock);
	return ok;
}

static void
take_if_old(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg)
{
	const OldRows *old = arg;
	bool		isnull;

	if (DatumGetTimestampTz(slot_getattr(slot, old->time_attr, &isnull)) < old->before)
		old->take(rel, slot, tid, NULL);
}
