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

#include "access/table.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "outbox.h"

static Oid	required_relation_oid(const char *name);

Oid
tc_relation_oid(const char *name)
{
	Oid			schema = get_namespace_oid("temporal", true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

static Oid
required_relation_oid(const char *name)
{
	Oid			relid = tc_relation_oid(name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation temporal.%s does not exist", name),
				 errhint("Run CREATE EXTENSION temporal_complete.")));
	return relid;
}

int64
tc_outbox_next_id(void)
{
	return nextval_internal(required_relation_oid("request_id"), false);
}

void
tc_outbox_insert(int64 id, FullTransactionId xid, RequestMethod method,
				 const char *server, const char *namespace_name, Oid role,
				 const uint8 *request, size_t len)
{
	Relation	rel = table_open(required_relation_oid("outbox"), RowExclusiveLock);
	Datum		values[OUTBOX_NATTS];
	bool		nulls[OUTBOX_NATTS];
	HeapTuple	tuple;

	if (RelationGetNumberOfAttributes(rel) != OUTBOX_NATTS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension temporal_complete is of another version than its library"),
				 errhint("Run ALTER EXTENSION temporal_complete UPDATE.")));

	memset(nulls, false, sizeof(nulls));
	values[OUTBOX_ID - 1] = Int64GetDatum(id);
	values[OUTBOX_XID - 1] = FullTransactionIdGetDatum(xid);
	values[OUTBOX_REQUESTED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[OUTBOX_SYSTEM_IDENTIFIER - 1] = Int64GetDatum((int64) GetSystemIdentifier());
	values[OUTBOX_DATABASE - 1] = ObjectIdGetDatum(MyDatabaseId);
	values[OUTBOX_REQUESTED_BY - 1] = ObjectIdGetDatum(role);
	values[OUTBOX_METHOD - 1] = Int16GetDatum(method);
	values[OUTBOX_MAYBE_SENT - 1] = BoolGetDatum(false);
	values[OUTBOX_SERVER - 1] = CStringGetTextDatum(server);
	values[OUTBOX_NAMESPACE - 1] = CStringGetTextDatum(namespace_name);
	values[OUTBOX_REQUEST - 1] = PointerGetDatum(cstring_to_text_with_len((const char *) request, len));
	nulls[OUTBOX_ATTEMPTS - 1] = true;
	nulls[OUTBOX_NEXT_ATTEMPT_AT - 1] = true;
	nulls[OUTBOX_ERROR_CODE - 1] = true;
	nulls[OUTBOX_ERROR_MESSAGE - 1] = true;
	nulls[OUTBOX_FORMER_IDENTITIES - 1] = true;

	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, RowExclusiveLock);
}

uint32
tc_queue_hash(const char *server, const char *namespace_name, Oid role)
{
	uint32		hash = murmurhash32((uint32) role);

	hash = hash_combine(hash, DatumGetUInt32(hash_any((const unsigned char *) server,
													  strlen(server))));
	return hash_combine(hash, DatumGetUInt32(hash_any((const unsigned char *) namespace_name,
													  strlen(namespace_name))));
}
