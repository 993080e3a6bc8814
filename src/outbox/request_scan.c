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
 * there, and nobody sees how many rows there were.  Only comparisons that we
 * know are passed down, see request_lookup.c, so that few rows are read of
 * many; buffers and rows that are read are counted for nobody but who may see
 * all requests.
 *
 * The newest requests are found by windows of ids, from the top down: the
 * statement is run for each, and a window is eight times as large as the one
 * before it.  All windows together are all ids, so nothing depends on how
 * the ids are spread, but the time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "executor/executor.h"
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
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "base/uncounted.h"
#include "compat.h"
#include "outbox/outbox.h"
#include "outbox/request_lookup.h"
#include "outbox/tables.h"

/* Of the outcomes, so many are thought to be of requests that went wrong */
#define WRONG_FRACTION 0.001

/* So many requests a workflow is thought to have */
#define REQUESTS_OF_WORKFLOW 10

/* The first window has so many ids, or this many for each row that is wanted */
#define LEAST_WINDOW 256
#define WINDOW_FOR_ROW 8
#define LARGEST_FIRST_WINDOW 100000

/* How much larger the next window is */
#define WINDOW_GROWTH 8

typedef struct RequestScan
{
	RequestStatement statement;
	ExprState  *values[LOOKUP_VALUES];	/* NULL: not given */
	Oid			value_types[LOOKUP_VALUES];
	int64		first_window;	/* if the newest come first, how many ids */
	int64		window;			/* the present one: 0 = none yet */
	int64		least_id;
	int64		greatest_id;
	PlannedStmt *plan;			/* NULL until needed */
	MemoryContext context;		/* of the query, its parameters and state */
	QueryDesc  *query;			/* NULL: not begun */
	Oid			owner;			/* of the extension */
	Oid			reader;
	bool		sees_all;		/* whoever reads */
	bool		exhausted;
} RequestScan;

/* In fdw_private of a plan; its expressions are the values that are given, in their order */
enum
{
	PLAN_STATES,
	PLAN_GIVEN,					/* a bit for each value */
	PLAN_FIRST_WINDOW,			/* 0: in any order */
	PLAN_WANTED,				/* columns */
};

static void get_size(PlannerInfo *root, RelOptInfo *rel, Oid relid);
static void get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid);
static ForeignScan *get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid,
							 ForeignPath *path, List *tlist, List *clauses, Plan *outer_plan);
static void begin_scan(ForeignScanState *node, int eflags);
static TupleTableSlot *next_row(ForeignScanState *node);
static void restart_scan(ForeignScanState *node);
static void end_scan(ForeignScanState *node);
static void explain_scan(ForeignScanState *node, ExplainState *es);
static double estimated_requests(Oid relid, int states);
static Cost scan_cost(const Lookup *lookup, double all, double read);
static void add_newest_first(PlannerInfo *root, RelOptInfo *rel, Cost cost);
static void add_path_by_join(PlannerInfo *root, RelOptInfo *rel, RestrictInfo *clause);
static bool is_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
					  EquivalenceMember *em, void *arg);
static TupleTableSlot *next_uncounted(ForeignScanState *node);
static TupleTableSlot *next_in_windows(ForeignScanState *node);
static bool next_window(RequestScan *state);
static void first_window(RequestScan *state);
static TupleTableSlot *next_of_query(ForeignScanState *node);
static bool start_query(ForeignScanState *node);
static bool set_values(ForeignScanState *node, ParamListInfo params);
static void end_query(RequestScan *state);
static Datum copy_value(Datum value, Oid type);

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
	routine->ExplainForeignScan = explain_scan;
	PG_RETURN_POINTER(routine);
}

/*---- planning ----*/

static void
get_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Lookup		lookup;
	double		rows;

	tc_lookup_find(root, rel, rel->baserestrictinfo, &lookup);
	rel->tuples = estimated_requests(relid, STATES_ALL);
	set_baserel_size_estimates(root, rel);
	rows = estimated_requests(relid, lookup.states);
	if (lookup.values[LOOKUP_ID] != NULL || lookup.values[LOOKUP_IDS] != NULL)
		rows = 1;
	else if (tc_lookup_is_narrow(&lookup))
		rows = REQUESTS_OF_WORKFLOW;
	rel->rows = clamp_row_est(Min(rel->rows, rows));
}

