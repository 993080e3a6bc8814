/*-------------------------------------------------------------------------
 *
 * request_scan.c
 *	  What a reader of the view temporal.request gets: the foreign table
 *	  behind it.
 *
 * A view over our tables cannot keep a secret: the planner evaluates
 * conditions of the reader below those of the view where it holds them to be
 * harmless (of a UNION ALL it takes any to be), and EXPLAIN ANALYZE counts
 * the rows that they removed.  A foreign scan is opaque: the privileges of the
 * reader are looked at below it, no condition of the reader is evaluated
 * there, and nobody sees how many rows there were.  Only "id = ..." is passed
 * down, so that a request is found by its id with indexes; buffers and rows that
 * are read then are counted for nobody but who may see all requests.
 *
 * The statement that is run below names nothing that a reader could make, and
 * runs as the owner of the extension.  No expression of the reader must
 * ever become part of it: values go in as parameters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "executor/spi.h"
#include "foreign/fdwapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "compat.h"
#include "outbox/tables.h"

/* OIDs of "=" of bigint with bigint, and with integer and smallint both ways round */
#define INT8_EQUAL 410
#define INT84_EQUAL 416
#define INT48_EQUAL 15
#define INT82_EQUAL 1868
#define INT28_EQUAL 1862

/* The columns of the foreign table, in its order; id is the first */
static const char *const columns[] = {
	"id", "server", "namespace", "verb", "workflow_id", "run_id", "activity_id",
	"requested_by", "requested_at", "state", "attempts", "next_attempt_at",
	"error_code", "error_message", "finished_at", "cancel_requested",
	"activity_paused", "activity_reset", "decisions", "key", "expires_at"
};

#define ID_ATTNO 1

/* Which requests are read: $3 is the id, or the ids */
typedef enum Selection
{
	SELECT_ALL,
	SELECT_ID,
	SELECT_IDS
} Selection;

typedef struct RequestScan
{
	Selection	selection;
	ExprState  *id;				/* if not SELECT_ALL */
	Oid			id_type;
	int			nwanted;
	int			wanted[lengthof(columns)];	/* attribute numbers, as they are
											 * selected */
	PlannedStmt *plan;			/* NULL until needed */
	MemoryContext context;		/* of the query, its parameters and state */
	QueryDesc  *query;			/* NULL: not begun */
	Oid			owner;			/* of the extension */
	bool		sees_all;		/* whoever reads */
	bool		exhausted;
} RequestScan;

/* What was counted before a part of a scan that is not to be counted */
typedef struct Counts
{
	BufferUsage buffers;
	WalUsage	wal;
	bool		of_tables;
} Counts;

static void get_size(PlannerInfo *root, RelOptInfo *rel, Oid relid);
static void get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid);
static ForeignScan *get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid,
							 ForeignPath *path, List *tlist, List *clauses, Plan *outer_plan);
static void begin_scan(ForeignScanState *node, int eflags);
static TupleTableSlot *next_row(ForeignScanState *node);
static void restart_scan(ForeignScanState *node);
static void end_scan(ForeignScanState *node);
static double estimated_requests(Oid relid);
static void add_path_by_join(PlannerInfo *root, RelOptInfo *rel, RestrictInfo *clause);
static bool is_id(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
				  EquivalenceMember *em, void *arg);
static Expr *id_in_clause(PlannerInfo *root, RelOptInfo *rel, Expr *clause, Selection *selection);
static TupleTableSlot *next_uncounted(ForeignScanState *node);
static void put_back(const Counts *counts);
static TupleTableSlot *next_of_query(ForeignScanState *node);
static bool start_query(ForeignScanState *node);
static void plan_query(ForeignScanState *node, RequestScan *state);
static void end_query(RequestScan *state);
static int64 to_bigint(Datum value, Oid type);

PG_FUNCTION_INFO_V1(tc_request_fdw_handler);

Datum
tc_request_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = get_size;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = next_row;
	routine->ReScanForeignScan = restart_scan;
	routine->EndForeignScan = end_scan;
	PG_RETURN_POINTER(routine);
}

/*---- planning ----*/

/* Does a condition select few requests by their ids? */
static bool
is_by_id(PlannerInfo *root, RelOptInfo *rel)
{
	ListCell   *lc;
	Selection	selection;

	foreach(lc, rel->baserestrictinfo)
	{
		if (id_in_clause(root, rel, lfirst_node(RestrictInfo, lc)->clause, &selection) != NULL)
			return true;
	}
	return false;
}

static void
get_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	rel->tuples = estimated_requests(relid);
	set_baserel_size_estimates(root, rel);
	if (is_by_id(root, rel))
		rel->rows = 1;
}

