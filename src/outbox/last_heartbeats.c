/*-------------------------------------------------------------------------
 *
 * last_heartbeats.c
 *	  What became of the last heartbeat of each activity.
 *
 * A heartbeat replaces what the one before it said, so its outcome replaces
 * the former one's: an activity has one row in temporal_internal.last_heartbeat, which
 * says how many there were before.  No column of its index changes, so the row
 * is updated in place (HOT).  When a verdict about the activity is delivered,
 * the row moves to temporal_internal.delivery, where those of other requests are.
 *
 * Kept one by one, in temporal_internal.delivery, are outcomes
 *
 * - for which a session waits (in_flight.h): it is told what became of this one;
 * - of heartbeats about which somebody has decided, or which failed;
 * - of more activities than the table is to have, or a role is to have of it
 *	 (heartbeat_room.c), or when it has grown because a snapshot keeps VACUUM
 *	 from it: it has no index on ids and is read as a whole, so it must stay
 *	 small.  If it gets full, rows of activities that have been still for a
 *	 while move away;
 * - when a session has just purged the row of the activity, or is about to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "common/hashfn.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "outbox/heartbeat_room.h"
#include "outbox/last_heartbeats.h"
#include "outbox/row_write.h"
#include "outbox/table_pass.h"
#include "process/in_flight.h"

/* Columns of temporal_internal.last_heartbeat */
enum
{
	LAST_QUEUE = 1,
	LAST_ACTIVITY,
	LAST_ID,
	LAST_REQUESTED_AT,
	LAST_FINISHED_AT,
	LAST_EARLIER,
	LAST_ATTEMPTS,
	LAST_METHOD,
	LAST_CONFIRMED,
	LAST_CANCEL_REQUESTED,
	LAST_ACTIVITY_PAUSED,
	LAST_ACTIVITY_RESET,
	LAST_ACTIVITY_ID,
	LAST_WORKFLOW_ID,
	LAST_RUN_UUID,
	LAST_RUN_ID,
	LAST_KEY,
	LAST_RECORDED_ACTIVITY,
	LAST_NATTS = LAST_RECORDED_ACTIVITY
};

/* Where each of them is in a row of temporal_internal.delivery; 0 = nowhere */
static const AttrNumber in_delivery[LAST_NATTS] = {
	DELIVERY_QUEUE, 0, DELIVERY_ID, DELIVERY_REQUESTED_AT, DELIVERY_FINISHED_AT,
	DELIVERY_EARLIER_HEARTBEATS, DELIVERY_ATTEMPTS, DELIVERY_METHOD, DELIVERY_CONFIRMED,
	DELIVERY_CANCEL_REQUESTED, DELIVERY_ACTIVITY_PAUSED, DELIVERY_ACTIVITY_RESET,
	DELIVERY_ACTIVITY_ID, DELIVERY_WORKFLOW_ID, DELIVERY_RUN_UUID, DELIVERY_RUN_ID, DELIVERY_KEY,
	DELIVERY_RECORDED_ACTIVITY
};

/* With so many pages, rows move away of activities that are so long without a heartbeat */
#define PAGES_TO_MOVE (HEARTBEAT_PAGES / 2)
#define STILL_MS 60000

/* How many blocks are looked at in one transaction, by tidying up */
#define TIDY_BLOCKS 64

/* Bits of activities that may have a row; they are read anew when so many rows were put there since */
#define KNOWN_BITS (1 << 20)
#define KNOWN_PUTS (1 << 16)

typedef struct ActivityKey
{
	int64		queue;
	int64		activity;		/* a hash of its ids */
} ActivityKey;

/* What a batch has of an activity */
typedef struct Entry
{
	ActivityKey key;
	Outcome    *outcome;		/* of its last heartbeat; NULL: there was none */
	DeliveryRow row;			/* of this, or of the verdict */
	int64		dropped;		/* heartbeats that are not kept */
	bool		has_verdict;
} Entry;

struct LastHeartbeats
{
	DeliveryWriter write;
	void	   *arg;
	MemoryContext context;
	Relation	rel;			/* NULL: not opened yet, or locked */
	bool		opened;
	BlockNumber nblocks;
	CatalogIndexState indexes;	/* NULL: rows are written by the executor */
	TupleTableSlot *slot;
	HTAB	   *entries;		/* NULL: none */
};

