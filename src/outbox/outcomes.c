/*-------------------------------------------------------------------------
 *
 * outcomes.c
 *	  Recording what became of requests.
 *
 * A finished request leaves temporal_internal.outbox: for temporal_internal.delivery, without
 * its payload, or, if somebody may want to decide about it, whole for
 * temporal_internal.rejected.  One that is to be tried again is updated in place.  Of
 * heartbeats that went well the last one of an activity is kept, which
 * last_heartbeats.c sees to.  All that is done for a batch of outcomes at once,
 * in the worker's transaction.
 *
 * Nothing here waits for others: a row that somebody else is changing, or
 * whose table somebody has locked, is left for the next call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "outbox/delivery_row.h"
#include "outbox/ended_activity.h"
#include "outbox/last_heartbeats.h"
#include "outbox/outbox.h"
#include "outbox/recorded_activity.h"
#include "outbox/row_write.h"
#include "request/request_fields.h"

/* How many rows of temporal_internal.delivery are inserted at once */
#define DELIVERY_CHUNK 200

typedef struct Recorder
{
	Relation	outbox;
	BlockNumber outbox_blocks;
	Oid			outbox_pkey;	/* InvalidOid = none */
	Relation	rejected;		/* NULL until needed */
	Relation	delivery;		/* the segment being filled; NULL until needed */
	CatalogIndexState delivery_indexes; /* NULL: rows cannot be written
										 * directly */
	bool		rejected_is_locked; /* by others */
	bool		delivery_is_locked;
	TupleTableSlot *row;		/* of the outbox */
	TupleTableSlot *delivery_rows[DELIVERY_CHUNK];
	int			ndelivery_slots;
	int			ndelivery_rows;
	int			segment;
	MemoryContext chunk_context;	/* of the values for delivery_rows */
	KeyFinisher before_finish;
	RecordedActivity finished;	/* by the request at hand; id 0: none */
	LastHeartbeats *last_heartbeats;
} Recorder;

static bool record_one(Recorder *recorder, Outcome *outcome);
static bool open_delivery(Recorder *recorder);
static void open_delivery_indexes(Recorder *recorder);
static bool open_rejected(Recorder *recorder);
static TableId segment_table(int segment);
static bool find_row(Recorder *recorder, const Outcome *outcome);
static bool forget_key(Recorder *recorder, const Outcome *outcome);
static void note_finished(Recorder *recorder, const Outcome *outcome);
static bool delete_row(Recorder *recorder);
static bool lock_row(Recorder *recorder);
static void add_delivery(Recorder *recorder, Outcome *outcome);
static void fill_delivery(Recorder *recorder, const Outcome *outcome, DeliveryRow *row);
static void write_delivery(void *arg, const DeliveryRow *row);
static void queue_delivery(Recorder *recorder, const DeliveryRow *row);
static void set_recorded(Recorder *recorder, DeliveryRow *row);
static void flush_deliveries(Recorder *recorder);
static bool is_kept_whole(Recorder *recorder, const Outcome *outcome);
static void insert_rejected(Recorder *recorder, const Outcome *outcome);
static void update_retry(Recorder *recorder, const Outcome *outcome);
static void set_text(Datum *values, bool *nulls, int attr, const char *text);
static void set_run(Datum *values, bool *nulls, const char *run_id);
static bool is_canonical_uuid(const char *text, uint8 bytes[UUID_LEN]);

