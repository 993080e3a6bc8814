/*-------------------------------------------------------------------------
 *
 * snapshot_read.h
 *	  Reading a table by difference of snapshots.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SNAPSHOT_READ_H
#define TC_SNAPSHOT_READ_H

#include "outbox/row_scan.h"
#include "outbox/outbox.h"

/* What is read: its index is on queue, xid and id, which are these columns */
typedef struct ReadTable
{
	TableId		table;
	int			index;
	AttrNumber	queue;
	AttrNumber	xid;
	AttrNumber	id;
} ReadTable;

/*
 * Give the consumer the next rows of a queue, and move the position behind
 * the last one given.  Returns true if the batch is exhausted.
 */
extern bool tc_snapshot_read(const ReadTable *table, int64 queue, ReadPosition *position,
							 TupleConsumer consumer, void *arg);

#endif							/* TC_SNAPSHOT_READ_H */
