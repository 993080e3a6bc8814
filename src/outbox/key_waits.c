/*-------------------------------------------------------------------------
 *
 * key_waits.c
 *	  Requests that wait until their key is recorded.
 *
 * Such a request stands in the outbox, without an activity, and is passed over
 * by who reads there.  temporal_internal.awaited_key says where those are whose key has
 * a hash, and when their time is over: so however many wait, no memory is
 * needed for them, and who records a key need not know of them.  A row is added
 * with the request, so that who is about to remove a recording sees also those
 * that nobody has read yet.  The worker adds those that are missing, of what
 * was dumped and restored, when it has read a request.  A row is of no use
 * without one.
 *
 * When the activity is known, the request gets it, and the id of the
 * transaction that did so: it is read then as one that was made just now.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/key_waits.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"

/* Columns of temporal_internal.awaited_key */
enum
{
	AWAITED_KEY_HASH = 1,
	AWAITED_KEY_QUEUE,
	AWAITED_KEY_ID,
	AWAITED_KEY_UNTIL,
	AWAITED_KEY_NATTS = AWAITED_KEY_UNTIL
};

static const TableId looked_at[] = {TABLE_QUEUE, TABLE_OUTBOX, TABLE_RECORDED_ACTIVITY, TABLE_AWAITED_KEY};

static Relation open_table(TableId id, LOCKMODE lockmode);
static bool has_indexes(Relation rel);
static void insert_wait(Relation rel, const KeyWait *wait);
static int	scan_waits(Relation rel, int index, int nkeys, ScanKey keys, KeyWait *waits, int max);
static ScanKeyData int8_key(AttrNumber attr, StrategyNumber strategy, RegProcedure function, int64 value);
static HeapTuple find_request(Relation outbox, int64 id);
static bool lock_request(Relation outbox, HeapTuple tuple);

void
tc_key_waits_begin(void)
{
	for (int i = 0; i < lengthof(looked_at); i++)
		table_close(open_table(looked_at[i], AccessShareLock), NoLock);
}

static Relation
open_table(TableId id, LOCKMODE lockmode)
{
	Relation	rel = tc_table_open_nowait(id, lockmode);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock table temporal_internal.%s to look for recorded keys", tc_table_name(id))));
	return rel;
}

bool
tc_key_waits_try_begin(void)
{
	for (int i = 0; i < lengthof(looked_at); i++)
	{
		/* from that one rows are removed */
		LOCKMODE	lockmode = looked_at[i] == TABLE_AWAITED_KEY ? RowExclusiveLock : AccessShareLock;
		Relation	rel = tc_table_open_nowait(looked_at[i], lockmode);

		if (rel == NULL)
			return false;
		table_close(rel, NoLock);
	}
	return true;
}

bool
tc_key_is_awaited(uint64 key_hash, bool *is_awaited)
{
	Relation	rel = tc_table_open_nowait(TABLE_AWAITED_KEY, AccessShareLock);
	ScanKeyData key = int8_key(AWAITED_KEY_HASH, BTEqualStrategyNumber, F_INT8EQ, (int64) key_hash);
	KeyWait		wait;

	if (rel == NULL)
		return false;
	*is_awaited = RelationGetNumberOfBlocks(rel) > 0 && has_indexes(rel) &&
		scan_waits(rel, AWAITED_KEY_HASH_IDX, 1, &key, &wait, 1) > 0;
	table_close(rel, NoLock);
	return true;
}

/* By which those that wait can be looked at; without them the worker does not, either. */
static bool
has_indexes(Relation rel)
{
	Relation	outbox = tc_table_open_nowait(TABLE_OUTBOX, AccessShareLock);
	bool		result;

	if (outbox == NULL)
		return false;
	result = OidIsValid(tc_table_index(rel, TABLE_AWAITED_KEY, AWAITED_KEY_HASH_IDX)) &&
		OidIsValid(tc_table_index(outbox, TABLE_OUTBOX, OUTBOX_PKEY));
	table_close(outbox, NoLock);
	return result;
}

void
tc_key_wait_insert(const KeyWait *wait)
{
	Relation	rel = tc_table_open(TABLE_AWAITED_KEY, RowExclusiveLock);

	insert_wait(rel, wait);
	table_close(rel, NoLock);
}

void
tc_key_waits_add(const KeyWait *waits, int count)
{
	Relation	rel = open_table(TABLE_AWAITED_KEY, RowExclusiveLock);

	for (int i = 0; i < count; i++)
	{
		KeyWait		known;
		ScanKeyData keys[] = {
			int8_key(AWAITED_KEY_HASH, BTEqualStrategyNumber, F_INT8EQ, waits[i].key_hash),
			int8_key(AWAITED_KEY_QUEUE, BTEqualStrategyNumber, F_INT8EQ, waits[i].queue),
			int8_key(AWAITED_KEY_ID, BTEqualStrategyNumber, F_INT8EQ, waits[i].id)
		};

		if (scan_waits(rel, AWAITED_KEY_HASH_IDX, lengthof(keys), keys, &known, 1) == 0)
			insert_wait(rel, &waits[i]);
	}
	table_close(rel, NoLock);
}