bool
tc_outbox_record(Outcome *outcomes, int count, KeyFinisher before_finish)
{
	Recorder	recorder = {.before_finish = before_finish};
	bool		grown = false;

	recorder.outbox = tc_table_open_nowait(TABLE_OUTBOX, RowExclusiveLock);
	if (recorder.outbox == NULL)
	{
		for (int i = 0; i < count; i++)
			outcomes[i].recorded = false;
		return false;
	}
	recorder.outbox_blocks = RelationGetNumberOfBlocks(recorder.outbox);
	recorder.outbox_pkey = tc_table_index(recorder.outbox, TABLE_OUTBOX, OUTBOX_PKEY);
	recorder.row = table_slot_create(recorder.outbox, NULL);
	recorder.chunk_context = AllocSetContextCreate(CurrentMemoryContext,
												   "temporal_complete deliveries",
												   ALLOCSET_DEFAULT_SIZES);

	recorder.last_heartbeats = tc_last_heartbeats_begin(write_delivery, &recorder);

	for (int i = 0; i < count; i++)
	{
		outcomes[i].gone = !find_row(&recorder, &outcomes[i]);
		outcomes[i].recorded = outcomes[i].gone || record_one(&recorder, &outcomes[i]);
		ExecClearTuple(recorder.row);
	}
	tc_last_heartbeats_end(recorder.last_heartbeats);
	flush_deliveries(&recorder);

	ExecDropSingleTupleTableSlot(recorder.row);
	for (int i = 0; i < recorder.ndelivery_slots; i++)
		ExecDropSingleTupleTableSlot(recorder.delivery_rows[i]);
	if (recorder.delivery != NULL)
	{
		if (recorder.delivery_indexes != NULL)
		{
			CatalogCloseIndexes(recorder.delivery_indexes);
			grown = tc_delivery_has_grown(recorder.delivery);
		}
		table_close(recorder.delivery, NoLock);
	}
	if (recorder.rejected != NULL)
		table_close(recorder.rejected, NoLock);
	table_close(recorder.outbox, NoLock);
	MemoryContextDelete(recorder.chunk_context);
	return grown;
}

/* The row was found.  False if it has to be done later. */
static bool
record_one(Recorder *recorder, Outcome *outcome)
{
	switch (outcome->kind)
	{
		case OUTCOME_DELIVERED:
		case OUTCOME_UNCONFIRMED:
		case OUTCOME_REJECTED:
		case OUTCOME_SUPERSEDED:
			if (is_kept_whole(recorder, outcome))
			{
				if (!open_rejected(recorder) || !delete_row(recorder))
					return false;
				insert_rejected(recorder, outcome);
			}
			else
			{
				if (!open_delivery(recorder))
					return false;
				if (!forget_key(recorder, outcome) || !delete_row(recorder))
				{
					note_finished(recorder, outcome);
					return false;
				}
				add_delivery(recorder, outcome);
			}
			return true;
		case OUTCOME_RETRY:
			if (!lock_row(recorder))
				return false;
			update_retry(recorder, outcome);
			return true;
	}
	return true;
}

/* False if somebody else has locked it. */
static bool
open_delivery(Recorder *recorder)
{
	if (recorder->delivery != NULL)
		return true;
	if (recorder->delivery_is_locked)
		return false;
	recorder->segment = tc_delivery_segment();
	if (recorder->segment >= 0)
		recorder->delivery = tc_table_open_nowait(segment_table(recorder->segment), RowExclusiveLock);
	recorder->delivery_is_locked = recorder->delivery == NULL;
	if (recorder->delivery_is_locked)
		return false;
	if (tc_table_is_as_made(recorder->delivery, segment_table(recorder->segment)))
		open_delivery_indexes(recorder);
	return true;
}

/* Those that all rows are in.  What belongs in a partial one is written by the executor. */
static void
open_delivery_indexes(Recorder *recorder)
{
	CatalogIndexState indexes = CatalogOpenIndexes(recorder->delivery);

	for (int i = 0; i < indexes->ri_NumIndices; i++)
		if (indexes->ri_IndexRelationInfo[i]->ii_Predicate != NIL)
			indexes->ri_IndexRelationInfo[i]->ii_ReadyForInserts = false;
	recorder->delivery_indexes = indexes;
}

/* False if somebody else has locked it. */
static bool
open_rejected(Recorder *recorder)
{
	if (recorder->rejected == NULL && !recorder->rejected_is_locked)
		recorder->rejected = tc_table_open_nowait(TABLE_REJECTED, RowExclusiveLock);
	recorder->rejected_is_locked = recorder->rejected == NULL;
	return !recorder->rejected_is_locked;
}