/* As many as our tables have, of which everybody sees the statistics. */
static double
estimated_requests(Oid relid)
{
	Oid			schema = get_rel_namespace(relid);
	double		result = 100;

	for (TableId id = REQUEST_TABLES_FIRST; id <= REQUEST_TABLES_LAST; id++)
	{
		Oid			table = get_relname_relid(tc_table_name(id), schema);
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));

		if (!HeapTupleIsValid(tuple))
			continue;
		result += Max(((Form_pg_class) GETSTRUCT(tuple))->reltuples, 0);
		ReleaseSysCache(tuple);
	}
	return result;
}

/* By id a few pages are read, else all of them. */
static void
get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Cost		by_id_cost = 20 * random_page_cost;
	Cost		cost = is_by_id(root, rel) ? by_id_cost :
		by_id_cost + rel->tuples * (seq_page_cost / 20 + 10 * cpu_operator_cost + cpu_tuple_cost);
	ListCell   *lc;

	add_path(rel, (Path *) tc_create_foreignscan_path(root, rel, rel->rows, 0, cost,
													  rel->lateral_relids));

	/* as the inner side of a nested loop, which gives the ids */
	foreach(lc, rel->joininfo)
		add_path_by_join(root, rel, lfirst_node(RestrictInfo, lc));
	if (rel->has_eclass_joins)
		foreach(lc, generate_implied_equalities_for_column(root, rel, is_id, NULL,
														   rel->lateral_referencers))
			add_path_by_join(root, rel, lfirst_node(RestrictInfo, lc));
}

static bool
is_id(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
	  EquivalenceMember *em, void *arg)
{
	Node	   *node = (Node *) em->em_expr;

	return IsA(node, Var) && ((Var *) node)->varno == rel->relid &&
		((Var *) node)->varattno == ID_ATTNO;
}

static void
add_path_by_join(PlannerInfo *root, RelOptInfo *rel, RestrictInfo *clause)
{
	Selection	selection;
	Relids		outer;
	ParamPathInfo *param_info;

	if (!join_clause_is_movable_to(clause, rel) ||
		id_in_clause(root, rel, clause->clause, &selection) == NULL)
		return;
	outer = bms_del_member(bms_union(clause->clause_relids, rel->lateral_relids), rel->relid);
	if (bms_is_empty(outer))
		return;
	param_info = get_baserel_parampathinfo(root, rel, outer);
	add_path(rel, (Path *) tc_create_foreignscan_path(root, rel, Min(param_info->ppi_rows, 1), 0,
													  20 * random_page_cost, outer));
}

/*
 * What the id has to be equal to, if that is what the clause says; it can be
 * computed before the scan.  NULL if it says something else.
 */
static Expr *
id_in_clause(PlannerInfo *root, RelOptInfo *rel, Expr *clause, Selection *selection)
{
	Oid			operator;
	List	   *args;
	Node	   *sides[2];

	if (IsA(clause, OpExpr))
	{
		operator = ((OpExpr *) clause)->opno;
		args = ((OpExpr *) clause)->args;
		*selection = SELECT_ID;
	}
	else if (IsA(clause, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) clause)->useOr)
	{
		operator = ((ScalarArrayOpExpr *) clause)->opno;
		args = ((ScalarArrayOpExpr *) clause)->args;
		*selection = SELECT_IDS;
	}
	else
		return NULL;
	if (operator != INT8_EQUAL &&
		(*selection == SELECT_IDS ||
		 (operator != INT84_EQUAL && operator != INT48_EQUAL &&
		  operator != INT82_EQUAL && operator != INT28_EQUAL)))
		return NULL;

	sides[0] = linitial(args);
	sides[1] = lsecond(args);
	for (int i = 0; i < (*selection == SELECT_ID ? 2 : 1); i++)
	{
		Node	   *id = sides[i];
		Node	   *other = sides[1 - i];

		if (IsA(id, Var) && ((Var *) id)->varno == rel->relid &&
			((Var *) id)->varattno == ID_ATTNO && ((Var *) id)->varlevelsup == 0 &&
			!contain_volatile_functions(other) &&
			!bms_is_member(rel->relid, pull_varnos(root, other)))
			return (Expr *) other;
	}
	return NULL;
}