static uint8 *known = NULL;		/* of the table known_relid */
static Oid	known_relid = InvalidOid;
static int	known_puts;

static bool open_table(LastHeartbeats *last);
static void read_known(LastHeartbeats *last);
static void set_known(const ActivityKey *key);
static uint32 known_bit(const ActivityKey *key);
static ActivityKey key_of(const DeliveryRow *row);
static Entry *entry_of(LastHeartbeats *last, const ActivityKey *key);
static void copy_ids(LastHeartbeats *last, DeliveryRow *to, const DeliveryRow *from);
static void settle(LastHeartbeats *last, Entry *entry);
static void displace(LastHeartbeats *last, Entry *entry, const DeliveryRow *row);
static HeapTuple find_row(LastHeartbeats *last, const Entry *entry);
static bool claim(Relation rel, HeapTuple tuple, TupleTableSlot *slot);
static bool is_of_same(const DeliveryRow *one, const DeliveryRow *other);
static bool same_text(const DeliveryRow *one, const DeliveryRow *other, int attr);
static void from_table(Relation rel, HeapTuple tuple, DeliveryRow *row);
static void delete_row(Relation rel, int64 queue, HeapTuple tuple);
static void put_row(LastHeartbeats *last, const Entry *entry, const DeliveryRow *row, HeapTuple old);
static void move_still_ones(LastHeartbeats *last);
static void move_if_still(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);
static void remove_row(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);

LastHeartbeats *
tc_last_heartbeats_begin(DeliveryWriter write, void *arg)
{
	LastHeartbeats *last = palloc0(sizeof(LastHeartbeats));

	last->write = write;
	last->arg = arg;
	last->context = CurrentMemoryContext;
	return last;
}

MemoryContext
tc_last_heartbeats_context(LastHeartbeats *last)
{
	return last->context;
}

bool
tc_last_heartbeat_add(LastHeartbeats *last, Outcome *outcome, const DeliveryRow *row)
{
	ActivityKey key;
	Entry	   *entry;

	if (row->nulls[DELIVERY_ACTIVITY_ID - 1] || !row->nulls[DELIVERY_ERROR_CODE - 1] ||
		!row->nulls[DELIVERY_DECISIONS - 1] || !open_table(last))
		return false;
	key = key_of(row);
	set_known(&key);
	entry = entry_of(last, &key);
	if (entry->outcome == NULL)
	{
		/* that of a verdict has the same ids */
		entry->outcome = outcome;
		entry->row = *row;
	}
	else if (!is_of_same(&entry->row, row))
		return false;
	else if (outcome->id < entry->outcome->id)
		displace(last, entry, row);
	else
	{
		displace(last, entry, &entry->row);
		entry->outcome = outcome;
		entry->row = *row;
	}
	return true;
}

void
tc_last_heartbeat_verdict(LastHeartbeats *last, const DeliveryRow *row)
{
	ActivityKey key;
	uint32		bit;
	Entry	   *entry;

	if (row->nulls[DELIVERY_ACTIVITY_ID - 1] || !open_table(last) ||
		(last->nblocks == 0 && last->entries == NULL))
		return;
	key = key_of(row);
	bit = known_bit(&key);
	if ((known[bit / 8] & (1 << bit % 8)) == 0)
		return;
	entry = entry_of(last, &key);
	entry->has_verdict = true;
	if (entry->outcome == NULL)
		copy_ids(last, &entry->row, row);
}

/* All that is needed of a verdict, whose row does not last. */
static void
copy_ids(LastHeartbeats *last, DeliveryRow *to, const DeliveryRow *from)
{
	static const AttrNumber ids[] = {DELIVERY_WORKFLOW_ID, DELIVERY_ACTIVITY_ID};
	MemoryContext old = MemoryContextSwitchTo(last->context);

	memset(to->values, 0, sizeof(to->values));
	memset(to->nulls, true, sizeof(to->nulls));
	for (int i = 0; i < lengthof(ids); i++)
		if (!from->nulls[ids[i] - 1])
		{
			to->values[ids[i] - 1] = PointerGetDatum(DatumGetTextPCopy(from->values[ids[i] - 1]));
			to->nulls[ids[i] - 1] = false;
		}
	MemoryContextSwitchTo(old);
}

