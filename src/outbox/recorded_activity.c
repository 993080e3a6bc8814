/*-------------------------------------------------------------------------
 *
 * recorded_activity.c
 *	  Activities that were recorded under a key: the table of them.
 *
 * Rows are only added and removed.  Of those that a snapshot sees for one key
 * the one with the largest id counts.  So to record again is to add a row; the
 * ones before it are removed by the way, as far as nobody else is about to,
 * and whoever records waits for nobody.
 *
 * What was finished must not come back by a recording that was made before it
 * and is committed later.  So as long as a transaction runs that could have
 * made one, the row stays and counts as expired since ever: see bury().  Who
 * removes it then removes such recordings with it.
 *
 * Whatever removes a recording notes how it ended, see ended_activity.c.
 *
 * Whose keys these are is decided by the queue in which they stand.  Whether
 * a server may be used was checked before; nothing here is sent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "outbox/ended_activity.h"
#include "outbox/outbox.h"
#include "outbox/recorded_activity.h"
#include "outbox/row_write.h"
#include "outbox/table_pass.h"

/* Pages that are looked at in one step of tidying */
#define TIDY_BLOCKS 20

typedef struct FoundRow
{
	ItemPointerData tid;
	TransactionId xmin;
	bool		removed;		/* by our own transaction, in this command */
	RecordedActivity activity;
} FoundRow;

/* Rows of a key that were found */
typedef struct Found
{
	List	   *rows;
	bool		heartbeats;		/* one of them has them sent */
	RecordedActivity newest;	/* id 0: there is none */
} Found;

/* To remove rows */
typedef struct Remover
{
	Relation	rel;
	Relation	ended;			/* temporal_internal.ended_activity; NULL
								 * until needed */
	LockWaitPolicy policy;		/* where others are about to remove one */
	bool		nowait;			/* not for a lock on a table, either */
} Remover;

static OwnQueue *queues_with(int64 number, int *count);
static void find_in_queues(Relation rel, const OwnQueue *queues, int count, const char *key,
						   Found *found);
static void tidy_row(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);
static bool end_older(Remover *remover, const RecordedActivity *activity);
static void take_row(FoundRow *row, HeapTuple tuple, Relation rel);
static bool is_still_needed(const FoundRow *row);
static bool open_ended(Remover *remover);
static void close_ended(Remover *remover);
static bool end_row(Remover *remover, FoundRow *row, bool and_bury, const char *ended, int64 request);
static bool bury(Relation rel, ItemPointer tid);
static bool lock_row(Relation rel, ItemPointer tid, LockWaitPolicy policy);
static bool remove_row(Relation rel, ItemPointer tid, LockWaitPolicy policy);
static bool is_there(const Found *found);
static bool is_same_activity(const RecordedActivity *activity, const RequestTarget *target);
static bool is_same_text(const char *a, const char *b);

