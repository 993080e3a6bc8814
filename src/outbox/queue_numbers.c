/*-------------------------------------------------------------------------
 *
 * queue_numbers.c
 *	  The queues of the outbox: numbers in place of names.
 *
 * A request stands in the queue of its role, server and namespace, and of the
 * database in which it was made.  temporal_internal.queue says what a number means.  A
 * row of it is made by the first transaction that needs it, as part of that
 * transaction, so nobody waits for it, and it is rolled back with it.
 *
 * Here, role and server are those of the OIDs, never those that have the
 * names now.
 *
 * Two transactions that begin at once may both make one, and each goes on with
 * its own until it ends.  Sessions agree on the smallest number soon: what a
 * session has found it looks up again from time to time.
 *
 * A number must never be used but by a transaction that has its id, and has
 * accepted the messages about changes since: queue_tidying.c takes rows away
 * that no transaction can use any more, and those of another transaction's
 * memory are not known there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "outbox/outbox.h"
#include "outbox/row_write.h"

/*
 * Numbers of committed rows that this session found, of the table found_in;
 * forgotten all at once.  That is InvalidOid as soon as the table has changed,
 * also while a number is being looked up: it is then not found again.
 */
#define FOUND_NUMBERS 8
#define FOUND_FOR_MS 60000

static struct
{
	QueueKey	key;
	int64		number;
}			found_numbers[FOUND_NUMBERS];
static int	nfound_numbers = 0;
static Oid	found_in = InvalidOid;
static TimestampTz found_since = 0; /* start of a transaction */
static MemoryContext found_context = NULL;

typedef struct QueueList
{
	OwnQueue   *queues;
	int			size;
	int			count;
} QueueList;

static bool is_same(const QueueKey *a, const QueueKey *b);
static int64 find_number(const QueueKey *key, bool *committed);
static SysScanDesc begin_scan(Relation rel, const QueueKey *key);
static void add_queues(QueueList *list, const QueueKey *key);
static List *roles_that_lend_privileges(Oid role);
static Oid	next_role(Oid server, Oid after);
static int	own_queue_cmp(const void *a, const void *b);
static int64 make_number(const QueueKey *key);
static void forget_numbers(void);
static void remember_number(const QueueKey *key, int64 number);
static void table_changed(Datum arg, Oid relid);

PG_FUNCTION_INFO_V1(tc_queue_number_sql);
PG_FUNCTION_INFO_V1(tc_made_here);