/* As many as our tables have, of which everybody sees the statistics. */
static double
estimated_requests(Oid relid, int states)
{
	Oid			schema = get_rel_namespace(relid);
	double		result = 100;

	for (TableId id = REQUEST_TABLES_FIRST; id <= REQUEST_TABLES_LAST; id++)
	{
		Oid			table = get_relname_relid(tc_table_name(id), schema);
		HeapTuple	tuple;
		double		fraction = 1;

		if (id == TABLE_OUTBOX)
			fraction = (states & STATE_UNFINISHED) != 0 ? 1 : 0;
		else if (id == TABLE_REJECTED)
			fraction = (states & STATES_WRONG) != 0 ? 1 : 0;
		else if ((states & STATES_FINISHED & ~STATES_WRONG) == 0)
			fraction = (states & STATES_WRONG) != 0 ? WRONG_FRACTION : 0;
		tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
		if (!HeapTupleIsValid(tuple))
			continue;
		result += fraction * Max(((Form_pg_class) GETSTRUCT(tuple))->reltuples, 0);
		ReleaseSysCache(tuple);
	}
	return result;
}

static void
get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	static const AttrNumber joined[] = {REQUEST_ID, REQUEST_WORKFLOW_ID};
	Lookup		lookup;
	Cost		cost;
	ListCell   *lc;

	tc_lookup_find(root, rel, rel->baserestrictinfo, &lookup);
	cost = scan_cost(&lookup, rel->tuples, estimated_requests(relid, lookup.states));
	add_path(rel, (Path *) tc_create_foreignscan_path(root, rel, rel->rows, 0, cost, NIL,
													  rel->lateral_relids, NIL));
	if (!tc_lookup_is_narrow(&lookup))
		add_newest_first(root, rel, cost);

	/* as the inner side of a nested loop, which gives the values */
	foreach(lc, rel->joininfo)
		add_path_by_join(root, rel, lfirst_node(RestrictInfo, lc));
	for (int i = 0; i < lengthof(joined) && rel->has_eclass_joins; i++)
		foreach(lc, generate_implied_equalities_for_column(root, rel, is_column, (void *) &joined[i],
														   rel->lateral_referencers))
			add_path_by_join(root, rel, lfirst_node(RestrictInfo, lc));
}

/* By id a few pages are read, by workflow the filters of all of them, else the tables that are concerned. */
static Cost
scan_cost(const Lookup *lookup, double all, double read)
{
	Cost		cost = 20 * random_page_cost;

	if (lookup->values[LOOKUP_ID] != NULL || lookup->values[LOOKUP_IDS] != NULL)
		return cost;
	if (tc_lookup_is_narrow(lookup))
		return cost + all * cpu_operator_cost / 10;
	return cost + read * (seq_page_cost / 20 + 10 * cpu_operator_cost + cpu_tuple_cost);
}

/* What ORDER BY id DESC LIMIT 20 wants: it costs little to begin, and some more to read it all. */
static void
add_newest_first(PlannerInfo *root, RelOptInfo *rel, Cost cost)
{
	static const AttrNumber column = REQUEST_ID;
	PathKey    *key;
	ListCell   *lc;
	bool		of_id = false;
	int64		window = LEAST_WINDOW;
	Cost		startup = 20 * random_page_cost + rel->tuples * cpu_operator_cost / 10;

	if (root->query_pathkeys == NIL)
		return;
	key = linitial_node(PathKey, root->query_pathkeys);
	if (!tc_pathkey_is_descending(key) || key->pk_opfamily != INTEGER_BTREE_FAM_OID ||
		key->pk_eclass->ec_has_volatile)
		return;
	foreach(lc, key->pk_eclass->ec_members)
		of_id = of_id || is_column(root, rel, key->pk_eclass, lfirst(lc), (void *) &column);
	if (!of_id)
		return;
	if (root->limit_tuples > 0)
		window = Max(window, Min(root->limit_tuples * WINDOW_FOR_ROW, LARGEST_FIRST_WINDOW));
	cost = startup + cost * 1.2 + rel->rows * (log(rel->rows + 1) * 3 * cpu_operator_cost);
	add_path(rel, (Path *) tc_create_foreignscan_path(root, rel, rel->rows, startup, cost,
													  list_make1(key), rel->lateral_relids,
													  list_make1(makeInteger(window))));
}

static bool
is_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
		  EquivalenceMember *em, void *arg)
{
	Node	   *node = (Node *) em->em_expr;

	return IsA(node, Var) && ((Var *) node)->varno == rel->relid &&
		((Var *) node)->varattno == *(const AttrNumber *) arg;
}

static void
add_path_by_join(PlannerInfo *root, RelOptInfo *rel, RestrictInfo *clause)
{
	Lookup		lookup;
	Relids		outer;
	ParamPathInfo *param_info;
	double		rows;

	if (!join_clause_is_movable_to(clause, rel))
		return;
	tc_lookup_find(root, rel, list_make1(clause), &lookup);
	if (!tc_lookup_is_narrow(&lookup))
		return;
	outer = bms_del_member(bms_union(clause->clause_relids, rel->lateral_relids), rel->relid);
	if (bms_is_empty(outer))
		return;
	param_info = get_baserel_parampathinfo(root, rel, outer);
	rows = lookup.values[LOOKUP_ID] != NULL || lookup.values[LOOKUP_IDS] != NULL ? 1 : REQUESTS_OF_WORKFLOW;
	add_path(rel, (Path *) tc_create_foreignscan_path(root, rel, Min(param_info->ppi_rows, rows), 0,
													  scan_cost(&lookup, rel->tuples, 0), NIL,
													  outer, NIL));
}