bool
tc_activity_record(const RecordedActivity *activity, const QueueKey *queue_key)
{
	Relation	rel = tc_table_open(TABLE_RECORDED_ACTIVITY, RowExclusiveLock);
	Datum		values[RECORDED_ACTIVITY_NATTS] = {0};
	bool		nulls[RECORDED_ACTIVITY_NATTS] = {false};
	int			nqueues;
	OwnQueue   *queues = tc_own_queues(queue_key, &nqueues);
	Found		found = {0};
	Remover		remover = {.rel = rel,.policy = LockWaitSkip};
	ListCell   *lc;

	find_in_queues(rel, queues, nqueues, activity->key, &found);
	foreach(lc, found.rows)
	{
		FoundRow   *row = lfirst(lc);

		if (!is_still_needed(row))
			(void) end_row(&remover, row, false, TC_ENDED_REPLACED, 0);
	}
	close_ended(&remover);

#define SET(attr, value) (values[RECORDED_ACTIVITY_##attr - 1] = (value))
#define SET_NULL(attr, is_null) (nulls[RECORDED_ACTIVITY_##attr - 1] = (is_null))
	SET(ID, Int64GetDatum(activity->id));
	SET(XID, FullTransactionIdGetDatum(FullTransactionIdFromU64(activity->xid)));
	SET(RECORDED_AT, TimestampTzGetDatum(activity->recorded_at));
	SET(QUEUE, Int64GetDatum(activity->queue));
	SET(METHOD, Int16GetDatum(activity->method));
	SET(KEY, CStringGetTextDatum(activity->key));
	SET(HEARTBEAT, PointerGetDatum(cstring_to_text_with_len((const char *) activity->heartbeat,
															activity->len)));
	SET(EXPIRES_AT, TimestampTzGetDatum(activity->expires_at));
	SET_NULL(EXPIRES_AT, activity->expires_at == DT_NOEND);
	SET(HEARTBEAT_QUEUE, Int64GetDatum(activity->queue));
	SET_NULL(HEARTBEAT_QUEUE, !activity->heartbeats);
	SET(HEARTBEAT_INTERVAL, IntervalPGetDatum(activity->heartbeat_interval));
	SET_NULL(HEARTBEAT_INTERVAL, activity->heartbeat_interval == NULL);
	SET(SESSION, Int64GetDatum(activity->session));
	SET_NULL(SESSION, activity->session == 0);
#undef SET
#undef SET_NULL
	tc_row_insert(rel, TABLE_RECORDED_ACTIVITY, values, nulls);

	/* the lock is kept, as that of temporal_internal.outbox is */
	table_close(rel, NoLock);
	return found.heartbeats;
}

bool
tc_activity_find(const QueueKey *queue_key, const char *key, RecordedActivity *activity,
				 Oid *owner, Oid *second)
{
	Relation	rel = tc_table_open(TABLE_RECORDED_ACTIVITY, AccessShareLock);
	int			nqueues;
	OwnQueue   *queues = tc_own_queues(queue_key, &nqueues);
	Found		found = {0};

	*second = InvalidOid;
	find_in_queues(rel, queues, nqueues, key, &found);
	*owner = is_there(&found) ? queue_key->role : InvalidOid;
	if (!OidIsValid(*owner))
	{
		/* sorted by role */
		queues = tc_privileged_queues(queue_key, &nqueues);
		for (int i = 0, next; i < nqueues; i = next)
		{
			Found		of_role = {0};

			for (next = i + 1; next < nqueues && queues[next].role == queues[i].role; next++)
				;
			find_in_queues(rel, queues + i, next - i, key, &of_role);
			if (!is_there(&of_role))
				continue;
			if (OidIsValid(*owner))
			{
				*second = queues[i].role;
				break;
			}
			*owner = queues[i].role;
			found = of_role;
		}
	}
	table_close(rel, NoLock);
	*activity = found.newest;
	return OidIsValid(*owner);
}

uint64
tc_key_hash(const char *key, size_t len)
{
	return hash_bytes_extended((const unsigned char *) key, len, 0);
}

bool
tc_activity_forget(const QueueKey *queue_key, const char *key)
{
	Relation	rel = tc_table_open(TABLE_RECORDED_ACTIVITY, RowExclusiveLock);
	int			nqueues;
	OwnQueue   *queues = tc_own_queues(queue_key, &nqueues);
	Found		found = {0};
	Remover		remover = {.rel = rel,.policy = LockWaitBlock};
	bool		removed = false;
	ListCell   *lc;

	find_in_queues(rel, queues, nqueues, key, &found);
	foreach(lc, found.rows)
	{
		FoundRow   *row = lfirst(lc);
		bool		is_newest = row->activity.id == found.newest.id;

		if (!is_still_needed(row))
			removed |= end_row(&remover, row, false,
							   is_newest ? TC_ENDED_FORGOTTEN : TC_ENDED_REPLACED, 0);
	}
	close_ended(&remover);
	table_close(rel, NoLock);
	return removed && is_there(&found);
}