/* All conditions are evaluated above the scan, also the one that it uses. */
static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path,
		 List *tlist, List *clauses, Plan *outer_plan)
{
	Selection	selection = SELECT_ALL;
	List	   *exprs = NIL;
	List	   *wanted = NIL;
	Bitmapset  *attnos = NULL;
	ListCell   *lc;

	foreach(lc, clauses)
	{
		Selection	found;
		Expr	   *id = id_in_clause(root, rel, lfirst_node(RestrictInfo, lc)->clause, &found);

		/* one id is better than many */
		if (id != NULL && (exprs == NIL || found == SELECT_ID))
		{
			selection = found;
			exprs = list_make1(id);
		}
	}

	clauses = extract_actual_clauses(clauses, false);
	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &attnos);
	pull_varattnos((Node *) clauses, rel->relid, &attnos);
	for (int attno = 1; attno <= lengthof(columns); attno++)
		if (bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, attnos) ||
			bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attnos))
			wanted = lappend_int(wanted, attno);

	return make_foreignscan(tlist, clauses, rel->relid, exprs,
							list_make2(makeInteger(selection), wanted),
							NIL, NIL, outer_plan);
}

/*---- execution ----*/

static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	RequestScan *state = palloc0(sizeof(RequestScan));
	ListCell   *lc;

	node->fdw_state = state;
	if (RelationGetNumberOfAttributes(node->ss.ss_currentRelation) != lengthof(columns))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension temporal_complete is of another version than its library"),
				 errhint("Run ALTER EXTENSION temporal_complete UPDATE.")));
	state->context = AllocSetContextCreate(CurrentMemoryContext, "temporal_complete requests",
										   ALLOCSET_SMALL_SIZES);
	if (RelationGetRelid(node->ss.ss_currentRelation) != tc_required_relation_oid("visible_request"))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" does not belong to extension temporal_complete",
						RelationGetRelationName(node->ss.ss_currentRelation)),
				 errhint("Read the view temporal.request.")));
	state->selection = intVal(linitial(plan->fdw_private));
	foreach(lc, (List *) lsecond(plan->fdw_private))
		state->wanted[state->nwanted++] = lfirst_int(lc);
	if (state->selection != SELECT_ALL)
	{
		Expr	   *id = linitial(plan->fdw_exprs);

		state->id = ExecInitExpr(id, &node->ss.ps);
		state->id_type = exprType((Node *) id);
	}
}

static TupleTableSlot *
next_row(ForeignScanState *node)
{
	RequestScan *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	TupleTableSlot *row;

	ExecClearTuple(slot);
	if (state->exhausted)
		return slot;
	/* as long as a query runs, what it was begun with */
	if (state->query == NULL)
		state->sees_all = has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
	row = state->sees_all ? next_of_query(node) : next_uncounted(node);
	if (TupIsNull(row))
	{
		state->exhausted = true;
		return slot;
	}

	slot_getallattrs(row);
	memset(slot->tts_isnull, true, lengthof(columns) * sizeof(bool));
	for (int i = 0; i < state->nwanted; i++)
	{
		slot->tts_values[state->wanted[i] - 1] = row->tts_values[i];
		slot->tts_isnull[state->wanted[i] - 1] = row->tts_isnull[i];
	}
	return ExecStoreVirtualTuple(slot);
}

/*
 * EXPLAIN (ANALYZE, BUFFERS) and pg_stat_xact_user_tables would tell a reader
 * in which table there is a request of others that has an id.
 */
static TupleTableSlot *
next_uncounted(ForeignScanState *node)
{
	TupleTableSlot *volatile row = NULL;
	Counts		counts = {pgBufferUsage, pgWalUsage, pgstat_track_counts};

	pgstat_track_counts = false;
	PG_TRY();
	{
		row = next_of_query(node);
	}
	PG_CATCH();
	{
		put_back(&counts);
		PG_RE_THROW();
	}
	PG_END_TRY();
	put_back(&counts);
	return row;
}

static void
put_back(const Counts *counts)
{
	pgBufferUsage = counts->buffers;
	pgWalUsage = counts->wal;
	pgstat_track_counts = counts->of_tables;
}

