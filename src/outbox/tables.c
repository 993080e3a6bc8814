/*-------------------------------------------------------------------------
 *
 * tables.c
 *	  Our tables as the install script made them, and as they are.
 *
 * Their owner may do with them what can be done with tables: add columns and
 * indexes, have triggers on them, rewrite them, and the script of a later
 * version will.  What is written past the executor is right only for a table
 * that is exactly as it was made, and what is read by the number of a column
 * only if that is the column.  Here is how they were made; it must agree with
 * tables.sql.
 *
 * What was found is remembered until the table or one of these indexes
 * changes.  Nothing here reads or writes rows of our tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/value.h"
#include "rewrite/prs2lock.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "outbox/tables.h"

typedef struct Column
{
	const char *name;
	Oid			type;
	bool		not_null;
} Column;

#define INDEX_KEYS 3

typedef struct OwnIndex
{
	Oid			am;
	int			nkeys;
	AttrNumber	keys[INDEX_KEYS];
	bool		unique;
	const char *definition;		/* for a hint */
	const char *opclass;		/* of its only key; NULL: the type's own */
	const char *predicate;		/* NULL: it has all rows */
} OwnIndex;

#define TABLE_INDEXES 3

typedef struct Table
{
	const char *name;
	const Column *columns;
	int			natts;
	bool		is_partition;
	int			nindexes;
	OwnIndex	indexes[TABLE_INDEXES];
} Table;

static const Column queue_columns[] = {
	{"number", INT8OID, true},
	{"system_identifier", INT8OID, true},
	{"database", OIDOID, true},
	{"requested_by", OIDOID, true},
	{"server", OIDOID, true},
	{"requested_by_name", TEXTOID, true},
	{"server_name", TEXTOID, true},
	{"namespace", TEXTOID, false},
	{"unused_since", TIMESTAMPTZOID, false},
};

/* temporal_internal.rejected has the last one, temporal_internal.outbox has not. */
static const Column outbox_columns[] = {
	{"id", INT8OID, true},
	{"xid", XID8OID, true},
	{"requested_at", TIMESTAMPTZOID, true},
	{"queue", INT8OID, true},
	{"written_by", XIDOID, true},
	{"method", INT2OID, true},
	{"maybe_sent", BOOLOID, true},
	{"request", BYTEAOID, true},
	{"attempts", INT4OID, false},
	{"next_attempt_at", TIMESTAMPTZOID, false},
	{"error_code", TEXTOID, false},
	{"error_message", TEXTOID, false},
	{"former_identities", TEXTOID, false},
	{"decisions", TEXTOID, false},
	{"key", TEXTOID, false},
	{"recorded_in", INT8OID, false},
	{"recorded_activity", INT8OID, false},
	{"awaited_until", TIMESTAMPTZOID, false},
	{"expires_at", TIMESTAMPTZOID, false},
	{"finished_at", TIMESTAMPTZOID, true},
};

static const Column delivery_columns[] = {
	{"id", INT8OID, true},
	{"requested_at", TIMESTAMPTZOID, true},
	{"finished_at", TIMESTAMPTZOID, true},
	{"queue", INT8OID, true},
	{"attempts", INT4OID, true},
	{"method", INT2OID, true},
	{"segment", INT2OID, true},
	{"confirmed", BOOLOID, false},
	{"activity_id", TEXTOID, false},
	{"workflow_id", TEXTOID, false},
	{"run_uuid", UUIDOID, false},
	{"run_id", TEXTOID, false},
	{"cancel_requested", BOOLOID, false},
	{"activity_paused", BOOLOID, false},
	{"activity_reset", BOOLOID, false},
	{"error_code", TEXTOID, false},
	{"error_message", TEXTOID, false},
	{"rejected", BOOLOID, false},
	{"decisions", TEXTOID, false},
	{"key", TEXTOID, false},
	{"recorded_activity", INT8OID, false},
	{"recorded_at", TIMESTAMPTZOID, false},
	{"recorded_attempt", INT4OID, false},
	{"recorded_in", INT8OID, false},
	{"earlier_heartbeats", INT8OID, false},
};

static const Column last_heartbeat_columns[] = {
	{"queue", INT8OID, true},
	{"activity", INT8OID, true},
	{"id", INT8OID, true},
	{"requested_at", TIMESTAMPTZOID, true},
	{"finished_at", TIMESTAMPTZOID, true},
	{"earlier", INT8OID, true},
	{"attempts", INT4OID, true},
	{"method", INT2OID, true},
	{"confirmed", BOOLOID, false},
	{"cancel_requested", BOOLOID, false},
	{"activity_paused", BOOLOID, false},
	{"activity_reset", BOOLOID, false},
	{"activity_id", TEXTOID, true},
	{"workflow_id", TEXTOID, false},
	{"run_uuid", UUIDOID, false},
	{"run_id", TEXTOID, false},
	{"key", TEXTOID, false},
	{"recorded_activity", INT8OID, false},
};