static TableId
segment_table(int segment)
{
	return (TableId) (TABLE_DELIVERY_0 + segment);
}

/*
 * Fetch the row of an outcome into recorder->row: from where it was read, or,
 * if it has moved since (an update, VACUUM FULL), by its id.
 */
static bool
find_row(Recorder *recorder, const Outcome *outcome)
{
	ItemPointerData tid = outcome->tid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	if (ItemPointerIsValid(&tid) &&
		ItemPointerGetBlockNumber(&tid) < recorder->outbox_blocks &&
		table_tuple_fetch_row_version(recorder->outbox, &tid, GetActiveSnapshot(),
									  recorder->row))
	{
		bool		isnull;

		if (DatumGetInt64(slot_getattr(recorder->row, OUTBOX_ID, &isnull)) == outcome->id)
			return true;
		ExecClearTuple(recorder->row);
	}

	ScanKeyInit(&key, OUTBOX_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(outcome->id));
	scan = systable_beginscan(recorder->outbox, recorder->outbox_pkey,
							  OidIsValid(recorder->outbox_pkey), GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
		found = table_tuple_fetch_row_version(recorder->outbox, &tuple->t_self,
											  GetActiveSnapshot(), recorder->row);
	systable_endscan(scan);
	return found;
}

/*
 * A verdict that was delivered forgets the key by which it named its activity.
 * After a failure there may be another attempt, which is recorded by itself.
 * False if another transaction is changing what was recorded, or before_finish
 * says so.
 */
static bool
forget_key(Recorder *recorder, const Outcome *outcome)
{
	RequestTarget target;
	RequestMethod method;
	bytea	   *request;
	bool		has_ended;
	const Datum *values;
	int64		recorded_in;
	const char *key;

	recorder->finished.id = 0;
	if (outcome->kind != OUTCOME_DELIVERED || slot_attisnull(recorder->row, OUTBOX_KEY))
		return true;
	slot_getallattrs(recorder->row);
	values = recorder->row->tts_values;
	method = DatumGetInt16(values[OUTBOX_METHOD - 1]);
	if (tc_method_is_heartbeat(method) || slot_attisnull(recorder->row, OUTBOX_RECORDED_IN) ||
		slot_attisnull(recorder->row, OUTBOX_RECORDED_ACTIVITY))
		return true;
	request = DatumGetByteaPP(values[OUTBOX_REQUEST - 1]);
	has_ended = method != METHOD_FAIL && method != METHOD_FAIL_BY_ID &&
		tc_request_decode(method, (const uint8 *) VARDATA_ANY(request),
						  VARSIZE_ANY_EXHDR(request), &target);
	recorded_in = DatumGetInt64(values[OUTBOX_RECORDED_IN - 1]);
	key = TextDatumGetCString(values[OUTBOX_KEY - 1]);
	return recorder->before_finish(recorded_in, key) &&
		tc_activity_finish(recorded_in, key, DatumGetInt64(values[OUTBOX_RECORDED_ACTIVITY - 1]),
						   has_ended ? &target : NULL, outcome->id, &recorder->finished);
}

/* What was recorded is gone, but the outcome that would tell of it has to wait. */
static void
note_finished(Recorder *recorder, const Outcome *outcome)
{
	Relation	rel;

	if (recorder->finished.id == 0)
		return;
	rel = tc_table_open_nowait(TABLE_ENDED_ACTIVITY, RowExclusiveLock);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on relation \"%s\"", tc_table_name(TABLE_ENDED_ACTIVITY))));
	tc_ended_activity_note(rel, &recorder->finished, TC_ENDED_FINISHED, outcome->id);
	table_close(rel, NoLock);
}