/* NULL, or an empty slot, if there are no more */
static TupleTableSlot *
next_of_query(ForeignScanState *node)
{
	RequestScan *state = node->fdw_state;
	EState	   *estate;
	TupleTableSlot *row;
	MemoryContext old;
	int			context;
	Oid			user;

	if (state->query == NULL && !start_query(node))
		return NULL;
	estate = state->query->estate;
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(state->owner, context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	old = MemoryContextSwitchTo(estate->es_query_cxt);
	ResetPerTupleExprContext(estate);
	row = ExecProcNode(state->query->planstate);
	MemoryContextSwitchTo(old);
	SetUserIdAndSecContext(user, context);
	return row;
}

static void
restart_scan(ForeignScanState *node)
{
	end_query(node->fdw_state);
}

static void
end_scan(ForeignScanState *node)
{
	if (node->fdw_state != NULL)
		end_query(node->fdw_state);
}

/* False if there can be no row. */
static bool
start_query(ForeignScanState *node)
{
	RequestScan *state = node->fdw_state;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	ParamListInfo params = makeParamList(3);
	OwnerScope	scope;

	for (int i = 0; i < 3; i++)
	{
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].isnull = false;
	}
	params->params[0].ptype = OIDOID;
	params->params[0].value = ObjectIdGetDatum(GetUserId());
	params->params[1].ptype = BOOLOID;
	params->params[1].value = BoolGetDatum(state->sees_all);
	params->params[2].ptype = state->selection == SELECT_IDS ? INT8ARRAYOID : INT8OID;
	params->params[2].value = Int64GetDatum(0);
	if (state->selection != SELECT_ALL)
	{
		bool		isnull;
		Datum		value = ExecEvalExprSwitchContext(state->id, node->ss.ps.ps_ExprContext, &isnull);

		if (isnull)
		{
			MemoryContextSwitchTo(old);
			return false;
		}
		params->params[2].value = state->selection == SELECT_IDS ?
			datumCopy(value, false, -1) : Int64GetDatum(to_bigint(value, state->id_type));
	}

	tc_owner_enter(&scope);
	state->owner = GetUserId();
	if (state->plan == NULL)
		plan_query(node, state);
	state->query = CreateQueryDesc(state->plan, "temporal.request", node->ss.ps.state->es_snapshot,
								   InvalidSnapshot, None_Receiver, params, NULL, 0);
	ExecutorStart(state->query, EXEC_FLAG_SKIP_TRIGGERS);
	tc_owner_leave(&scope);
	MemoryContextSwitchTo(old);
	return true;
}

/*
 * A plan to find one request is kept, with all columns: wait_for_request()
 * needs it again and again.
 */
static void
plan_query(ForeignScanState *node, RequestScan *state)
{
	static SPIPlanPtr kept = NULL;
	static Oid	kept_for = InvalidOid;	/* foreign table */
	static const char *const conditions[] = {
		[SELECT_ALL] = "",
		[SELECT_ID] = " AND r.id OPERATOR(pg_catalog.=) $3",
		[SELECT_IDS] = " AND r.id OPERATOR(pg_catalog.=) ANY ($3)",
	};
	Relation	rel = node->ss.ss_currentRelation;
	Oid			types[3] = {OIDOID, BOOLOID, state->selection == SELECT_IDS ? INT8ARRAYOID : INT8OID};
	MemoryContext old = CurrentMemoryContext;
	SPIPlanPtr	plan = NULL;
	CachedPlan *cached;
	ResourceOwner owner;
	StringInfoData query;

	if (state->selection == SELECT_ID)
	{
		state->nwanted = 0;
		while (state->nwanted < lengthof(columns))
		{
			state->wanted[state->nwanted] = state->nwanted + 1;
			state->nwanted++;
		}
		if (kept != NULL && kept_for != RelationGetRelid(rel))
		{
			SPI_freeplan(kept);
			kept = NULL;
		}
		plan = kept;
	}

	SPI_connect();
	if (plan == NULL)
	{
		initStringInfo(&query);
		appendStringInfoString(&query, "SELECT ");
		for (int i = 0; i < state->nwanted; i++)
			appendStringInfo(&query, "%sr.%s", i > 0 ? ", " : "", columns[state->wanted[i] - 1]);
		appendStringInfo(&query, " FROM %s.every_request r"
						 " WHERE ($2 OR pg_catalog.pg_has_role($1, r.role, 'USAGE'))%s",
						 quote_identifier(get_namespace_name(RelationGetNamespace(rel))),
						 conditions[state->selection]);
		plan = SPI_prepare(query.data, 3, types);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (state->selection == SELECT_ID)
		{
			SPI_keepplan(plan);
			kept = plan;
			kept_for = RelationGetRelid(rel);
		}
	}
	owner = CurrentResourceOwner;
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan a statement on temporal.every_request");
	MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
	state->plan = copyObject(linitial_node(PlannedStmt, cached->stmt_list));
	/* only the plan of a kept statement is counted for the resource owner */
	ReleaseCachedPlan(cached, plan == kept ? owner : NULL);
	SPI_finish();
	MemoryContextSwitchTo(old);
}

static void
end_query(RequestScan *state)
{
	state->exhausted = false;
	if (state->query == NULL)
		return;
	ExecutorFinish(state->query);
	ExecutorEnd(state->query);
	FreeQueryDesc(state->query);
	state->query = NULL;
	MemoryContextReset(state->context);
}

static int64
to_bigint(Datum value, Oid type)
{
	switch (type)
	{
		case INT8OID:
			return DatumGetInt64(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT2OID:
			return DatumGetInt16(value);
	}
	elog(ERROR, "unexpected type of an id");
	return 0;					/* keep compiler quiet */
}