/* All conditions are evaluated above the scan, also those that it uses. */
static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path,
		 List *tlist, List *clauses, Plan *outer_plan)
{
	int			given = 0;
	List	   *exprs = NIL;
	List	   *wanted = NIL;
	Bitmapset  *attnos = NULL;
	Lookup		lookup;
	int			window = path->fdw_private != NIL ? intVal(linitial(path->fdw_private)) : 0;

	tc_lookup_find(root, rel, clauses, &lookup);
	for (int i = 0; i < LOOKUP_VALUES; i++)
		if (lookup.values[i] != NULL)
		{
			given |= 1 << i;
			exprs = lappend(exprs, lookup.values[i]);
		}

	clauses = extract_actual_clauses(clauses, false);
	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &attnos);
	pull_varattnos((Node *) clauses, rel->relid, &attnos);
	for (int attno = 1; attno <= REQUEST_NATTS; attno++)
		if (bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, attnos) ||
			bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attnos))
			wanted = lappend_int(wanted, attno);

	return make_foreignscan(tlist, clauses, rel->relid, exprs,
							list_make4(makeInteger(lookup.states), makeInteger(given),
									   makeInteger(window), wanted),
							NIL, NIL, outer_plan);
}

/* In EXPLAIN: what is passed down.  It tells of the plan, never of what is found. */
static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	static const char *const names[LOOKUP_VALUES] = {
		"id", "id", "workflow_id", "workflow_id", "finished_at", "finished_at"
	};
	List	   *private = ((ForeignScan *) node->ss.ps.plan)->fdw_private;
	List	   *lookup = NIL;
	const char *last = "";

	for (int i = 0; i < LOOKUP_VALUES; i++)
		if ((intVal(list_nth(private, PLAN_GIVEN)) & (1 << i)) != 0 && strcmp(names[i], last) != 0)
		{
			last = names[i];
			lookup = lappend(lookup, (void *) last);
		}
	if (intVal(list_nth(private, PLAN_STATES)) != STATES_ALL)
		lookup = lappend(lookup, "state");
	if (intVal(list_nth(private, PLAN_FIRST_WINDOW)) > 0)
		lookup = lappend(lookup, "newest first");
	if (lookup != NIL)
		ExplainPropertyList("Look-up", lookup, es);
}

/*---- execution ----*/

static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	RequestScan *state = palloc0(sizeof(RequestScan));
	RequestStatement *statement = &state->statement;
	ListCell   *next_value = list_head(plan->fdw_exprs);
	ListCell   *lc;

	node->fdw_state = state;
	if (RelationGetNumberOfAttributes(node->ss.ss_currentRelation) != REQUEST_NATTS)
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
	statement->states = intVal(list_nth(plan->fdw_private, PLAN_STATES));
	state->first_window = intVal(list_nth(plan->fdw_private, PLAN_FIRST_WINDOW));
	statement->newest_first = state->first_window > 0;
	foreach(lc, (List *) list_nth(plan->fdw_private, PLAN_WANTED))
		statement->wanted[statement->nwanted++] = lfirst_int(lc);
	for (int i = 0; i < LOOKUP_VALUES; i++)
		if ((intVal(list_nth(plan->fdw_private, PLAN_GIVEN)) & (1 << i)) != 0)
		{
			Expr	   *value = lfirst(next_value);

			state->values[i] = ExecInitExpr(value, &node->ss.ps);
			state->value_types[i] = exprType((Node *) value);
			statement->types[i] = i == LOOKUP_ID ? INT8OID : state->value_types[i];
			next_value = lnext(plan->fdw_exprs, next_value);
		}
}