static void
insert_wait(Relation rel, const KeyWait *wait)
{
	Datum		values[AWAITED_KEY_NATTS];
	bool		nulls[AWAITED_KEY_NATTS] = {false};

	values[AWAITED_KEY_HASH - 1] = Int64GetDatum(wait->key_hash);
	values[AWAITED_KEY_QUEUE - 1] = Int64GetDatum(wait->queue);
	values[AWAITED_KEY_ID - 1] = Int64GetDatum(wait->id);
	values[AWAITED_KEY_UNTIL - 1] = TimestampTzGetDatum(wait->awaited_until);
	tc_row_insert(rel, TABLE_AWAITED_KEY, values, nulls);
}

void
tc_key_wait_remove(const KeyWait *wait)
{
	Relation	rel = open_table(TABLE_AWAITED_KEY, RowExclusiveLock);
	ItemPointerData tid = wait->tid;

	tc_row_delete(rel, TABLE_AWAITED_KEY, &tid);
	table_close(rel, NoLock);
}

bool
tc_key_group_next(KeyGroup *position, bool same_hash)
{
	Relation	rel = open_table(TABLE_AWAITED_KEY, AccessShareLock);
	ScanKeyData behind[] = {
		int8_key(AWAITED_KEY_HASH, BTEqualStrategyNumber, F_INT8EQ, position->key_hash),
		int8_key(AWAITED_KEY_QUEUE, BTGreaterStrategyNumber, F_INT8GT, position->queue)
	};
	ScanKeyData next = int8_key(AWAITED_KEY_HASH, BTGreaterStrategyNumber, F_INT8GT, position->key_hash);
	KeyWait		wait;
	bool		found;

	found = scan_waits(rel, AWAITED_KEY_HASH_IDX, lengthof(behind), behind, &wait, 1) > 0 ||
		(!same_hash && scan_waits(rel, AWAITED_KEY_HASH_IDX, 1, &next, &wait, 1) > 0);
	table_close(rel, NoLock);
	if (!found)
		return false;
	position->key_hash = wait.key_hash;
	position->queue = wait.queue;
	return true;
}

bool
tc_key_group_next_of_queue(KeyGroup *position)
{
	Relation	rel = open_table(TABLE_AWAITED_KEY, AccessShareLock);
	ScanKeyData keys[] = {
		int8_key(AWAITED_KEY_QUEUE, BTEqualStrategyNumber, F_INT8EQ, position->queue),
		int8_key(AWAITED_KEY_HASH, BTGreaterStrategyNumber, F_INT8GT, position->key_hash)
	};
	KeyWait		wait;
	bool		found = scan_waits(rel, AWAITED_KEY_QUEUE_IDX, lengthof(keys), keys, &wait, 1) > 0;

	table_close(rel, NoLock);
	if (found)
		position->key_hash = wait.key_hash;
	return found;
}

int
tc_key_group_waits(const KeyGroup *group, KeyWait *waits, int max)
{
	Relation	rel = open_table(TABLE_AWAITED_KEY, AccessShareLock);
	ScanKeyData keys[] = {
		int8_key(AWAITED_KEY_HASH, BTEqualStrategyNumber, F_INT8EQ, group->key_hash),
		int8_key(AWAITED_KEY_QUEUE, BTEqualStrategyNumber, F_INT8EQ, group->queue)
	};
	int			count = scan_waits(rel, AWAITED_KEY_HASH_IDX, lengthof(keys), keys, waits, max);

	table_close(rel, NoLock);
	return count;
}

int
tc_key_waits_due(TimestampTz from, TimestampTz now, KeyWait *waits, int max, TimestampTz *next)
{
	Relation	rel = open_table(TABLE_AWAITED_KEY, AccessShareLock);
	KeyWait    *found = palloc((max + 1) * sizeof(KeyWait));
	ScanKeyData key;
	int			count;
	int			ndue = 0;

	/* so that rows which are dead need not be passed again and again */
	ScanKeyInit(&key, AWAITED_KEY_UNTIL, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(from));
	count = scan_waits(rel, AWAITED_KEY_UNTIL_IDX, 1, &key, found, max + 1);
	while (ndue < Min(count, max) && found[ndue].awaited_until <= now)
	{
		waits[ndue] = found[ndue];
		ndue++;
	}
	*next = ndue < count ? found[ndue].awaited_until : DT_NOEND;
	pfree(found);
	table_close(rel, NoLock);
	return ndue;
}