bool
tc_activity_finish(int64 queue, const char *key, int64 id, const RequestTarget *ended,
				   int64 request, RecordedActivity *finished)
{
	Relation	rel = tc_table_open_nowait(TABLE_RECORDED_ACTIVITY, RowExclusiveLock);
	OwnQueue   *queues;
	int			nqueues;
	Found		found = {0};
	Remover		remover = {.rel = rel,.policy = LockWaitSkip,.nowait = true};
	bool		result = true;
	ListCell   *lc;

	finished->id = 0;
	if (rel == NULL)
		return false;
	queues = queues_with(queue, &nqueues);
	find_in_queues(rel, queues, nqueues, key, &found);
	foreach(lc, found.rows)
	{
		FoundRow   *row = lfirst(lc);
		bool		and_bury = row->activity.id == found.newest.id && GetActiveSnapshot()->xcnt > 0;

		if (row->activity.id > id && (ended == NULL || !is_same_activity(&row->activity, ended)))
			continue;
		if (is_still_needed(row))
			continue;
		/* it is told with the outcome */
		if (row->activity.id == id && row->activity.expires_at != DT_NOBEGIN)
		{
			if (end_row(&remover, row, and_bury, NULL, 0))
				*finished = row->activity;
			else
				result = false;
		}
		else if (row->activity.id > id)
			result &= end_row(&remover, row, and_bury, TC_ENDED_FINISHED, request);
		else
			result &= end_row(&remover, row, and_bury, TC_ENDED_REPLACED, 0);
	}
	close_ended(&remover);
	table_close(rel, NoLock);
	return result;
}

/*
 * Does it say that an activity was finished of whose key there may be an older
 * recording that is not committed?  Who has made that had an id when this was
 * written.
 */
static bool
is_still_needed(const FoundRow *row)
{
	return row->activity.expires_at == DT_NOBEGIN &&
		!TransactionIdPrecedes(row->xmin, GetActiveSnapshot()->xmin);
}

/* False if somebody else has locked it. */
static bool
open_ended(Remover *remover)
{
	if (remover->ended == NULL)
		remover->ended = remover->nowait ?
			tc_table_open_nowait(TABLE_ENDED_ACTIVITY, RowExclusiveLock) :
			tc_table_open(TABLE_ENDED_ACTIVITY, RowExclusiveLock);
	return remover->ended != NULL;
}

static void
close_ended(Remover *remover)
{
	if (remover->ended != NULL)
		table_close(remover->ended, NoLock);
}

/*
 * Remove a row, or bury it, and note how it ended, if that is said: of what is
 * buried that was noted before.  False if others have removed it, or as the
 * remover says.
 */
static bool
end_row(Remover *remover, FoundRow *row, bool and_bury, const char *ended, int64 request)
{
	bool		to_note = ended != NULL && row->activity.expires_at != DT_NOBEGIN;

	if (to_note && !open_ended(remover))
		return false;
	if (and_bury ? !bury(remover->rel, &row->tid) :
		!remove_row(remover->rel, &row->tid, remover->policy))
		return false;
	if (to_note)
		tc_ended_activity_note(remover->ended, &row->activity, ended, request);
	return true;
}

/* Have nothing be recorded under a key, and nothing that was recorded before.  False as below. */
static bool
bury(Relation rel, ItemPointer tid)
{
	Datum		values[RECORDED_ACTIVITY_NATTS] = {0};
	bool		nulls[RECORDED_ACTIVITY_NATTS] = {false};
	bool		replace[RECORDED_ACTIVITY_NATTS] = {false};

	if (!lock_row(rel, tid, LockWaitSkip))
		return false;
	for (int i = RECORDED_ACTIVITY_HEARTBEAT - 1; i < RECORDED_ACTIVITY_NATTS; i++)
		replace[i] = nulls[i] = true;
	nulls[RECORDED_ACTIVITY_HEARTBEAT - 1] = nulls[RECORDED_ACTIVITY_EXPIRES_AT - 1] = false;
	values[RECORDED_ACTIVITY_HEARTBEAT - 1] = PointerGetDatum(cstring_to_text_with_len("", 0));
	values[RECORDED_ACTIVITY_EXPIRES_AT - 1] = TimestampTzGetDatum(DT_NOBEGIN);
	tc_row_update(rel, TABLE_RECORDED_ACTIVITY, tid, values, nulls, replace);
	return true;
}

