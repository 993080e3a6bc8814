/*-------------------------------------------------------------------------
 *
 * tables.h
 *	  Our tables as the install script made them, and as they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TABLES_H
#define TC_TABLES_H

#include "access/htup.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

typedef enum TableId
{
	TABLE_QUEUE,
	TABLE_OUTBOX,
	TABLE_REJECTED,
	TABLE_DELIVERY_0,			/* the segments of temporal_internal.delivery,
								 * in their order */
	TABLE_DELIVERY_1,
	TABLE_DELIVERY_2,
	TABLE_DELIVERY_3,
	TABLE_LAST_HEARTBEAT,
	TABLE_DELIVERY_SEGMENT,
	TABLE_LAST_WORKER,
	TABLE_QUEUE_ERROR,
	TABLE_QUEUE_PAUSE,
	TABLE_RECHECK,
	TABLE_RECORDED_ACTIVITY,
	TABLE_ENDED_ACTIVITY,
	TABLE_AWAITED_KEY,
	TABLE_HEARTBEAT_ANSWER,
	TABLE_COUNT
} TableId;

/* Those that have requests, finished or not */
#define REQUEST_TABLES_FIRST TABLE_OUTBOX
#define REQUEST_TABLES_LAST TABLE_LAST_HEARTBEAT

/* Segments of temporal_internal.delivery */
#define DELIVERY_SEGMENTS (TABLE_DELIVERY_3 - TABLE_DELIVERY_0 + 1)

/* Indexes that are used to read, by table: their number there */
#define QUEUE_PKEY 0
#define QUEUE_SERVER_IDX 1
#define OUTBOX_PKEY 0
#define OUTBOX_QUEUE_IDX 1
#define REJECTED_QUEUE_IDX 1
#define DELIVERY_ID_IDX 0
#define DELIVERY_WORKFLOW_ID_IDX 1
#define DELIVERY_WRONG_IDX 2
#define LAST_HEARTBEAT_PKEY 0
#define QUEUE_ERROR_PKEY 0
#define QUEUE_PAUSE_REQUESTED_BY_IDX 0
#define RECORDED_ACTIVITY_KEY_IDX 0
#define RECORDED_ACTIVITY_HEARTBEAT_IDX 1
#define AWAITED_KEY_HASH_IDX 0
#define AWAITED_KEY_UNTIL_IDX 1
#define AWAITED_KEY_QUEUE_IDX 2
#define HEARTBEAT_ANSWER_PKEY 0

/*
 * Open a table with that lock.  Its first columns are those that this library
 * knows, or an error says that they are not; there may be more behind them.
 * To be closed with NoLock: the lock is kept until the transaction ends, as
 * for everything that is written.
 */
extern Relation tc_table_open(TableId id, LOCKMODE lockmode);

/* The same, without waiting for the lock: NULL if it cannot be had at once. */
extern Relation tc_table_open_nowait(TableId id, LOCKMODE lockmode);

/* The same, raising no error: NULL also if the table is not there or not as it was. */
extern Relation tc_table_try_open(TableId id, LOCKMODE lockmode);

/*
 * Is the table exactly as the install script made it, with nothing attached?
 * Then rows may be written directly; if not, only by row_write.c.
 */
extern bool tc_table_is_as_made(Relation rel, TableId id);

extern bool tc_table_has_rules(Relation rel);

/* An error if a crash would empty the table or sequence. */
extern void tc_relation_must_last(Relation rel);

/*
 * An index on the columns of that one, whatever it is called, that has all
 * rows; InvalidOid if there is none.
 */
extern Oid	tc_table_index(Relation rel, TableId id, int number);

/* The same; raises an error if there is none. */
extern Oid	tc_required_table_index(Relation rel, TableId id, int number);

/* Take the known columns out of a row; NULL where there should be none is an error. */
extern void tc_row_deform(HeapTuple tuple, Relation rel, TableId id, Datum *values, bool *nulls);

/* Has it an index, as it was made, that not all rows are in? */
extern bool tc_table_has_partial_index(TableId id);

/* How many columns are known */
extern int	tc_table_natts(TableId id);

/* Its name, without the schema */
extern const char *tc_table_name(TableId id);

#endif							/* TC_TABLES_H */