/* False if another transaction is changing the row. */
static bool
delete_row(Recorder *recorder)
{
	TM_FailureData failure;

	if (!tc_table_is_as_made(recorder->outbox, TABLE_OUTBOX))
	{
		ItemPointerData tid;

		if (!lock_row(recorder))
			return false;
		tid = recorder->row->tts_tid;
		ExecMaterializeSlot(recorder->row);
		tc_row_delete(recorder->outbox, TABLE_OUTBOX, &tid);
		return true;
	}
	return tc_table_tuple_delete(recorder->outbox, &recorder->row->tts_tid,
								 GetCurrentCommandId(true), GetActiveSnapshot(),
								 &failure) == TM_Ok;
}

/* False if another transaction is changing the row. */
static bool
lock_row(Recorder *recorder)
{
	ItemPointerData tid = recorder->row->tts_tid;
	TM_FailureData failure;

	return table_tuple_lock(recorder->outbox, &tid, GetActiveSnapshot(), recorder->row,
							GetCurrentCommandId(true), LockTupleExclusive, LockWaitSkip,
							0, &failure) == TM_Ok;
}

static void
set_text(Datum *values, bool *nulls, int attr, const char *text)
{
	nulls[attr - 1] = text == NULL;
	values[attr - 1] = text ? CStringGetTextDatum(text) : (Datum) 0;
}

/* Is it one to be retried or discarded?  A heartbeat that may have been taken is not worth it. */
static bool
is_kept_whole(Recorder *recorder, const Outcome *outcome)
{
	bool		isnull;
	int			method;

	if (outcome->kind != OUTCOME_UNCONFIRMED)
		return outcome->kind == OUTCOME_REJECTED;
	method = DatumGetInt16(slot_getattr(recorder->row, OUTBOX_METHOD, &isnull));
	return !(tc_method_is_valid(method) && tc_method_is_heartbeat(method));
}

/*
 * A run's id as a UUID, which takes half as much; as text where it would not
 * come back as it was.
 */
static void
set_run(Datum *values, bool *nulls, const char *run_id)
{
	uint8		bytes[UUID_LEN];
	pg_uuid_t  *uuid = NULL;

	if (run_id != NULL && is_canonical_uuid(run_id, bytes))
	{
		uuid = palloc(sizeof(pg_uuid_t));
		memcpy(uuid->data, bytes, UUID_LEN);
	}
	nulls[DELIVERY_RUN_UUID - 1] = uuid == NULL;
	values[DELIVERY_RUN_UUID - 1] = UUIDPGetDatum(uuid);
	set_text(values, nulls, DELIVERY_RUN_ID, uuid == NULL ? run_id : NULL);
}

