/*-------------------------------------------------------------------------
 *
 * request_statement.c
 *	  The statement that is run to read requests for temporal.request.
 *
 * It names nothing that a reader could make, and runs as the owner of the
 * extension.  No expression of the reader must ever become part of it: values
 * go in as parameters, and what is left of a condition on the state is which
 * tables are read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/resowner.h"

#include "outbox/request_lookup.h"

static const char *const columns[REQUEST_NATTS] = {
	"id", "server", "namespace", "verb", "workflow_id", "run_id", "activity_id",
	"requested_by", "requested_at", "state", "attempts", "next_attempt_at",
	"error_code", "error_message", "finished_at", "cancel_requested",
	"activity_paused", "activity_reset", "decisions", "key", "expires_at", "earlier_heartbeats"
};

/* Conditions on the values, of which the number of the parameter is missing */
static const char *const conditions[LOOKUP_VALUES] = {
	[LOOKUP_ID] = "r.id OPERATOR(pg_catalog.=) $%d",
	[LOOKUP_IDS] = "r.id OPERATOR(pg_catalog.=) ANY ($%d)",
	[LOOKUP_WORKFLOW] = "r.workflow_id OPERATOR(pg_catalog.=) $%d",
	[LOOKUP_WORKFLOWS] = "r.workflow_id OPERATOR(pg_catalog.=) ANY ($%d)",
	[LOOKUP_FINISHED_FROM] = "r.finished_at OPERATOR(pg_catalog.>=) $%d",
	[LOOKUP_FINISHED_TO] = "r.finished_at OPERATOR(pg_catalog.<=) $%d",
};

/*
 * Plans of look-ups are kept, with all columns: planning takes longer than
 * finding one request, and wait_for_request() needs that again and again.
 */
#define KEPT_PLANS 8

typedef struct KeptPlan
{
	SPIPlanPtr	plan;			/* NULL: none */
	Oid			schema;
	int			states;
	bool		newest_first;
	Oid			types[LOOKUP_VALUES];
} KeptPlan;

static KeptPlan kept_plans[KEPT_PLANS];
static int	oldest_kept = 0;

static KeptPlan *kept_plan(const RequestStatement *statement, Oid schema);
static char *statement_text(const RequestStatement *statement, Oid schema);
static void add_tables(StringInfo query, int states);
static bool is_lookup(const RequestStatement *statement);
static bool has_indexes(const RequestStatement *statement);
static void prefer_indexes(void);

void
tc_statement_param_types(const RequestStatement *statement, Oid types[STATEMENT_PARAMS])
{
	types[PARAM_READER] = OIDOID;
	types[PARAM_SEES_ALL] = BOOLOID;
	types[PARAM_LEAST_ID] = INT8OID;
	types[PARAM_GREATEST_ID] = INT8OID;
	for (int i = 0; i < LOOKUP_VALUES; i++)
		types[PARAM_VALUES + i] = OidIsValid(statement->types[i]) ? statement->types[i] : INT8OID;
}

PlannedStmt *
tc_statement_plan(RequestStatement *statement, Oid schema)
{
	KeptPlan   *kept = NULL;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	SPIPlanPtr	plan = NULL;
	CachedPlan *cached;
	PlannedStmt *result;

	if (is_lookup(statement))
	{
		kept = kept_plan(statement, schema);
		plan = kept->plan;
		statement->nwanted = 0;
		for (int attno = 1; attno <= REQUEST_NATTS; attno++)
			statement->wanted[statement->nwanted++] = attno;
	}

	SPI_connect();
	if (has_indexes(statement))
		prefer_indexes();
	if (plan == NULL)
	{
		Oid			types[STATEMENT_PARAMS];

		tc_statement_param_types(statement, types);
		plan = SPI_prepare(statement_text(statement, schema), STATEMENT_PARAMS, types);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		if (kept != NULL)
		{
			SPI_keepplan(plan);
			kept->plan = plan;
		}
	}
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan a statement on temporal_internal.every_request");
	MemoryContextSwitchTo(context);
	result = copyObject(linitial_node(PlannedStmt, cached->stmt_list));
	/* only the plan of a kept statement is counted for the resource owner */
	ReleaseCachedPlan(cached, kept != NULL ? owner : NULL);
	SPI_finish();
	MemoryContextSwitchTo(context);
	return result;
}