/* SQL: queue_number(server oid, namespace text, requested_by oid) returns bigint */
Datum
tc_queue_number_sql(PG_FUNCTION_ARGS)
{
	QueueKey	key = {.suppressed = false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	key.server = PG_GETARG_OID(0);
	key.namespace_name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	key.role = PG_GETARG_OID(2);
	PG_RETURN_INT64(tc_queue_number(&key));
}

/*
 * SQL: was a request of a queue of that origin made in this database of this
 * cluster?  Copies elsewhere (restored dumps, cloned databases, logical
 * replication) must not be sent.
 */
Datum
tc_made_here(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(tc_is_made_here(PG_GETARG_INT64(0), PG_GETARG_OID(1)));
}

bool
tc_is_made_here(int64 system_identifier, Oid database)
{
	return (uint64) system_identifier == GetSystemIdentifier() && database == MyDatabaseId;
}

static bool
is_same(const QueueKey *a, const QueueKey *b)
{
	return tc_queue_keys_go_together(a, b) && a->role == b->role && a->suppressed == b->suppressed;
}

int64
tc_queue_number(const QueueKey *key)
{
	Oid			relid;
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	int64		number;
	bool		committed;

	/* in this order, see queue_tidying.c */
	(void) GetTopFullTransactionId();
	AcceptInvalidationMessages();
	relid = tc_required_relation_oid("queue");

	/* of an extension that was dropped and made anew nothing is known */
	if (relid != found_in || nfound_numbers == FOUND_NUMBERS ||
		now - found_since > FOUND_FOR_MS * INT64CONST(1000))
	{
		forget_numbers();
		found_in = relid;
		found_since = now;
	}
	for (int i = 0; i < nfound_numbers; i++)
		if (is_same(&found_numbers[i].key, key))
			return found_numbers[i].number;

	number = find_number(key, &committed);
	if (number == 0)
		number = make_number(key);
	else if (committed)
		remember_number(key, number);
	return number;
}

/*
 * The one that the current transaction has made, or else the smallest number
 * that is committed; 0 if there is none.  What a transaction asks for of one
 * activity stands in one queue, so that it is read in its order, whatever
 * others commit meanwhile.
 */
static int64
find_number(const QueueKey *key, bool *committed)
{
	Relation	rel = tc_table_open(TABLE_QUEUE, AccessShareLock);
	SysScanDesc scan = begin_scan(rel, key);
	HeapTuple	tuple;
	int64		result = 0;

	/* that of a number which is known need not be written */
	tc_relation_must_last(rel);
	*committed = false;
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[QUEUE_NATTS];
		bool		nulls[QUEUE_NATTS];
		int64		number;
		bool		is_committed;

		tc_row_deform(tuple, rel, TABLE_QUEUE, values, nulls);
		if (!tc_is_made_here(DatumGetInt64(values[QUEUE_SYSTEM_IDENTIFIER - 1]),
							 DatumGetObjectId(values[QUEUE_DATABASE - 1])) ||
			(key->namespace_name == NULL && !nulls[QUEUE_NAMESPACE - 1]) ||
			!nulls[QUEUE_UNUSED_SINCE - 1])
			continue;
		number = DatumGetInt64(values[QUEUE_NUMBER - 1]);
		if (TC_QUEUE_IS_SUPPRESSED(number) != key->suppressed)
			continue;
		is_committed =
			!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
		if (result == 0 || (!is_committed && *committed) ||
			(is_committed == *committed && number < result))
		{
			result = number;
			*committed = is_committed;
		}
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return result;
}

OwnQueue *
tc_own_queues(const QueueKey *key, int *count)
{
	QueueList	list = {palloc(4 * sizeof(OwnQueue)), 4, 0};

	add_queues(&list, key);
	qsort(list.queues, list.count, sizeof(OwnQueue), own_queue_cmp);
	*count = list.count;
	return list.queues;
}

/*
 * Others' queues may be very many, so it is the role's memberships by which
 * they are found; of superusers, who have all privileges, the roles that have
 * queues of the server.
 */
OwnQueue *
tc_privileged_queues(const QueueKey *key, int *count)
{
	QueueList	list = {palloc(4 * sizeof(OwnQueue)), 4, 0};
	QueueKey	of_role = *key;

	if (superuser_arg(key->role))
	{
		of_role.role = InvalidOid;
		while (OidIsValid(of_role.role = next_role(key->server, of_role.role)))
			if (of_role.role != key->role)
				add_queues(&list, &of_role);
	}
	else
	{
		List	   *roles = roles_that_lend_privileges(key->role);
		ListCell   *lc;

		foreach(lc, roles)
		{
			of_role.role = lfirst_oid(lc);
			add_queues(&list, &of_role);
		}
		list_free(roles);
	}
	qsort(list.queues, list.count, sizeof(OwnQueue), own_queue_cmp);
	*count = list.count;
	return list.queues;
}

/* Roles whose privileges a role has that is no superuser, in whatever way; not itself. */
static List *
roles_that_lend_privileges(Oid role)
{
	List	   *reached = list_make1_oid(role);
	List	   *result = NIL;
	ListCell   *lc;

	/* has memberships that are in no catalog */
	if (has_privs_of_role(role, ROLE_PG_DATABASE_OWNER))
		reached = list_append_unique_oid(reached, ROLE_PG_DATABASE_OWNER);

	/*
	 * also roles whose privileges it does not inherit; the list grows
	 * meanwhile
	 */
	foreach(lc, reached)
	{
		Oid			member = lfirst_oid(lc);
		CatCList   *memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(member));

		for (int i = 0; i < memberships->n_members; i++)
		{
			HeapTuple	tuple = &memberships->members[i]->tuple;

			reached = list_append_unique_oid(reached, ((Form_pg_auth_members) GETSTRUCT(tuple))->roleid);
		}
		ReleaseCatCacheList(memberships);
		if (member != role && has_privs_of_role(role, member))
			result = lappend_oid(result, member);
	}
	list_free(reached);
	return result;
}