void
tc_last_heartbeats_end(LastHeartbeats *last)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	if (last->entries != NULL)
	{
		move_still_ones(last);
		hash_seq_init(&seq, last->entries);
		while ((entry = hash_seq_search(&seq)) != NULL)
			settle(last, entry);
	}
	if (last->indexes != NULL)
		CatalogCloseIndexes(last->indexes);
	if (last->rel != NULL)
	{
		ExecDropSingleTupleTableSlot(last->slot);
		table_close(last->rel, NoLock);
	}
}

/* False if somebody has locked it. */
static bool
open_table(LastHeartbeats *last)
{
	MemoryContext old;

	if (last->opened)
		return last->rel != NULL;
	last->opened = true;
	last->rel = tc_table_open_nowait(TABLE_LAST_HEARTBEAT, RowExclusiveLock);
	if (last->rel == NULL)
		return false;
	last->nblocks = RelationGetNumberOfBlocks(last->rel);
	old = MemoryContextSwitchTo(last->context);
	last->slot = table_slot_create(last->rel, NULL);
	if (tc_table_is_as_made(last->rel, TABLE_LAST_HEARTBEAT))
		last->indexes = CatalogOpenIndexes(last->rel);
	MemoryContextSwitchTo(old);
	if (known_relid != RelationGetRelid(last->rel) || known_puts > KNOWN_PUTS)
		read_known(last);
	tc_heartbeat_room_begin(last->rel, LAST_QUEUE);
	return true;
}

static ActivityKey
key_of(const DeliveryRow *row)
{
	static const AttrNumber ids[] = {DELIVERY_WORKFLOW_ID, DELIVERY_ACTIVITY_ID};
	ActivityKey key = {DatumGetInt64(row->values[DELIVERY_QUEUE - 1])};
	uint64		hash = 0;

	for (int i = 0; i < lengthof(ids); i++)
		if (!row->nulls[ids[i] - 1])
		{
			text	   *id = DatumGetTextPP(row->values[ids[i] - 1]);

			hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id),
									   hash + i);
		}
	key.activity = (int64) hash;
	return key;
}

/* Which activities have a row: of those that the worker has put there, it knows already. */
static void
read_known(LastHeartbeats *last)
{
	SysScanDesc scan;
	HeapTuple	tuple;

	if (known == NULL)
		known = MemoryContextAlloc(TopMemoryContext, KNOWN_BITS / 8);
	memset(known, 0, KNOWN_BITS / 8);
	scan = systable_beginscan(last->rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[LAST_NATTS];
		bool		nulls[LAST_NATTS];
		ActivityKey key;

		tc_row_deform(tuple, last->rel, TABLE_LAST_HEARTBEAT, values, nulls);
		key.queue = DatumGetInt64(values[LAST_QUEUE - 1]);
		key.activity = DatumGetInt64(values[LAST_ACTIVITY - 1]);
		set_known(&key);
	}
	systable_endscan(scan);
	known_relid = RelationGetRelid(last->rel);
	known_puts = 0;
}

static void
set_known(const ActivityKey *key)
{
	uint32		bit = known_bit(key);

	if ((known[bit / 8] & (1 << bit % 8)) == 0)
		known_puts++;
	known[bit / 8] |= 1 << bit % 8;
}

static uint32
known_bit(const ActivityKey *key)
{
	return (uint32) hash_combine64(key->queue, key->activity) % KNOWN_BITS;
}