/* Is it 32 hexadecimal digits, lower case, with hyphens as PostgreSQL writes them? */
static bool
is_canonical_uuid(const char *text, uint8 bytes[UUID_LEN])
{
	static const char pattern[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	int			ndigits = 0;

	if (strlen(text) != sizeof(pattern) - 1)
		return false;
	memset(bytes, 0, UUID_LEN);
	for (int i = 0; pattern[i] != '\0'; i++)
	{
		char		c = text[i];
		uint8		digit;

		if (pattern[i] == '-')
		{
			if (c != '-')
				return false;
			continue;
		}
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else
			return false;
		bytes[ndigits / 2] |= digit << (ndigits % 2 == 0 ? 4 : 0);
		ndigits++;
	}
	return true;
}

/* Add an outcome, of the request in recorder->row, to what is to be written. */
static void
add_delivery(Recorder *recorder, Outcome *outcome)
{
	bool		isnull;
	RequestMethod method = DatumGetInt16(slot_getattr(recorder->row, OUTBOX_METHOD, &isnull));
	bool		is_heartbeat = tc_method_is_valid(method) && tc_method_is_heartbeat(method);
	bool		is_last = is_heartbeat && outcome->kind != OUTCOME_UNCONFIRMED;
	MemoryContext old = MemoryContextSwitchTo(is_last ?
											  tc_last_heartbeats_context(recorder->last_heartbeats) :
											  recorder->chunk_context);
	DeliveryRow row;

	fill_delivery(recorder, outcome, &row);
	if (!is_last || !tc_last_heartbeat_add(recorder->last_heartbeats, outcome, &row))
	{
		if (!is_heartbeat && outcome->kind == OUTCOME_DELIVERED)
			tc_last_heartbeat_verdict(recorder->last_heartbeats, &row);
		write_delivery(recorder, &row);
	}
	MemoryContextSwitchTo(old);
}

/* In the current memory context */
static void
fill_delivery(Recorder *recorder, const Outcome *outcome, DeliveryRow *row)
{
	Datum	   *values = row->values;
	bool	   *nulls = row->nulls;
	RequestTarget target;
	RequestMethod method;
	bytea	   *request;

	memset(values, 0, sizeof(row->values));
	memset(nulls, 0, sizeof(row->nulls));
	slot_getallattrs(recorder->row);
	request = DatumGetByteaPP(recorder->row->tts_values[OUTBOX_REQUEST - 1]);
	method = DatumGetInt16(recorder->row->tts_values[OUTBOX_METHOD - 1]);
	if (!tc_method_is_valid(method) ||
		!tc_request_decode(method, (const uint8 *) VARDATA_ANY(request),
						   VARSIZE_ANY_EXHDR(request), &target))
		memset(&target, 0, sizeof(target));

	values[DELIVERY_ID - 1] = Int64GetDatum(outcome->id);
	values[DELIVERY_REQUESTED_AT - 1] = recorder->row->tts_values[OUTBOX_REQUESTED_AT - 1];
	values[DELIVERY_FINISHED_AT - 1] = TimestampTzGetDatum(outcome->at);
	values[DELIVERY_QUEUE - 1] = recorder->row->tts_values[OUTBOX_QUEUE - 1];
	values[DELIVERY_ATTEMPTS - 1] = Int32GetDatum(outcome->attempts);
	values[DELIVERY_METHOD - 1] = Int16GetDatum(method);
	values[DELIVERY_CONFIRMED - 1] = BoolGetDatum(outcome->kind == OUTCOME_DELIVERED);
	nulls[DELIVERY_CONFIRMED - 1] = outcome->kind == OUTCOME_SUPERSEDED;
	values[DELIVERY_CANCEL_REQUESTED - 1] = BoolGetDatum(outcome->heartbeat_reply.cancel_requested);
	values[DELIVERY_ACTIVITY_PAUSED - 1] = BoolGetDatum(outcome->heartbeat_reply.activity_paused);
	values[DELIVERY_ACTIVITY_RESET - 1] = BoolGetDatum(outcome->heartbeat_reply.activity_reset);
	nulls[DELIVERY_CANCEL_REQUESTED - 1] = !outcome->has_heartbeat_reply;
	nulls[DELIVERY_ACTIVITY_PAUSED - 1] = !outcome->has_heartbeat_reply;
	nulls[DELIVERY_ACTIVITY_RESET - 1] = !outcome->has_heartbeat_reply;
#define ID_TEXT(id) ((id) ? tc_utf8_to_server((id), strlen(id), SIZE_MAX) : NULL)
	set_text(values, nulls, DELIVERY_ACTIVITY_ID, ID_TEXT(target.activity_id));
	set_text(values, nulls, DELIVERY_WORKFLOW_ID, ID_TEXT(target.workflow_id));
	set_run(values, nulls, ID_TEXT(target.run_id));
#undef ID_TEXT
	set_text(values, nulls, DELIVERY_ERROR_CODE, outcome->error_code);
	set_text(values, nulls, DELIVERY_ERROR_MESSAGE, outcome->error_message);
	nulls[DELIVERY_REJECTED - 1] = true;
	nulls[DELIVERY_DECISIONS - 1] = recorder->row->tts_isnull[OUTBOX_DECISIONS - 1];
	if (!nulls[DELIVERY_DECISIONS - 1])
		values[DELIVERY_DECISIONS - 1] =
			PointerGetDatum(DatumGetTextPCopy(recorder->row->tts_values[OUTBOX_DECISIONS - 1]));

	nulls[DELIVERY_KEY - 1] = recorder->row->tts_isnull[OUTBOX_KEY - 1];
	if (!nulls[DELIVERY_KEY - 1])
		values[DELIVERY_KEY - 1] =
			PointerGetDatum(DatumGetTextPCopy(recorder->row->tts_values[OUTBOX_KEY - 1]));
	set_recorded(recorder, row);
	nulls[DELIVERY_EARLIER_HEARTBEATS - 1] = true;
}

/* Into the segment that is being filled, which is open.  A DeliveryWriter. */
static void
write_delivery(void *arg, const DeliveryRow *row)
{
	Recorder   *recorder = arg;
	DeliveryRow complete = *row;

	complete.values[DELIVERY_SEGMENT - 1] = Int16GetDatum(recorder->segment);
	complete.nulls[DELIVERY_SEGMENT - 1] = false;
	if (recorder->delivery_indexes != NULL &&
		(complete.nulls[DELIVERY_CONFIRMED - 1] ||
		 DatumGetBool(complete.values[DELIVERY_CONFIRMED - 1])))
		queue_delivery(recorder, &complete);
	else
		tc_row_insert(recorder->delivery, segment_table(recorder->segment), complete.values, complete.nulls);

	if (recorder->ndelivery_rows == DELIVERY_CHUNK)
		flush_deliveries(recorder);
}

/* Which recording it was about, and, if that ended with it, what is told of that. */
static void
set_recorded(Recorder *recorder, DeliveryRow *delivery)
{
	Datum	   *values = delivery->values;
	bool	   *nulls = delivery->nulls;
	const Datum *row = recorder->row->tts_values;
	const bool *row_nulls = recorder->row->tts_isnull;
	const RecordedActivity *finished = &recorder->finished;
	int32		attempt = finished->id != 0 ? tc_recorded_attempt(finished) : 0;

	values[DELIVERY_RECORDED_ACTIVITY - 1] = row[OUTBOX_RECORDED_ACTIVITY - 1];
	nulls[DELIVERY_RECORDED_ACTIVITY - 1] = row_nulls[OUTBOX_RECORDED_ACTIVITY - 1];
	values[DELIVERY_RECORDED_AT - 1] = TimestampTzGetDatum(finished->recorded_at);
	nulls[DELIVERY_RECORDED_AT - 1] = finished->id == 0;
	values[DELIVERY_RECORDED_ATTEMPT - 1] = Int32GetDatum(attempt);
	nulls[DELIVERY_RECORDED_ATTEMPT - 1] = attempt == 0;
	/* most keys are the requester's own */
	values[DELIVERY_RECORDED_IN - 1] = row[OUTBOX_RECORDED_IN - 1];
	nulls[DELIVERY_RECORDED_IN - 1] = row_nulls[OUTBOX_RECORDED_IN - 1] ||
		DatumGetInt64(row[OUTBOX_RECORDED_IN - 1]) == DatumGetInt64(row[OUTBOX_QUEUE - 1]);
}

/* A row that is to be inserted with others; it lives in chunk_context. */
static void
queue_delivery(Recorder *recorder, const DeliveryRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(recorder->chunk_context);
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(recorder->delivery), (Datum *) row->values,
										(bool *) row->nulls);

	tc_tuple_shorten(tuple, row->nulls, DELIVERY_NATTS);
	if (recorder->ndelivery_rows == recorder->ndelivery_slots)
	{
		MemoryContextSwitchTo(MemoryContextGetParent(recorder->chunk_context));
		recorder->delivery_rows[recorder->ndelivery_slots++] =
			MakeSingleTupleTableSlot(RelationGetDescr(recorder->delivery), &TTSOpsHeapTuple);
	}
	ExecStoreHeapTuple(tuple, recorder->delivery_rows[recorder->ndelivery_rows++], false);
	MemoryContextSwitchTo(old);
}