/* Queues of key's role */
static void
add_queues(QueueList *list, const QueueKey *key)
{
	Relation	rel = tc_table_open(TABLE_QUEUE, AccessShareLock);
	SysScanDesc scan = begin_scan(rel, key);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[QUEUE_NATTS];
		bool		nulls[QUEUE_NATTS];
		int64		number;

		CHECK_FOR_INTERRUPTS();
		tc_row_deform(tuple, rel, TABLE_QUEUE, values, nulls);
		number = DatumGetInt64(values[QUEUE_NUMBER - 1]);
		/* what was retired has none any more, or will not be tidied up */
		if (!tc_is_made_here(DatumGetInt64(values[QUEUE_SYSTEM_IDENTIFIER - 1]),
							 DatumGetObjectId(values[QUEUE_DATABASE - 1])) ||
			TC_QUEUE_IS_SUPPRESSED(number) != key->suppressed ||
			(key->namespace_name == NULL) != nulls[QUEUE_NAMESPACE - 1])
			continue;
		if (list->count == list->size)
		{
			list->size *= 2;
			list->queues = repalloc(list->queues, list->size * sizeof(OwnQueue));
		}
		list->queues[list->count].role = key->role;
		list->queues[list->count++].number = number;
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* The next role, by its OID, that has queues of a server; InvalidOid if there are no more. */
static Oid
next_role(Oid server, Oid after)
{
	Relation	rel = tc_table_open(TABLE_QUEUE, AccessShareLock);
	Oid			index = tc_table_index(rel, TABLE_QUEUE, QUEUE_SERVER_IDX);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	ScanKeyInit(&keys[0], QUEUE_SERVER, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(server));
	ScanKeyInit(&keys[1], QUEUE_REQUESTED_BY, BTGreaterStrategyNumber, F_OIDGT, ObjectIdGetDatum(after));
	scan = systable_beginscan(rel, index, OidIsValid(index), SnapshotSelf, 2, keys);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[QUEUE_NATTS];
		bool		nulls[QUEUE_NATTS];
		Oid			role;

		tc_row_deform(tuple, rel, TABLE_QUEUE, values, nulls);
		role = DatumGetObjectId(values[QUEUE_REQUESTED_BY - 1]);
		if (!OidIsValid(result) || role < result)
			result = role;
		/* the index has them in their order */
		if (OidIsValid(index))
			break;
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return result;
}

static int
own_queue_cmp(const void *a, const void *b)
{
	const OwnQueue *x = a;
	const OwnQueue *y = b;

	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

/*
 * Queues that may be meant.  Also what the current command has made, and
 * whatever others have committed.  Without the index there are more of them.
 */
static SysScanDesc
begin_scan(Relation rel, const QueueKey *key)
{
	Oid			index = tc_table_index(rel, TABLE_QUEUE, QUEUE_SERVER_IDX);
	ScanKeyData keys[3];
	int			nkeys = 3;

	ScanKeyInit(&keys[0], QUEUE_SERVER, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(key->server));
	ScanKeyInit(&keys[1], QUEUE_REQUESTED_BY, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(key->role));
	if (key->namespace_name != NULL)
		ScanKeyEntryInitialize(&keys[2], 0, QUEUE_NAMESPACE, BTEqualStrategyNumber, InvalidOid,
							   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(key->namespace_name));
	else
		ScanKeyEntryInitialize(&keys[2], SK_ISNULL | SK_SEARCHNULL, QUEUE_NAMESPACE,
							   InvalidStrategy, InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	if (key->namespace_name == NULL && !OidIsValid(index))
		nkeys = 2;
	return systable_beginscan(rel, index, OidIsValid(index), SnapshotSelf, nkeys, keys);
}

int
tc_outbox_count_for_server(Oid server, int max, char **name)
{
	static const ReadPosition beginning = {0};
	Relation	rel;
	Relation	outbox;
	Oid			index;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			count = 0;

	/*
	 * the extension may be about to be dropped, too, and that must be
	 * possible whatever became of it
	 */
	rel = tc_table_try_open(TABLE_QUEUE, AccessShareLock);
	if (rel == NULL)
		return 0;
	outbox = tc_table_try_open(TABLE_OUTBOX, AccessShareLock);
	if (outbox == NULL || !OidIsValid(tc_table_index(outbox, TABLE_OUTBOX, OUTBOX_QUEUE_IDX)))
		max = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	index = tc_table_index(rel, TABLE_QUEUE, QUEUE_SERVER_IDX);
	ScanKeyInit(&key, QUEUE_SERVER, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(server));
	scan = systable_beginscan(rel, index, OidIsValid(index), GetActiveSnapshot(), 1, &key);
	while (count < max && (tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[QUEUE_NATTS];
		bool		nulls[QUEUE_NATTS];
		int			waiting;

		tc_row_deform(tuple, rel, TABLE_QUEUE, values, nulls);
		if (!tc_is_made_here(DatumGetInt64(values[QUEUE_SYSTEM_IDENTIFIER - 1]),
							 DatumGetObjectId(values[QUEUE_DATABASE - 1])) ||
			TC_QUEUE_IS_SUPPRESSED(DatumGetInt64(values[QUEUE_NUMBER - 1])))
			continue;
		waiting = tc_outbox_count(DatumGetInt64(values[QUEUE_NUMBER - 1]), &beginning, max - count);
		if (waiting > 0 && count == 0)
			*name = TextDatumGetCString(values[QUEUE_SERVER_NAME - 1]);
		count += waiting;
	}
	systable_endscan(scan);
	PopActiveSnapshot();
	if (outbox != NULL)
		table_close(outbox, AccessShareLock);
	table_close(rel, AccessShareLock);
	return count;
}

bool
tc_queue_find(int64 number, QueueRow *row, bool *is_from_here)
{
	Relation	rel = tc_table_open_nowait(TABLE_QUEUE, AccessShareLock);
	Oid			index;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	if (rel == NULL)
		return false;
	index = tc_table_index(rel, TABLE_QUEUE, QUEUE_PKEY);
	ScanKeyInit(&key, QUEUE_NUMBER, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	scan = systable_beginscan(rel, index, OidIsValid(index), GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
	{
		Datum		values[QUEUE_NATTS];
		bool		nulls[QUEUE_NATTS];

		tc_row_deform(tuple, rel, TABLE_QUEUE, values, nulls);
		found = true;
		*is_from_here = tc_is_made_here(DatumGetInt64(values[QUEUE_SYSTEM_IDENTIFIER - 1]),
										DatumGetObjectId(values[QUEUE_DATABASE - 1]));
		if (*is_from_here)
		{
			row->key.server = DatumGetObjectId(values[QUEUE_SERVER - 1]);
			row->key.role = DatumGetObjectId(values[QUEUE_REQUESTED_BY - 1]);
			row->key.suppressed = TC_QUEUE_IS_SUPPRESSED(number);
			row->key.namespace_name = nulls[QUEUE_NAMESPACE - 1] ? NULL :
				TextDatumGetCString(values[QUEUE_NAMESPACE - 1]);
			row->server_name = TextDatumGetCString(values[QUEUE_SERVER_NAME - 1]);
			row->role_name = TextDatumGetCString(values[QUEUE_REQUESTED_BY_NAME - 1]);
		}
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

static int64
make_number(const QueueKey *key)
{
	Relation	rel = tc_table_open(TABLE_QUEUE, RowExclusiveLock);
	Datum		values[QUEUE_NATTS] = {0};
	bool		nulls[QUEUE_NATTS] = {false};
	uint64		number;

	/* from 1 on, below what stands for no bound when queues are looked for */
	do
	{
		if (!pg_strong_random(&number, sizeof(number)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a random number")));
		number &= PG_INT64_MAX;
	} while (number == 0 || number == PG_INT64_MAX);

	if (key->suppressed)
		number = -number;

	values[QUEUE_NUMBER - 1] = Int64GetDatum((int64) number);
	values[QUEUE_SYSTEM_IDENTIFIER - 1] = Int64GetDatum((int64) GetSystemIdentifier());
	values[QUEUE_DATABASE - 1] = ObjectIdGetDatum(MyDatabaseId);
	values[QUEUE_REQUESTED_BY - 1] = ObjectIdGetDatum(key->role);
	values[QUEUE_SERVER - 1] = ObjectIdGetDatum(key->server);
	values[QUEUE_REQUESTED_BY_NAME - 1] =
		CStringGetTextDatum(GetUserNameFromId(key->role, false));
	values[QUEUE_SERVER_NAME - 1] =
		CStringGetTextDatum(GetForeignServer(key->server)->servername);
	nulls[QUEUE_UNUSED_SINCE - 1] = true;
	nulls[QUEUE_NAMESPACE - 1] = key->namespace_name == NULL;
	if (key->namespace_name != NULL)
		values[QUEUE_NAMESPACE - 1] = CStringGetTextDatum(key->namespace_name);
	tc_row_insert(rel, TABLE_QUEUE, values, nulls);
	table_close(rel, NoLock);
	return (int64) number;
}

static void
forget_numbers(void)
{
	if (found_context == NULL)
	{
		found_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete queue numbers",
											  ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
	}
	nfound_numbers = 0;
	MemoryContextReset(found_context);
}

static void
remember_number(const QueueKey *key, int64 number)
{
	QueueKey   *copy = &found_numbers[nfound_numbers].key;

	*copy = *key;
	if (key->namespace_name != NULL)
		copy->namespace_name = MemoryContextStrdup(found_context, key->namespace_name);
	found_numbers[nfound_numbers++].number = number;
}

/* Also called when messages were lost, then with InvalidOid. */
static void
table_changed(Datum arg, Oid relid)
{
	if (relid == found_in || !OidIsValid(relid))
		found_in = InvalidOid;
}
