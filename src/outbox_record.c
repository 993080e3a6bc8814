/*-------------------------------------------------------------------------
 *
 * outbox_record.c
 *	  Recording what became of requests.
 *
 * A finished request leaves temporal.outbox: for temporal.delivery, without
 * its payload, or, if Temporal refused it, whole for temporal.rejected.  One
 * that is to be tried again is updated in place.  All that is done for a
 * batch of outcomes at once, in the worker's transaction.
 *
 * Nothing here waits for a row: one that somebody else is changing is left
 * for the next call.  A lock on one of our tables is waited for.
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
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "foreign_text.h"
#include "outbox.h"

/* Columns of temporal.delivery */
enum
{
	DELIVERY_ID = 1,
	DELIVERY_REQUESTED_AT,
	DELIVERY_FINISHED_AT,
	DELIVERY_QUEUE,
	DELIVERY_ATTEMPTS,
	DELIVERY_METHOD,
	DELIVERY_SEGMENT,
	DELIVERY_CONFIRMED,
	DELIVERY_ACTIVITY_ID,
	DELIVERY_WORKFLOW_ID,
	DELIVERY_RUN_UUID,
	DELIVERY_RUN_ID,
	DELIVERY_CANCEL_REQUESTED,
	DELIVERY_ACTIVITY_PAUSED,
	DELIVERY_ACTIVITY_RESET,
	DELIVERY_ERROR_CODE,
	DELIVERY_ERROR_MESSAGE,
	DELIVERY_NATTS = DELIVERY_ERROR_MESSAGE
};

/* How many rows of temporal.delivery are inserted at once */
#define DELIVERY_CHUNK 200

typedef struct Recorder
{
	Relation	outbox;
	BlockNumber outbox_blocks;
	Relation	outbox_pkey;
	Relation	rejected;		/* NULL until needed */
	Relation	delivery;		/* the segment being filled; NULL until needed */
	CatalogIndexState delivery_indexes;
	TupleTableSlot *row;		/* of the outbox */
	TupleTableSlot *delivery_rows[DELIVERY_CHUNK];
	int			ndelivery_slots;
	int			ndelivery_rows;
	int			segment;
	MemoryContext chunk_context;	/* of the values for delivery_rows */
} Recorder;

static bool find_row(Recorder *recorder, const Outcome *outcome);
static bool delete_row(Recorder *recorder);
static bool lock_row(Recorder *recorder);
static void add_delivery(Recorder *recorder, const Outcome *outcome);
static void flush_deliveries(Recorder *recorder);
static void insert_rejected(Recorder *recorder, const Outcome *outcome);
static void update_retry(Recorder *recorder, const Outcome *outcome);
static void set_text(Datum *values, bool *nulls, int attr, const char *text);
static void set_run(Datum *values, bool *nulls, const char *run_id);
static bool is_canonical_uuid(const char *text, uint8 bytes[UUID_LEN]);