/* In the order of an index, as far as there are some. */
static int
scan_waits(Relation rel, int index, int nkeys, ScanKey keys, KeyWait *waits, int max)
{
	Relation	index_rel = index_open(tc_required_table_index(rel, TABLE_AWAITED_KEY, index),
									   AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index_rel, GetActiveSnapshot(), nkeys, keys);
	HeapTuple	tuple;
	int			count = 0;

	while (count < max && (tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		Datum		values[AWAITED_KEY_NATTS];
		bool		nulls[AWAITED_KEY_NATTS];

		CHECK_FOR_INTERRUPTS();
		tc_row_deform(tuple, rel, TABLE_AWAITED_KEY, values, nulls);
		waits[count].key_hash = DatumGetInt64(values[AWAITED_KEY_HASH - 1]);
		waits[count].queue = DatumGetInt64(values[AWAITED_KEY_QUEUE - 1]);
		waits[count].id = DatumGetInt64(values[AWAITED_KEY_ID - 1]);
		waits[count].awaited_until = DatumGetTimestampTz(values[AWAITED_KEY_UNTIL - 1]);
		waits[count++].tid = tuple->t_self;
	}
	systable_endscan_ordered(scan);
	index_close(index_rel, AccessShareLock);
	return count;
}

static ScanKeyData
int8_key(AttrNumber attr, StrategyNumber strategy, RegProcedure function, int64 value)
{
	ScanKeyData key;

	ScanKeyInit(&key, attr, strategy, function, Int64GetDatum(value));
	return key;
}

KeyResolution
tc_key_wait_resolve(int64 id, const RecordedActivity *activity, bool maybe_sent)
{
	Relation	rel = open_table(TABLE_OUTBOX, RowExclusiveLock);
	HeapTuple	tuple = find_request(rel, id);
	Datum		values[OUTBOX_NATTS];
	bool		nulls[OUTBOX_NATTS];
	bool		replace[OUTBOX_NATTS] = {false};
	RequestIdentity identity = {
		.id = id,
		.xid = U64FromFullTransactionId(GetTopFullTransactionId()),
		.requested_at = GetCurrentTimestamp()
	};
	RequestMethod method;
	bytea	   *request;
	uint8	   *bytes;
	size_t		len;

	if (tuple == NULL || !lock_request(rel, tuple))
	{
		table_close(rel, NoLock);
		return KEY_BUSY;
	}
	tc_row_deform(tuple, rel, TABLE_OUTBOX, values, nulls);
	method = DatumGetInt16(values[OUTBOX_METHOD - 1]);
	request = DatumGetByteaPP(values[OUTBOX_REQUEST - 1]);
	bytes = tc_request_for_activity(&method, (const uint8 *) VARDATA_ANY(request), VARSIZE_ANY_EXHDR(request),
									activity->method, activity->heartbeat, activity->len, &identity, &len);
	if (bytes != NULL)
	{
#define SET(attr, value) \
		(replace[OUTBOX_##attr - 1] = true, nulls[OUTBOX_##attr - 1] = false, values[OUTBOX_##attr - 1] = (value))
#define SET_NULL(attr) (replace[OUTBOX_##attr - 1] = nulls[OUTBOX_##attr - 1] = true)
		SET(XID, FullTransactionIdGetDatum(FullTransactionIdFromU64(identity.xid)));
		SET(REQUESTED_AT, TimestampTzGetDatum(identity.requested_at));
		SET(WRITTEN_BY, TransactionIdGetDatum(GetCurrentTransactionId()));
		SET(METHOD, Int16GetDatum(method));
		SET(MAYBE_SENT, BoolGetDatum(maybe_sent));
		SET(REQUEST, PointerGetDatum(cstring_to_text_with_len((const char *) bytes, len)));
		SET(RECORDED_IN, Int64GetDatum(activity->queue));
		SET(RECORDED_ACTIVITY, Int64GetDatum(activity->id));
		SET_NULL(NEXT_ATTEMPT_AT);
		SET_NULL(AWAITED_UNTIL);
#undef SET
#undef SET_NULL
		tc_row_update(rel, TABLE_OUTBOX, &tuple->t_self, values, nulls, replace);
		pfree(DatumGetPointer(values[OUTBOX_REQUEST - 1]));
		pfree(bytes);
	}
	table_close(rel, NoLock);
	heap_freetuple(tuple);
	return bytes != NULL ? KEY_RESOLVED : KEY_UNREADABLE;
}

static HeapTuple
find_request(Relation outbox, int64 id)
{
	Oid			index = tc_table_index(outbox, TABLE_OUTBOX, OUTBOX_PKEY);
	ScanKeyData key = int8_key(OUTBOX_ID, BTEqualStrategyNumber, F_INT8EQ, id);
	SysScanDesc scan = systable_beginscan(outbox, index, OidIsValid(index), GetActiveSnapshot(), 1, &key);
	HeapTuple	tuple = heap_copytuple(systable_getnext(scan));

	systable_endscan(scan);
	return tuple;
}

static bool
lock_request(Relation outbox, HeapTuple tuple)
{
	TupleTableSlot *slot = table_slot_create(outbox, NULL);
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(outbox, &tuple->t_self, GetActiveSnapshot(), slot,
										  GetCurrentCommandId(true), LockTupleExclusive, LockWaitSkip,
										  0, &failure);

	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}