static const Column delivery_segment_columns[] = {
	{"segment", INT2OID, true},
	{"since", TIMESTAMPTZOID, true},
};

static const Column last_worker_columns[] = {
	{"system_identifier", INT8OID, true},
	{"database", OIDOID, true},
	{"timeline", INT4OID, true},
	{"written_by", XIDOID, true},
	{"in_doubt_before", XID8OID, false},
	{"in_doubt_since", TIMESTAMPTZOID, false},
};

static const Column queue_error_columns[] = {
	{"queue", INT8OID, true},
	{"error_code", TEXTOID, true},
	{"error_message", TEXTOID, true},
	{"since", TIMESTAMPTZOID, true},
	{"next_attempt_at", TIMESTAMPTZOID, true},
};

static const Column queue_pause_columns[] = {
	{"system_identifier", INT8OID, true},
	{"database", OIDOID, true},
	{"requested_by", OIDOID, true},
	{"server", OIDOID, true},
	{"requested_by_name", TEXTOID, true},
	{"server_name", TEXTOID, true},
	{"by_operator", BOOLOID, true},
	{"paused_at", TIMESTAMPTZOID, true},
	{"paused_by", TEXTOID, true},
	{"namespace", TEXTOID, false},
};

static const Column recheck_columns[] = {
	{"id", INT8OID, true},
};

static const Column recorded_activity_columns[] = {
	{"id", INT8OID, true},
	{"xid", XID8OID, true},
	{"recorded_at", TIMESTAMPTZOID, true},
	{"queue", INT8OID, true},
	{"method", INT2OID, true},
	{"key", TEXTOID, true},
	{"heartbeat", BYTEAOID, true},
	{"expires_at", TIMESTAMPTZOID, false},
	{"heartbeat_queue", INT8OID, false},
	{"heartbeat_interval", INTERVALOID, false},
	{"session", INT8OID, false},
};

static const Column ended_activity_columns[] = {
	{"id", INT8OID, true},
	{"recorded_at", TIMESTAMPTZOID, true},
	{"ended_at", TIMESTAMPTZOID, true},
	{"queue", INT8OID, true},
	{"ended", TEXTOID, true},
	{"key", TEXTOID, true},
	{"activity_id", TEXTOID, false},
	{"workflow_id", TEXTOID, false},
	{"run_id", TEXTOID, false},
	{"attempt", INT4OID, false},
	{"request", INT8OID, false},
	{"heartbeat_error", TEXTOID, false},
};

static const Column awaited_key_columns[] = {
	{"key_hash", INT8OID, true},
	{"queue", INT8OID, true},
	{"id", INT8OID, true},
	{"awaited_until", TIMESTAMPTZOID, true},
};

static const Column heartbeat_answer_columns[] = {
	{"id", INT8OID, true},
	{"queue", INT8OID, true},
	{"xid", XID8OID, true},
	{"answered_at", TIMESTAMPTZOID, true},
	{"cancel_requested", BOOLOID, true},
	{"activity_paused", BOOLOID, true},
	{"activity_reset", BOOLOID, true},
	{"error_code", TEXTOID, false},
};

#define PKEY(column) {BTREE_AM_OID, 1, {1}, true, "UNIQUE INDEX ON %s (" column ")"}
#define SEGMENT(name) \
	{name, delivery_columns, lengthof(delivery_columns), true, 3, \
		{{BRIN_AM_OID, 1, {1}, false, "INDEX ON %s USING brin (id)"}, \
		{BRIN_AM_OID, 1, {10}, false, "INDEX ON %s USING brin (workflow_id text_bloom_ops)", "text_bloom_ops"}, \
		{BTREE_AM_OID, 1, {3}, false, "INDEX ON %s (finished_at) WHERE rejected OR NOT confirmed", NULL, \
			"(rejected OR (NOT confirmed))"}}}

