/*-------------------------------------------------------------------------
 *
 * table_pass.h
 *	  Going through a table of ours, some pages at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TABLE_PASS_H
#define TC_TABLE_PASS_H

#include "executor/tuptable.h"
#include "storage/block.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "outbox/tables.h"

/* Takes a row.  Before it changes the table it has to clear the slot. */
typedef void (*PassRow) (Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);

/*
 * Give each row of some pages of a table that the active snapshot sees to
 * `take`.  It begins with the page *block, and leaves there where the next
 * step is to begin: 0 when all pages had their turn.
 */
extern void tc_table_pass(Relation rel, BlockNumber *block, int npages, PassRow take, void *arg);

/*
 * A step of a pass over the rows that no outcome is as old as, by the time in
 * that column: they are given to `take`, without an argument.  False if
 * somebody has locked a table.
 */
extern bool tc_table_pass_old(TableId id, AttrNumber time_attr, BlockNumber *block, int npages,
							  PassRow take);

#endif							/* TC_TABLE_PASS_H */
