/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  Recording requests, in the transaction that makes them.
 *
 * Rows are inserted without SPI: it costs half as much, and the caller needs
 * no privilege on the table.  Who may make a request is decided
 * before, by verbs.c.  Nothing here is done for the worker: it reads in
 * outbox_read.c and records outcomes in outcomes.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "outbox/outbox.h"
#include "outbox/row_write.h"

void
tc_outbox_insert(const RequestIdentity *identity, int64 queue,
				 RequestMethod method, const uint8 *request, size_t len, const RequestKey *key,
				 TimestampTz awaited_until)
{
	Relation	rel = tc_table_open(TABLE_OUTBOX, RowExclusiveLock);
	Datum		values[OUTBOX_NATTS] = {0};
	bool		nulls[OUTBOX_NATTS] = {false};

	values[OUTBOX_ID - 1] = Int64GetDatum(identity->id);
	values[OUTBOX_XID - 1] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(identity->xid));
	values[OUTBOX_REQUESTED_AT - 1] = TimestampTzGetDatum(identity->requested_at);
	values[OUTBOX_QUEUE - 1] = Int64GetDatum(queue);
	values[OUTBOX_WRITTEN_BY - 1] = TransactionIdGetDatum(GetCurrentTransactionId());
	values[OUTBOX_METHOD - 1] = Int16GetDatum(method);
	values[OUTBOX_MAYBE_SENT - 1] = BoolGetDatum(false);
	values[OUTBOX_REQUEST - 1] = PointerGetDatum(cstring_to_text_with_len((const char *) request, len));
	for (int i = OUTBOX_REQUEST; i < OUTBOX_NATTS; i++)
		nulls[i] = true;
	if (key != NULL)
	{
		values[OUTBOX_KEY - 1] = CStringGetTextDatum(key->key);
		values[OUTBOX_RECORDED_IN - 1] = Int64GetDatum(key->queue);
		values[OUTBOX_RECORDED_ACTIVITY - 1] = Int64GetDatum(key->id);
		nulls[OUTBOX_KEY - 1] = false;
		nulls[OUTBOX_RECORDED_IN - 1] = nulls[OUTBOX_RECORDED_ACTIVITY - 1] = key->id == 0;
	}
	if (awaited_until != 0)
	{
		values[OUTBOX_AWAITED_UNTIL - 1] = TimestampTzGetDatum(awaited_until);
		nulls[OUTBOX_AWAITED_UNTIL - 1] = false;
	}

	tc_row_insert(rel, TABLE_OUTBOX, values, nulls);

	/*
	 * the lock is kept: REINDEX CONCURRENTLY and TRUNCATE wait until the row
	 * is committed
	 */
	table_close(rel, NoLock);
}