static void
flush_deliveries(Recorder *recorder)
{
	if (recorder->ndelivery_rows > 0)
		CatalogTuplesMultiInsertWithInfo(recorder->delivery, recorder->delivery_rows,
										 recorder->ndelivery_rows,
										 recorder->delivery_indexes);
	for (int i = 0; i < recorder->ndelivery_rows; i++)
		ExecClearTuple(recorder->delivery_rows[i]);
	recorder->ndelivery_rows = 0;
	MemoryContextReset(recorder->chunk_context);
}

/* Copy recorder->row, which has been deleted, to temporal_internal.rejected. */
static void
insert_rejected(Recorder *recorder, const Outcome *outcome)
{
	Datum		values[REJECTED_NATTS];
	bool		nulls[REJECTED_NATTS] = {false};

	slot_getallattrs(recorder->row);
	memcpy(values, recorder->row->tts_values, OUTBOX_NATTS * sizeof(Datum));
	memcpy(nulls, recorder->row->tts_isnull, OUTBOX_NATTS * sizeof(bool));
	/* a toasted value belongs to the table that it stands in */
	for (int i = 0; i < OUTBOX_NATTS; i++)
		if (!nulls[i] && TupleDescAttr(RelationGetDescr(recorder->outbox), i)->attlen == -1)
			values[i] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
	values[OUTBOX_WRITTEN_BY - 1] = TransactionIdGetDatum(GetCurrentTransactionId());
	values[OUTBOX_MAYBE_SENT - 1] = BoolGetDatum(outcome->kind == OUTCOME_UNCONFIRMED);
	values[OUTBOX_ATTEMPTS - 1] = Int32GetDatum(outcome->attempts);
	nulls[OUTBOX_ATTEMPTS - 1] = false;
	nulls[OUTBOX_NEXT_ATTEMPT_AT - 1] = true;
	set_text(values, nulls, OUTBOX_ERROR_CODE, outcome->error_code);
	set_text(values, nulls, OUTBOX_ERROR_MESSAGE, outcome->error_message);
	values[REJECTED_FINISHED_AT - 1] = TimestampTzGetDatum(outcome->at);

	tc_row_insert(recorder->rejected, TABLE_REJECTED, values, nulls);
}