static bool
is_same_activity(const RecordedActivity *activity, const RequestTarget *target)
{
	RequestTarget other;

	return tc_request_decode(activity->method, activity->heartbeat, activity->len, &other) &&
		is_same_text(other.workflow_id, target->workflow_id) &&
		is_same_text(other.activity_id, target->activity_id) &&
		is_same_text(other.run_id, target->run_id) &&
		other.scheduled_event_id == target->scheduled_event_id;
}

static bool
is_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What has expired is buried first, too, and removed by the next pass. */
bool
tc_activities_tidy(BlockNumber *block)
{
	Relation	rel = tc_table_open_nowait(TABLE_RECORDED_ACTIVITY, RowExclusiveLock);
	Remover		remover = {.rel = rel,.policy = LockWaitSkip,.nowait = true};

	if (rel == NULL)
		return false;
	tc_table_pass(rel, block, TIDY_BLOCKS, tidy_row, &remover);
	close_ended(&remover);
	table_close(rel, NoLock);
	return true;
}

static void
tidy_row(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg)
{
	Remover    *remover = arg;
	bool		isnull;
	Datum		expires_at = slot_getattr(slot, RECORDED_ACTIVITY_EXPIRES_AT, &isnull);
	HeapTuple	tuple;
	FoundRow	row;

	if (isnull || DatumGetTimestampTz(expires_at) > GetCurrentTimestamp())
		return;
	tuple = ExecCopySlotHeapTuple(slot);
	ExecClearTuple(slot);
	take_row(&row, tuple, remover->rel);
	if (!row.removed && !is_still_needed(&row))
	{
		bool		and_bury = row.activity.expires_at != DT_NOBEGIN && GetActiveSnapshot()->xcnt > 0;

		if (and_bury || end_older(remover, &row.activity))
			(void) end_row(remover, &row, and_bury, TC_ENDED_EXPIRED, 0);
	}
	heap_freetuple(tuple);
}

/*
 * Remove what was recorded under a key before: by who committed later, or while
 * somebody had it locked.  Without the newer one it would count again.  False
 * if something of it has to stay.
 */
static bool
end_older(Remover *remover, const RecordedActivity *activity)
{
	int			nqueues;
	OwnQueue   *queues = queues_with(activity->queue, &nqueues);
	Found		found = {0};
	bool		result = true;
	ListCell   *lc;

	find_in_queues(remover->rel, queues, nqueues, activity->key, &found);
	foreach(lc, found.rows)
	{
		FoundRow   *row = lfirst(lc);

		if (row->activity.id >= activity->id || row->removed)
			continue;
		result &= !is_still_needed(row) && end_row(remover, row, false, TC_ENDED_REPLACED, 0);
	}
	list_free_deep(found.rows);
	return result;
}

/*
 * All queues that are what that one is, and so have one set of keys: two
 * transactions that need one for the first time at once make two.  For the
 * worker, which asks for the same one many times in a transaction.
 */
static OwnQueue *
queues_with(int64 number, int *count)
{
	static uint64 asked_in = 0;
	static int64 asked_for;
	static OwnQueue *queues;	/* in TopTransactionContext */
	static int	nqueues;
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());

	if (xid != asked_in || number != asked_for)
	{
		MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
		QueueRow	row;
		bool		is_from_here;

		asked_in = 0;
		if (tc_queue_find(number, &row, &is_from_here) && is_from_here)
			queues = tc_own_queues(&row.key, &nqueues);
		else
		{
			queues = palloc0(sizeof(OwnQueue));
			queues->number = number;
			nqueues = 1;
		}
		asked_in = xid;
		asked_for = number;
		MemoryContextSwitchTo(old);
	}
	*count = nqueues;
	return queues;
}