bool
tc_outbox_record(Outcome *outcomes, int count)
{
	Recorder	recorder = {0};
	bool		grown = false;

	recorder.outbox = table_open(tc_relation_oid("outbox"), RowExclusiveLock);
	recorder.outbox_blocks = RelationGetNumberOfBlocks(recorder.outbox);
	recorder.outbox_pkey = index_open(tc_relation_oid("outbox_pkey"), AccessShareLock);
	recorder.row = table_slot_create(recorder.outbox, NULL);
	recorder.chunk_context = AllocSetContextCreate(CurrentMemoryContext,
												   "temporal_complete deliveries",
												   ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < count; i++)
	{
		Outcome    *outcome = &outcomes[i];

		outcome->recorded = true;
		if (!find_row(&recorder, outcome))
			continue;
		switch (outcome->kind)
		{
			case OUTCOME_DELIVERED:
			case OUTCOME_UNCONFIRMED:
				outcome->recorded = delete_row(&recorder);
				if (outcome->recorded)
					add_delivery(&recorder, outcome);
				break;
			case OUTCOME_REJECTED:
				outcome->recorded = delete_row(&recorder);
				if (outcome->recorded)
					insert_rejected(&recorder, outcome);
				break;
			case OUTCOME_RETRY:
				outcome->recorded = lock_row(&recorder);
				if (outcome->recorded)
					update_retry(&recorder, outcome);
				break;
		}
		ExecClearTuple(recorder.row);
	}
	flush_deliveries(&recorder);

	ExecDropSingleTupleTableSlot(recorder.row);
	for (int i = 0; i < recorder.ndelivery_slots; i++)
		ExecDropSingleTupleTableSlot(recorder.delivery_rows[i]);
	if (recorder.delivery != NULL)
	{
		CatalogCloseIndexes(recorder.delivery_indexes);
		grown = tc_delivery_has_grown(recorder.delivery);
		table_close(recorder.delivery, RowExclusiveLock);
	}
	if (recorder.rejected != NULL)
		table_close(recorder.rejected, RowExclusiveLock);
	index_close(recorder.outbox_pkey, AccessShareLock);
	table_close(recorder.outbox, RowExclusiveLock);
	MemoryContextDelete(recorder.chunk_context);
	return grown;
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
	scan = systable_beginscan_ordered(recorder->outbox, recorder->outbox_pkey,
									  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (tuple != NULL)
		found = table_tuple_fetch_row_version(recorder->outbox, &tuple->t_self,
											  GetActiveSnapshot(), recorder->row);
	systable_endscan_ordered(scan);
	return found;
}

/* False if another transaction is changing the row. */
static bool
delete_row(Recorder *recorder)
{
	TM_FailureData failure;

	return table_tuple_delete(recorder->outbox, &recorder->row->tts_tid,
							  GetCurrentCommandId(true), GetActiveSnapshot(),
							  InvalidSnapshot, false, &failure, false) == TM_Ok;
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

/* Add an outcome, of the request in recorder->row, to the rows to be inserted. */
static void
add_delivery(Recorder *recorder, const Outcome *outcome)
{
	Datum		values[DELIVERY_NATTS] = {0};
	bool		nulls[DELIVERY_NATTS] = {false};
	TupleTableSlot *slot;
	HeapTuple	tuple;
	MemoryContext old;
	RequestTarget target;
	RequestMethod method;
	bytea	   *request;

	if (recorder->delivery == NULL)
	{
		char		name[NAMEDATALEN];

		recorder->segment = tc_delivery_segment();
		snprintf(name, sizeof(name), "delivery_%d", recorder->segment);
		recorder->delivery = table_open(tc_relation_oid(name), RowExclusiveLock);
		recorder->delivery_indexes = CatalogOpenIndexes(recorder->delivery);
	}
	if (recorder->ndelivery_rows == recorder->ndelivery_slots)
		recorder->delivery_rows[recorder->ndelivery_slots++] =
			MakeSingleTupleTableSlot(RelationGetDescr(recorder->delivery), &TTSOpsHeapTuple);
	slot = recorder->delivery_rows[recorder->ndelivery_rows++];

	old = MemoryContextSwitchTo(recorder->chunk_context);
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
	values[DELIVERY_SEGMENT - 1] = Int16GetDatum(recorder->segment);
	values[DELIVERY_CONFIRMED - 1] = BoolGetDatum(outcome->kind == OUTCOME_DELIVERED);
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

	tuple = heap_form_tuple(RelationGetDescr(recorder->delivery), values, nulls);
	tc_tuple_shorten(tuple, nulls, DELIVERY_NATTS);
	ExecStoreHeapTuple(tuple, slot, false);
	MemoryContextSwitchTo(old);

	if (recorder->ndelivery_rows == DELIVERY_CHUNK)
		flush_deliveries(recorder);
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

/* Copy recorder->row, which has been deleted, to temporal.rejected. */
static void
insert_rejected(Recorder *recorder, const Outcome *outcome)
{
	Datum		values[REJECTED_NATTS];
	bool		nulls[REJECTED_NATTS] = {false};
	HeapTuple	tuple;
	bytea	   *request;

	if (recorder->rejected == NULL)
		recorder->rejected = table_open(tc_relation_oid("rejected"), RowExclusiveLock);

	slot_getallattrs(recorder->row);
	memcpy(values, recorder->row->tts_values, OUTBOX_NATTS * sizeof(Datum));
	memcpy(nulls, recorder->row->tts_isnull, OUTBOX_NATTS * sizeof(bool));
	/* a toasted value belongs to the table that it stands in */
	request = DatumGetByteaP(values[OUTBOX_REQUEST - 1]);
	values[OUTBOX_REQUEST - 1] = PointerGetDatum(request);
	if (!nulls[OUTBOX_FORMER_IDENTITIES - 1])
		values[OUTBOX_FORMER_IDENTITIES - 1] =
			PointerGetDatum(DatumGetTextP(values[OUTBOX_FORMER_IDENTITIES - 1]));
	values[OUTBOX_ATTEMPTS - 1] = Int32GetDatum(outcome->attempts);
	nulls[OUTBOX_ATTEMPTS - 1] = false;
	nulls[OUTBOX_NEXT_ATTEMPT_AT - 1] = true;
	set_text(values, nulls, OUTBOX_ERROR_CODE, outcome->error_code);
	set_text(values, nulls, OUTBOX_ERROR_MESSAGE, outcome->error_message);
	values[REJECTED_FINISHED_AT - 1] = TimestampTzGetDatum(outcome->at);

	tuple = heap_form_tuple(RelationGetDescr(recorder->rejected), values, nulls);
	CatalogTupleInsert(recorder->rejected, tuple);
	heap_freetuple(tuple);
}

/* Note in recorder->row, which is locked, that the request is to be tried again. */
static void
update_retry(Recorder *recorder, const Outcome *outcome)
{
	Datum		values[OUTBOX_NATTS] = {0};
	bool		nulls[OUTBOX_NATTS] = {false};
	bool		replace[OUTBOX_NATTS] = {false};
	bool		should_free;
	HeapTuple	old = ExecFetchSlotHeapTuple(recorder->row, false, &should_free);
	HeapTuple	tuple;

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

	tuple = heap_modify_tuple(old, RelationGetDescr(recorder->outbox), values, nulls, replace);
	CatalogTupleUpdate(recorder->outbox, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	if (should_free)
		heap_freetuple(old);
}

void
tc_outbox_set_queue_error(int64 queue, const char *error_code,
						  const char *error_message, TimestampTz next_attempt_at)
{
	static SPIPlanPtr set_plan;
	static SPIPlanPtr clear_plan;
	static Oid	argtypes[4] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
	SPIPlanPtr *plan = error_code ? &set_plan : &clear_plan;
	Datum		args[4] = {Int64GetDatum(queue)};

	SPI_connect();
	if (*plan == NULL)
	{
		*plan = SPI_prepare(error_code ?
							"INSERT INTO temporal.queue_error AS q (queue,"
							" error_code, error_message, since, next_attempt_at)"
							" VALUES ($1, $2, $3, pg_catalog.now(), $4)"
							" ON CONFLICT (queue) DO UPDATE SET"
							" error_code = excluded.error_code, error_message = excluded.error_message,"
							" next_attempt_at = excluded.next_attempt_at"
							:
							"DELETE FROM temporal.queue_error"
							" WHERE queue OPERATOR(pg_catalog.=) $1",
							error_code ? 4 : 1, argtypes);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare the statement for the error of a queue");
	}
	if (error_code)
	{
		args[1] = CStringGetTextDatum(error_code);
		args[2] = CStringGetTextDatum(error_message);
		args[3] = TimestampTzGetDatum(next_attempt_at);
	}
	if (SPI_execute_plan(*plan, args, NULL, false, 0) < 0)
		elog(ERROR, "could not note the error of a queue");
	SPI_finish();
}

void
tc_outbox_clear_queue_errors(void)
{
	SPI_connect();
	if (SPI_execute("DELETE FROM temporal.queue_error", false, 0) < 0)
		elog(ERROR, "could not clear the errors of queues");
	SPI_finish();
}