/* By TableId; numbers of indexes are those of tables.h */
static const Table tables[TABLE_COUNT] = {
	{"queue", queue_columns, lengthof(queue_columns), false, 2,
	{PKEY("number"), {BTREE_AM_OID, 3, {5, 4, 8}, false, "INDEX ON %s (server, requested_by, namespace)"}}},
	{"outbox", outbox_columns, lengthof(outbox_columns) - 1, false, 2,
	{PKEY("id"), {BTREE_AM_OID, 3, {4, 2, 1}, false, "INDEX ON %s (queue, xid, id)"}}},
	{"rejected", outbox_columns, lengthof(outbox_columns), false, 2,
	{PKEY("id"), {BTREE_AM_OID, 1, {4}, false, "INDEX ON %s (queue)"}}},
	SEGMENT("delivery_0"),
	SEGMENT("delivery_1"),
	SEGMENT("delivery_2"),
	SEGMENT("delivery_3"),
	{"last_heartbeat", last_heartbeat_columns, lengthof(last_heartbeat_columns), false, 1,
	{{BTREE_AM_OID, 2, {1, 2}, true, "UNIQUE INDEX ON %s (queue, activity)"}}},
	{"delivery_segment", delivery_segment_columns, lengthof(delivery_segment_columns)},
	{"last_worker", last_worker_columns, lengthof(last_worker_columns)},
	{"queue_error", queue_error_columns, lengthof(queue_error_columns), false, 1, {PKEY("queue")}},
	{"queue_pause", queue_pause_columns, lengthof(queue_pause_columns), false, 1,
	{{BTREE_AM_OID, 2, {3, 4}, false, "INDEX ON %s (requested_by, server)"}}},
	{"recheck", recheck_columns, lengthof(recheck_columns)},
	{"recorded_activity", recorded_activity_columns, lengthof(recorded_activity_columns), false, 2,
		{{BTREE_AM_OID, 2, {4, 6}, false, "INDEX ON %s (queue, key)"},
	{BTREE_AM_OID, 3, {9, 2, 1}, false, "INDEX ON %s (heartbeat_queue, xid, id)"}}},
	{"ended_activity", ended_activity_columns, lengthof(ended_activity_columns), false, 1,
	{{BTREE_AM_OID, 2, {4, 6}, false, "INDEX ON %s (queue, key)"}}},
	{"awaited_key", awaited_key_columns, lengthof(awaited_key_columns), false, 3,
		{{BTREE_AM_OID, 3, {1, 2, 3}, false, "INDEX ON %s (key_hash, queue, id)"},
		{BTREE_AM_OID, 1, {4}, false, "INDEX ON %s (awaited_until)"},
	{BTREE_AM_OID, 2, {2, 1}, false, "INDEX ON %s (queue, key_hash)"}}},
	{"heartbeat_answer", heartbeat_answer_columns, lengthof(heartbeat_answer_columns), false, 1, {PKEY("id")}},
};

/* What was found */
typedef struct State
{
	Oid			relid;			/* InvalidOid: nothing is known */
	bool		as_made;
	Oid			indexes[TABLE_INDEXES];
} State;

static State states[TABLE_COUNT];

static Relation check(Relation rel, TableId id);
static const State *look(Relation rel, TableId id);
static const char *odd_column(Relation rel, const Table *table);
static const char *oddity(Relation rel, const Table *table, const State *state);
static bool index_matches(Oid indexid, Relation rel, const OwnIndex *index);
static Oid	operator_class(const OwnIndex *index, Oid type);
static bool predicate_matches(HeapTuple tuple, Relation rel, const char *predicate);
static Oid	access_method(Oid indexid);
static void relation_changed(Datum arg, Oid relid);

Relation
tc_table_open(TableId id, LOCKMODE lockmode)
{
	Relation	rel = NULL;

	/* it may be replaced while the lock is awaited */
	for (int i = 0; i < 3 && rel == NULL; i++)
		rel = try_relation_open(tc_required_relation_oid(tables[id].name), lockmode);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table temporal_internal.%s was replaced meanwhile", tables[id].name)));
	return check(rel, id);
}

Relation
tc_table_open_nowait(TableId id, LOCKMODE lockmode)
{
	Oid			relid = tc_required_relation_oid(tables[id].name);
	Relation	rel;

	if (!ConditionalLockRelationOid(relid, lockmode))
		return NULL;
	rel = try_relation_open(relid, NoLock);
	return rel == NULL ? NULL : check(rel, id);
}

Relation
tc_table_try_open(TableId id, LOCKMODE lockmode)
{
	Oid			relid = tc_relation_oid(tables[id].name);
	Relation	rel = NULL;

	if (OidIsValid(relid) && ConditionalLockRelationOid(relid, lockmode))
		rel = try_relation_open(relid, NoLock);
	if (rel != NULL && odd_column(rel, &tables[id]) != NULL)
	{
		table_close(rel, lockmode);
		rel = NULL;
	}
	return rel;
}