static TupleTableSlot *
next_row(ForeignScanState *node)
{
	RequestScan *state = node->fdw_state;
	const RequestStatement *statement = &state->statement;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	TupleTableSlot *row;

	ExecClearTuple(slot);
	if (state->exhausted)
		return slot;
	/* as long as a query runs, what it was begun with */
	if (state->query == NULL)
	{
		state->reader = GetUserId();
		state->sees_all = has_privs_of_role(state->reader, ROLE_PG_MONITOR);
	}
	row = state->sees_all ? next_in_windows(node) : next_uncounted(node);
	if (TupIsNull(row))
	{
		state->exhausted = true;
		return slot;
	}

	slot_getallattrs(row);
	memset(slot->tts_isnull, true, REQUEST_NATTS * sizeof(bool));
	for (int i = 0; i < statement->nwanted; i++)
	{
		slot->tts_values[statement->wanted[i] - 1] = row->tts_values[i];
		slot->tts_isnull[statement->wanted[i] - 1] = row->tts_isnull[i];
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
	CountsBefore counts;

	tc_uncounted_begin(&counts, false);
	PG_TRY();
	{
		row = next_in_windows(node);
	}
	PG_FINALLY();
	{
		tc_uncounted_end(&counts);
	}
	PG_END_TRY();
	return row;
}

/* NULL, or an empty slot, if there are no more */
static TupleTableSlot *
next_in_windows(ForeignScanState *node)
{
	RequestScan *state = node->fdw_state;
	TupleTableSlot *row = next_of_query(node);

	while (TupIsNull(row) && state->query != NULL && next_window(state))
		row = next_of_query(node);
	return row;
}

/* The query has no more rows: on to smaller ids, if there can be any. */
static bool
next_window(RequestScan *state)
{
	if (!state->statement.newest_first || state->least_id == PG_INT64_MIN)
		return false;
	end_query(state);
	state->greatest_id = state->least_id - 1;
	if (state->window <= PG_INT64_MAX / WINDOW_GROWTH)
		state->window *= WINDOW_GROWTH;
	state->least_id = state->greatest_id > state->window ? state->greatest_id - state->window + 1 : PG_INT64_MIN;
	return true;
}

/* The first window has the ids that were drawn last, and all that are still larger. */
static void
first_window(RequestScan *state)
{
	int64		last = tc_outbox_last_id();

	state->window = state->first_window;
	state->greatest_id = PG_INT64_MAX;
	state->least_id = last > state->window ? last - state->window + 1 : PG_INT64_MIN;
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
	RequestScan *state = node->fdw_state;

	end_query(state);
	state->exhausted = false;
	state->window = 0;
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
	ParamListInfo params = makeParamList(STATEMENT_PARAMS);
	OwnerScope	scope;

	if (!set_values(node, params))
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	if (state->statement.newest_first && state->window == 0)
		first_window(state);
	params->params[PARAM_READER].value = ObjectIdGetDatum(state->reader);
	params->params[PARAM_SEES_ALL].value = BoolGetDatum(state->sees_all);
	params->params[PARAM_LEAST_ID].value = Int64GetDatum(state->least_id);
	params->params[PARAM_GREATEST_ID].value = Int64GetDatum(state->greatest_id);

	tc_owner_enter(&scope);
	state->owner = GetUserId();
	if (state->plan == NULL)
	{
		MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
		state->plan = tc_statement_plan(&state->statement,
										RelationGetNamespace(node->ss.ss_currentRelation));
		MemoryContextSwitchTo(state->context);
	}
	state->query = CreateQueryDesc(state->plan, "temporal.request", node->ss.ps.state->es_snapshot,
								   InvalidSnapshot, None_Receiver, params, NULL, 0);
	ExecutorStart(state->query, EXEC_FLAG_SKIP_TRIGGERS);
	tc_owner_leave(&scope);
	MemoryContextSwitchTo(old);
	return true;
}

/* Compute the values.  False if one is NULL: nothing compares with that. */
static bool
set_values(ForeignScanState *node, ParamListInfo params)
{
	RequestScan *state = node->fdw_state;
	Oid			types[STATEMENT_PARAMS];

	tc_statement_param_types(&state->statement, types);
	for (int i = 0; i < STATEMENT_PARAMS; i++)
	{
		params->params[i].ptype = types[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].isnull = false;
		params->params[i].value = (Datum) 0;
	}
	for (int i = 0; i < LOOKUP_VALUES; i++)
	{
		bool		isnull;
		Datum		value;

		if (state->values[i] == NULL)
			continue;
		value = ExecEvalExprSwitchContext(state->values[i], node->ss.ps.ps_ExprContext, &isnull);
		if (isnull)
			return false;
		params->params[PARAM_VALUES + i].value = copy_value(value, state->value_types[i]);
	}
	return true;
}

static void
end_query(RequestScan *state)
{
	if (state->query == NULL)
		return;
	ExecutorFinish(state->query);
	ExecutorEnd(state->query);
	FreeQueryDesc(state->query);
	state->query = NULL;
	MemoryContextReset(state->context);
}

/* In the current memory context; as bigint, if it is a smaller integer. */
static Datum
copy_value(Datum value, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return Int64GetDatum(DatumGetInt16(value));
		case INT4OID:
			return Int64GetDatum(DatumGetInt32(value));
		case TEXTOID:
		case TEXTARRAYOID:
		case INT8ARRAYOID:
			return PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	}
	/* all others are passed by value */
	return value;
}