/* Note in recorder->row, which is locked, that the request is to be tried again. */
static void
update_retry(Recorder *recorder, const Outcome *outcome)
{
	Datum		values[OUTBOX_NATTS] = {0};
	bool		nulls[OUTBOX_NATTS] = {false};
	bool		replace[OUTBOX_NATTS] = {false};
	ItemPointerData tid = recorder->row->tts_tid;

	replace[OUTBOX_WRITTEN_BY - 1] = true;
	values[OUTBOX_WRITTEN_BY - 1] = TransactionIdGetDatum(GetCurrentTransactionId());
	replace[OUTBOX_MAYBE_SENT - 1] = true;
	values[OUTBOX_MAYBE_SENT - 1] = BoolGetDatum(outcome->maybe_sent);
	replace[OUTBOX_ATTEMPTS - 1] = true;
	values[OUTBOX_ATTEMPTS - 1] = Int32GetDatum(outcome->attempts);
	replace[OUTBOX_NEXT_ATTEMPT_AT - 1] = true;
	values[OUTBOX_NEXT_ATTEMPT_AT - 1] = TimestampTzGetDatum(outcome->next_attempt_at);
	nulls[OUTBOX_NEXT_ATTEMPT_AT - 1] = outcome->next_attempt_at == 0;
	replace[OUTBOX_ERROR_CODE - 1] = true;
	set_text(values, nulls, OUTBOX_ERROR_CODE, outcome->error_code);
	replace[OUTBOX_ERROR_MESSAGE - 1] = true;
	set_text(values, nulls, OUTBOX_ERROR_MESSAGE, outcome->error_message);

	tc_row_update(recorder->outbox, TABLE_OUTBOX, &tid, values, nulls, replace);
}