static Relation
check(Relation rel, TableId id)
{
	const char *odd;

	if (states[id].relid == RelationGetRelid(rel))
		return rel;
	odd = odd_column(rel, &tables[id]);
	if (odd != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not as this version of temporal_complete knows it",
						get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel)),
				 errdetail("Column \"%s\" is missing, or of another type, or at another place.", odd),
				 errhint("If the extension was updated, restart the server with its new library; if the library was, run ALTER EXTENSION temporal_complete UPDATE; else give the table this column back.")));
	(void) look(rel, id);
	return rel;
}

bool
tc_table_is_as_made(Relation rel, TableId id)
{
	return look(rel, id)->as_made;
}

Oid
tc_table_index(Relation rel, TableId id, int number)
{
	return look(rel, id)->indexes[number];
}

Oid
tc_required_table_index(Relation rel, TableId id, int number)
{
	Oid			result = tc_table_index(rel, id, number);
	char	   *name;

	if (OidIsValid(result))
		return result;
	name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table %s lacks an index that temporal_complete needs", name),
			 errhint("Run CREATE %s.", psprintf(tables[id].indexes[number].definition, name))));
	return InvalidOid;			/* not reached */
}

bool
tc_table_has_rules(Relation rel)
{
	/* pg_class says so for a while after the last one was dropped */
	return rel->rd_rules != NULL && rel->rd_rules->numLocks > 0;
}

bool
tc_table_has_partial_index(TableId id)
{
	for (int i = 0; i < tables[id].nindexes; i++)
		if (tables[id].indexes[i].predicate != NULL)
			return true;
	return false;
}

int
tc_table_natts(TableId id)
{
	return tables[id].natts;
}

const char *
tc_table_name(TableId id)
{
	return tables[id].name;
}

void
tc_relation_must_last(Relation rel)
{
	bool		is_sequence = rel->rd_rel->relkind == RELKIND_SEQUENCE;
	char	   *schema;
	char	   *name;

	if (rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
		return;
	schema = get_namespace_name(RelationGetNamespace(rel));
	name = RelationGetRelationName(rel);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 is_sequence ?
			 errmsg("sequence \"%s.%s\" of temporal_complete is unlogged, so a crash would give ids twice",
					schema, name) :
			 errmsg("table \"%s.%s\" of temporal_complete is unlogged, so a crash would lose its requests",
					schema, name),
			 errhint("Run ALTER %s %s SET LOGGED.", is_sequence ? "SEQUENCE" : "TABLE",
					 quote_qualified_identifier(schema, name))));
}

void
tc_row_deform(HeapTuple tuple, Relation rel, TableId id, Datum *values, bool *nulls)
{
	TupleDesc	desc = RelationGetDescr(rel);
	const Table *table = &tables[id];

	if (desc->natts == table->natts)
		heap_deform_tuple(tuple, desc, values, nulls);
	else
	{
		Datum	   *all_values = palloc(desc->natts * sizeof(Datum));
		bool	   *all_nulls = palloc(desc->natts * sizeof(bool));

		heap_deform_tuple(tuple, desc, all_values, all_nulls);
		memcpy(values, all_values, table->natts * sizeof(Datum));
		memcpy(nulls, all_nulls, table->natts * sizeof(bool));
		pfree(all_values);
		pfree(all_nulls);
	}
	for (int i = 0; i < table->natts; i++)
		if (nulls[i] && table->columns[i].not_null)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("null value in column \"%s\" of relation \"%s\"",
							table->columns[i].name, RelationGetRelationName(rel))));
}

/* The state of a table that is open, whose columns are right. */
static const State *
look(Relation rel, TableId id)
{
	static bool registered = false;
	State	   *state = &states[id];
	const Table *table = &tables[id];
	List	   *indexes;
	ListCell   *lc;
	const char *odd;

	if (state->relid == RelationGetRelid(rel))
		return state;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}

	/* first, so that a change meanwhile is not overlooked */
	memset(state, 0, sizeof(State));
	state->relid = RelationGetRelid(rel);
	indexes = RelationGetIndexList(rel);
	foreach(lc, indexes)
	{
		for (int i = 0; i < table->nindexes; i++)
		{
			if (!OidIsValid(state->indexes[i]) &&
				index_matches(lfirst_oid(lc), rel, &table->indexes[i]))
				state->indexes[i] = lfirst_oid(lc);
		}
	}
	odd = list_length(indexes) == table->nindexes ? oddity(rel, table, state) : "its indexes";
	list_free(indexes);
	state->as_made = odd == NULL;
	if (odd != NULL)
		elog(DEBUG1, "table \"%s\" differs from how temporal_complete made it: %s",
			 RelationGetRelationName(rel), odd);
	return state;
}

