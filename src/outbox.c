/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  Recording requests, in the transaction that makes them.
 *
 * Rows are inserted directly, without SPI: it costs half as much, and the
 * caller needs no privilege on the table.  Who may make a request is decided
 * before, by api.c.  Nothing here is done for the worker: it reads in
 * outbox_read.c and records outcomes in outbox_record.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "outbox.h"

void
tc_outbox_insert(const RequestIdentity *identity, int64 queue,
				 RequestMethod method, const uint8 *request, size_t len)
{
	Relation	rel = table_open(tc_required_relation_oid("outbox"), RowExclusiveLock);
	Datum		values[OUTBOX_NATTS] = {0};
	bool		nulls[OUTBOX_NATTS] = {false};
	HeapTuple	tuple;

	if (RelationGetNumberOfAttributes(rel) != OUTBOX_NATTS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension temporal_complete is of another version than its library"),
				 errhint("Run ALTER EXTENSION temporal_complete UPDATE.")));

	values[OUTBOX_ID - 1] = Int64GetDatum(identity->id);
	values[OUTBOX_XID - 1] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(identity->xid));
	values[OUTBOX_REQUESTED_AT - 1] = TimestampTzGetDatum(identity->requested_at);
	values[OUTBOX_QUEUE - 1] = Int64GetDatum(queue);
	values[OUTBOX_METHOD - 1] = Int16GetDatum(method);
	values[OUTBOX_MAYBE_SENT - 1] = BoolGetDatum(false);
	values[OUTBOX_REQUEST - 1] = PointerGetDatum(cstring_to_text_with_len((const char *) request, len));
	for (int i = OUTBOX_REQUEST; i < OUTBOX_NATTS; i++)
		nulls[i] = true;

	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	tc_tuple_shorten(tuple, nulls, OUTBOX_NATTS);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, RowExclusiveLock);
}

void
tc_tuple_shorten(HeapTuple tuple, const bool *nulls, int natts)
{
	HeapTupleHeader header = tuple->t_data;
	int			surplus;

	while (natts > 0 && nulls[natts - 1])
		natts--;
	for (int i = 0; i < natts; i++)
		if (nulls[i])
			return;
	if (!HeapTupleHasNulls(tuple))
		return;

	surplus = header->t_hoff - MAXALIGN(SizeofHeapTupleHeader);
	header->t_hoff -= surplus;
	memmove((char *) header + header->t_hoff, (char *) header + header->t_hoff + surplus,
			tuple->t_len - header->t_hoff - surplus);
	tuple->t_len -= surplus;
	HeapTupleHeaderSetNatts(header, natts);
	header->t_infomask &= ~HEAP_HASNULL;
}