static Entry *
entry_of(LastHeartbeats *last, const ActivityKey *key)
{
	Entry	   *entry;
	bool		found;

	if (last->entries == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(ActivityKey);
		ctl.entrysize = sizeof(Entry);
		ctl.hcxt = last->context;
		last->entries = hash_create("temporal_complete heartbeats", 64, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(last->entries, key, HASH_ENTER, &found);
	if (!found)
	{
		entry->outcome = NULL;
		entry->dropped = 0;
		entry->has_verdict = false;
	}
	return entry;
}

/* A heartbeat of the entry's activity is not the last one. */
static void
displace(LastHeartbeats *last, Entry *entry, const DeliveryRow *row)
{
	if (tc_outcome_is_awaited(DatumGetInt64(row->values[DELIVERY_ID - 1])))
		last->write(last->arg, row);
	else
		entry->dropped++;
}

/* Bring the entry and the row that is there together. */
static void
settle(LastHeartbeats *last, Entry *entry)
{
	HeapTuple	old = find_row(last, entry);
	DeliveryRow row = entry->row;
	bool		has_row = entry->outcome != NULL;
	bool		is_old = false;
	int64		earlier = 0;

	if (old != NULL)
	{
		DeliveryRow old_row;
		TimestampTz old_finished_at;

		from_table(last->rel, old, &old_row);
		/* another activity of the same hash */
		if (!is_of_same(&old_row, &row) || !claim(last->rel, old, last->slot))
		{
			if (has_row)
				last->write(last->arg, &row);
			return;
		}
		old_finished_at = DatumGetTimestampTz(old_row.values[DELIVERY_FINISHED_AT - 1]);
		earlier = DatumGetInt64(old_row.values[DELIVERY_EARLIER_HEARTBEATS - 1]);
		old_row.nulls[DELIVERY_EARLIER_HEARTBEATS - 1] = true;
		is_old = !has_row || entry->outcome->id < DatumGetInt64(old_row.values[DELIVERY_ID - 1]);
		if (has_row)
		{
			int64		dropped = entry->dropped;

			displace(last, entry, is_old ? &row : &old_row);
			if (!is_old && entry->dropped > dropped)
				entry->outcome->replaced_at = old_finished_at;
		}
		if (is_old)
			row = old_row;
		has_row = true;
	}
	if (!has_row)
		return;
	earlier += entry->dropped;
	row.values[DELIVERY_EARLIER_HEARTBEATS - 1] = Int64GetDatum(earlier);
	row.nulls[DELIVERY_EARLIER_HEARTBEATS - 1] = earlier == 0;
	if (entry->outcome != NULL)
		entry->outcome->not_kept = entry->dropped;

	if (entry->has_verdict ||
		(old == NULL ? !tc_heartbeat_room_is_left(entry->key.queue) :
		 tc_heartbeat_room_is_exceeded(entry->key.queue)))
	{
		last->write(last->arg, &row);
		if (old != NULL)
			delete_row(last->rel, entry->key.queue, old);
	}
	else if (!is_old || entry->dropped > 0)
		put_row(last, entry, &row, old);
}

/* A copy of the row that the activity has; NULL if there is none. */
static HeapTuple
find_row(LastHeartbeats *last, const Entry *entry)
{
	Oid			index = tc_table_index(last->rel, TABLE_LAST_HEARTBEAT, LAST_HEARTBEAT_PKEY);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	if (last->nblocks == 0)
		return NULL;
	ScanKeyInit(&keys[0], LAST_QUEUE, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(entry->key.queue));
	ScanKeyInit(&keys[1], LAST_ACTIVITY, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(entry->key.activity));
	scan = systable_beginscan(last->rel, index, OidIsValid(index), GetActiveSnapshot(), 2, keys);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/*
 * Lock a row that is to be changed.  False if somebody has purged it since the
 * snapshot was taken, or is about to: that must neither be waited for nor be an
 * error, or whoever purges all the time would hold up everybody's outcomes.
 */
static bool
claim(Relation rel, HeapTuple tuple, TupleTableSlot *slot)
{
	ItemPointerData tid = tuple->t_self;
	TM_FailureData failure;
	bool		ok = table_tuple_lock(rel, &tid, GetActiveSnapshot(), slot,
									  GetCurrentCommandId(true), LockTupleExclusive,
									  LockWaitSkip, 0, &failure) == TM_Ok;

	ExecClearTuple(slot);
	return ok;
}

static bool
is_of_same(const DeliveryRow *one, const DeliveryRow *other)
{
	return same_text(one, other, DELIVERY_ACTIVITY_ID) &&
		same_text(one, other, DELIVERY_WORKFLOW_ID);
}

static bool
same_text(const DeliveryRow *one, const DeliveryRow *other, int attr)
{
	text	   *a;
	text	   *b;

	if (one->nulls[attr - 1] || other->nulls[attr - 1])
		return one->nulls[attr - 1] && other->nulls[attr - 1];
	a = DatumGetTextPP(one->values[attr - 1]);
	b = DatumGetTextPP(other->values[attr - 1]);
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* What is no number points into the tuple. */
static void
from_table(Relation rel, HeapTuple tuple, DeliveryRow *row)
{
	Datum		values[LAST_NATTS];
	bool		nulls[LAST_NATTS];

	tc_row_deform(tuple, rel, TABLE_LAST_HEARTBEAT, values, nulls);
	memset(row->values, 0, sizeof(row->values));
	memset(row->nulls, true, sizeof(row->nulls));
	for (int i = 0; i < LAST_NATTS; i++)
		if (in_delivery[i] != 0)
		{
			row->values[in_delivery[i] - 1] = values[i];
			row->nulls[in_delivery[i] - 1] = nulls[i];
		}
}

static void
delete_row(Relation rel, int64 queue, HeapTuple tuple)
{
	tc_row_delete(rel, TABLE_LAST_HEARTBEAT, &tuple->t_self);
	tc_heartbeat_room_remove(queue, tuple->t_len);
}

/* In place of the old one, if there is one. */
static void
put_row(LastHeartbeats *last, const Entry *entry, const DeliveryRow *row, HeapTuple old)
{
	Datum		values[LAST_NATTS];
	bool		nulls[LAST_NATTS] = {false};
	bool		replace[LAST_NATTS];
	HeapTuple	tuple;

	for (int i = 0; i < LAST_NATTS; i++)
		if (in_delivery[i] != 0)
		{
			values[i] = row->values[in_delivery[i] - 1];
			nulls[i] = row->nulls[in_delivery[i] - 1];
		}
	values[LAST_ACTIVITY - 1] = Int64GetDatum(entry->key.activity);
	nulls[LAST_EARLIER - 1] = false;	/* then it is 0 */

	tuple = heap_form_tuple(RelationGetDescr(last->rel), values, nulls);
	if (last->indexes != NULL && old == NULL)
		CatalogTupleInsertWithInfo(last->rel, tuple, last->indexes);
	else if (last->indexes != NULL)
		CatalogTupleUpdateWithInfo(last->rel, &old->t_self, tuple, last->indexes);
	else if (old == NULL)
		tc_row_insert(last->rel, TABLE_LAST_HEARTBEAT, values, nulls);
	else
	{
		memset(replace, true, sizeof(replace));
		tc_row_update(last->rel, TABLE_LAST_HEARTBEAT, &old->t_self, values, nulls, replace);
	}
	if (old == NULL)
		tc_heartbeat_room_add(entry->key.queue, tuple->t_len);
	heap_freetuple(tuple);
}

/* If the table gets full: the more is written, the more pages are looked at. */
static void
move_still_ones(LastHeartbeats *last)
{
	static BlockNumber block = 0;

	if (last->nblocks <= PAGES_TO_MOVE)
		return;
	tc_table_pass(last->rel, &block, 1, move_if_still, last);
	/* so that they are not found below */
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

static void
move_if_still(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg)
{
	LastHeartbeats *last = arg;
	TimestampTz before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -STILL_MS);
	bool		isnull;
	HeapTuple	tuple;
	DeliveryRow row;

	if (DatumGetTimestampTz(slot_getattr(slot, LAST_FINISHED_AT, &isnull)) >= before)
		return;
	tuple = ExecCopySlotHeapTuple(slot);
	ExecClearTuple(slot);
	if (!claim(rel, tuple, slot))
		return;
	from_table(rel, tuple, &row);
	row.nulls[DELIVERY_EARLIER_HEARTBEATS - 1] =
		DatumGetInt64(row.values[DELIVERY_EARLIER_HEARTBEATS - 1]) == 0;
	last->write(last->arg, &row);
	delete_row(rel, DatumGetInt64(row.values[DELIVERY_QUEUE - 1]), tuple);
}

bool
tc_last_heartbeats_tidy(BlockNumber *block)
{
	return tc_table_pass_old(TABLE_LAST_HEARTBEAT, LAST_FINISHED_AT, block, TIDY_BLOCKS, remove_row);
}

static void
remove_row(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg)
{
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);

	ExecClearTuple(slot);
	if (claim(rel, tuple, slot))
		tc_row_delete(rel, TABLE_LAST_HEARTBEAT, tid);
}