/* Queues of one role. */
static void
find_in_queues(Relation rel, const OwnQueue *queues, int count, const char *key, Found *found)
{
	Oid			index = tc_table_index(rel, TABLE_RECORDED_ACTIVITY, RECORDED_ACTIVITY_KEY_IDX);

	for (int i = 0; i < count; i++)
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&keys[0], RECORDED_ACTIVITY_QUEUE, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(queues[i].number));
		ScanKeyEntryInitialize(&keys[1], 0, RECORDED_ACTIVITY_KEY, BTEqualStrategyNumber,
							   InvalidOid, C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(key));
		scan = systable_beginscan(rel, index, OidIsValid(index), GetActiveSnapshot(), 2, keys);
		while ((tuple = systable_getnext(scan)) != NULL)
		{
			FoundRow   *row = palloc(sizeof(FoundRow));

			take_row(row, heap_copytuple(tuple), rel);
			found->rows = lappend(found->rows, row);
			found->heartbeats |= row->activity.heartbeats;
			if (row->activity.id > found->newest.id)
				found->newest = row->activity;
		}
		systable_endscan(scan);
	}
}

/* The tuple is to live as long as what is taken from it. */
static void
take_row(FoundRow *row, HeapTuple tuple, Relation rel)
{
	HeapTupleHeader header = tuple->t_data;

	row->tid = tuple->t_self;
	row->xmin = HeapTupleHeaderGetXmin(header);
	row->removed = !(header->t_infomask & HEAP_XMAX_INVALID) &&
		!HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) &&
		TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(header));
	tc_activity_deform(tuple, rel, &row->activity);
}

static bool
is_there(const Found *found)
{
	return found->newest.id > 0 && found->newest.expires_at > GetCurrentTimestamp();
}

/* False if others have removed it, or with LockWaitSkip are about to. */
static bool
remove_row(Relation rel, ItemPointer tid, LockWaitPolicy policy)
{
	bool		locked = lock_row(rel, tid, policy);

	if (locked)
		tc_row_delete(rel, TABLE_RECORDED_ACTIVITY, tid);
	return locked;
}

static bool
lock_row(Relation rel, ItemPointer tid, LockWaitPolicy policy)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(rel, tid, GetActiveSnapshot(), slot,
										  GetCurrentCommandId(true), LockTupleExclusive,
										  policy, 0, &failure);

	ExecDropSingleTupleTableSlot(slot);
	if ((result == TM_Updated || result == TM_Deleted) &&
		policy == LockWaitBlock && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent delete")));
	return result == TM_Ok;
}

void
tc_activity_deform(HeapTuple tuple, Relation rel, RecordedActivity *activity)
{
	Datum		values[RECORDED_ACTIVITY_NATTS];
	bool		nulls[RECORDED_ACTIVITY_NATTS];
	bytea	   *heartbeat;

	tc_row_deform(tuple, rel, TABLE_RECORDED_ACTIVITY, values, nulls);
#define GET(attr) (values[RECORDED_ACTIVITY_##attr - 1])
#define IS_NULL(attr) (nulls[RECORDED_ACTIVITY_##attr - 1])
	activity->id = DatumGetInt64(GET(ID));
	activity->xid = U64FromFullTransactionId(DatumGetFullTransactionId(GET(XID)));
	activity->recorded_at = DatumGetTimestampTz(GET(RECORDED_AT));
	activity->queue = DatumGetInt64(GET(QUEUE));
	activity->method = DatumGetInt16(GET(METHOD));
	activity->key = TextDatumGetCString(GET(KEY));
	heartbeat = DatumGetByteaPP(GET(HEARTBEAT));
	activity->heartbeat = (const uint8 *) VARDATA_ANY(heartbeat);
	activity->len = VARSIZE_ANY_EXHDR(heartbeat);
	activity->expires_at = IS_NULL(EXPIRES_AT) ? DT_NOEND : DatumGetTimestampTz(GET(EXPIRES_AT));
	activity->heartbeats = !IS_NULL(HEARTBEAT_QUEUE);
	activity->heartbeat_interval = IS_NULL(HEARTBEAT_INTERVAL) ? NULL :
		DatumGetIntervalP(GET(HEARTBEAT_INTERVAL));
	activity->session = IS_NULL(SESSION) ? 0 : DatumGetInt64(GET(SESSION));
#undef GET
#undef IS_NULL
}