/* The place of a plan, maybe instead of another one; its plan may be NULL. */
static KeptPlan *
kept_plan(const RequestStatement *statement, Oid schema)
{
	KeptPlan   *kept;

	for (int i = 0; i < KEPT_PLANS; i++)
	{
		kept = &kept_plans[i];
		if (kept->schema == schema && kept->states == statement->states &&
			kept->newest_first == statement->newest_first &&
			memcmp(kept->types, statement->types, sizeof(kept->types)) == 0)
			return kept;
	}
	kept = &kept_plans[oldest_kept];
	oldest_kept = (oldest_kept + 1) % KEPT_PLANS;
	if (kept->plan != NULL)
		SPI_freeplan(kept->plan);
	kept->plan = NULL;
	kept->schema = schema;
	kept->states = statement->states;
	kept->newest_first = statement->newest_first;
	memcpy(kept->types, statement->types, sizeof(kept->types));
	return kept;
}

static char *
statement_text(const RequestStatement *statement, Oid schema)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	for (int i = 0; i < statement->nwanted; i++)
		appendStringInfo(&query, "%sr.%s", i > 0 ? ", " : "", columns[statement->wanted[i] - 1]);
	appendStringInfo(&query, " FROM %s.every_request r WHERE ($%d OR pg_catalog.pg_has_role($%d, r.role, 'USAGE'))",
					 quote_identifier(get_namespace_name(schema)),
					 PARAM_SEES_ALL + 1, PARAM_READER + 1);
	for (int i = 0; i < LOOKUP_VALUES; i++)
		if (OidIsValid(statement->types[i]))
		{
			appendStringInfoString(&query, " AND ");
			appendStringInfo(&query, conditions[i], PARAM_VALUES + i + 1);
		}
	add_tables(&query, statement->states);
	/* it takes much less time than decoding a request for its workflow */
	if (OidIsValid(statement->types[LOOKUP_WORKFLOW]))
		appendStringInfo(&query, " AND (r.request IS NULL OR %s.request_may_name(r.request, $%d))",
						 quote_identifier(get_namespace_name(schema)), PARAM_VALUES + LOOKUP_WORKFLOW + 1);
	if (statement->newest_first)
		appendStringInfo(&query, " AND r.id OPERATOR(pg_catalog.>=) $%d AND r.id OPERATOR(pg_catalog.<=) $%d"
						 " ORDER BY r.id USING OPERATOR(pg_catalog.>)",
						 PARAM_LEAST_ID + 1, PARAM_GREATEST_ID + 1);
	return query.data;
}

/* The planner leaves out what a constant says to be false. */
static void
add_tables(StringInfo query, int states)
{
	if ((states & STATE_UNFINISHED) == 0)
		appendStringInfoString(query, " AND r.stands_in OPERATOR(pg_catalog.<>) 'outbox'");
	if ((states & STATES_WRONG) == 0)
		appendStringInfoString(query, " AND r.stands_in OPERATOR(pg_catalog.<>) 'rejected'");
	if ((states & STATES_FINISHED) == 0)
		appendStringInfoString(query, " AND r.stands_in OPERATOR(pg_catalog.<>) 'delivery'");
	if ((states & STATES_FINISHED & ~STATES_WRONG) == 0)
		appendStringInfoString(query, " AND r.stands_in OPERATOR(pg_catalog.<>) 'last_heartbeat'");
	if ((states & STATES_FINISHED) != 0 && (states & STATES_FINISHED & ~STATES_WRONG) == 0)
		appendStringInfoString(query, " AND (r.stands_in OPERATOR(pg_catalog.<>) 'delivery' OR r.went_wrong)");
}

/* Does it read little, though there is much? */
static bool
is_lookup(const RequestStatement *statement)
{
	return has_indexes(statement) || (statement->states & STATES_FINISHED & ~STATES_WRONG) == 0;
}

/* Is there an index for all that is large? */
static bool
has_indexes(const RequestStatement *statement)
{
	for (int i = LOOKUP_ID; i <= LOOKUP_WORKFLOWS; i++)
		if (OidIsValid(statement->types[i]))
			return true;
	return statement->newest_first ||
		((statement->states & STATES_WRONG) != 0 &&
		 (statement->states & STATES_FINISHED & ~STATES_WRONG) == 0);
}

/*
 * Until tc_owner_leave().  What BRIN indexes with bloom filters are good for
 * the planner underestimates by far; and it must not compile a statement
 * because it thinks that a table which has no index for it costs so much.
 */
static void
prefer_indexes(void)
{
	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}