/* The first of the known columns that is not there as it was made; NULL = none. */
static const char *
odd_column(Relation rel, const Table *table)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < table->natts; i++)
	{
		Form_pg_attribute attr = i < desc->natts ? TupleDescAttr(desc, i) : NULL;

		if (attr == NULL || attr->attisdropped || attr->atttypid != table->columns[i].type ||
			attr->attgenerated != '\0' || strcmp(NameStr(attr->attname), table->columns[i].name) != 0)
			return table->columns[i].name;
	}
	return NULL;
}

/* What is different from the table as it was made, but for the number of indexes; NULL = nothing. */
static const char *
oddity(Relation rel, const Table *table, const State *state)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Form_pg_class form = rel->rd_rel;

	if (form->relkind != RELKIND_RELATION || form->relam != HEAP_TABLE_AM_OID)
		return "its kind";
	if (form->relpersistence != RELPERSISTENCE_PERMANENT)
		return "its persistence";
	if (rel->trigdesc != NULL || tc_table_has_rules(rel) || form->relrowsecurity)
		return "triggers, rules or policies";
	if (form->relispartition != table->is_partition || form->relhassubclass)
		return "its partitions";
	if (desc->natts != table->natts || odd_column(rel, table) != NULL)
		return "its columns";
	if (desc->constr != NULL && (desc->constr->num_check > 0 || desc->constr->num_defval > 0 ||
								 desc->constr->missing != NULL))
		return "defaults or constraints";
	for (int i = 0; i < table->natts; i++)
		if (TupleDescAttr(desc, i)->attnotnull != table->columns[i].not_null ||
			TupleDescAttr(desc, i)->attidentity != '\0')
			return "columns that are not null";
	for (int i = 0; i < table->nindexes; i++)
		if (!OidIsValid(state->indexes[i]))
			return "its indexes";
	return NULL;
}

/* Is it an index on just those columns, with just those rows, of that order? */
static bool
index_matches(Oid indexid, Relation rel, const OwnIndex *index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index form;
	oidvector  *opclasses;
	oidvector  *collations;
	Datum		datum;
	bool		isnull;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	datum = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &isnull);
	opclasses = (oidvector *) DatumGetPointer(datum);
	datum = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indcollation, &isnull);
	collations = (oidvector *) DatumGetPointer(datum);
	result = form->indisvalid && form->indisready && form->indislive && form->indimmediate &&
		!form->indisexclusion && form->indisunique == index->unique &&
		form->indnatts == index->nkeys && form->indnkeyatts == index->nkeys &&
		heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) &&
		predicate_matches(tuple, rel, index->predicate) &&
		access_method(indexid) == index->am;
	for (int i = 0; i < index->nkeys && result; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(rel), index->keys[i] - 1);

		result = form->indkey.values[i] == index->keys[i] &&
			opclasses->values[i] == operator_class(index, attr->atttypid) &&
			collations->values[i] == attr->attcollation;
	}
	if (result && index->am == BTREE_AM_OID)
	{
		int2vector *options;

		datum = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indoption, &isnull);
		options = (int2vector *) DatumGetPointer(datum);
		for (int i = 0; i < index->nkeys; i++)
			result = result && options->values[i] == 0;
	}
	ReleaseSysCache(tuple);
	return result;
}

static Oid
operator_class(const OwnIndex *index, Oid type)
{
	if (index->opclass == NULL)
		return GetDefaultOpClass(type, index->am);
	return get_opclass_oid(index->am, list_make2(makeString("pg_catalog"), makeString((char *) index->opclass)),
						   true);
}

static bool
predicate_matches(HeapTuple tuple, Relation rel, const char *predicate)
{
	bool		isnull;
	Datum		datum = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indpred, &isnull);

	if (isnull || predicate == NULL)
		return isnull && predicate == NULL;
	datum = DirectFunctionCall2(pg_get_expr, datum, ObjectIdGetDatum(RelationGetRelid(rel)));
	return strcmp(TextDatumGetCString(datum), predicate) == 0;
}

static Oid
access_method(Oid indexid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(indexid));
	Oid			result = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_class) GETSTRUCT(tuple))->relam;
		ReleaseSysCache(tuple);
	}
	return result;
}

static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < TABLE_COUNT; i++)
	{
		bool		concerned = !OidIsValid(relid) || states[i].relid == relid;

		for (int j = 0; j < TABLE_INDEXES; j++)
			concerned = concerned || states[i].indexes[j] == relid;
		if (concerned)
			states[i].relid = InvalidOid;
	}
}
