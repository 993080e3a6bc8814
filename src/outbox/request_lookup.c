/*-------------------------------------------------------------------------
 *
 * request_lookup.c
 *	  Which conditions on temporal.request are passed down to the scan.
 *
 * What is passed down is compared with rows of others, below the look at the
 * reader's privileges: so it must be a comparison that we know, of a column
 * with a value that does not depend on the row.  Whose operator it is says
 * PostgreSQL's own operator family, which only a superuser can add to.
 *
 * All conditions are evaluated above the scan as well, so it is enough that
 * no row is lost.  Texts that a deterministic collation holds to be equal have
 * the same bytes; by others they need not, so these are not passed down.
 *
 * Of a condition on the state, if it names constants, follows which of the
 * tables can have such requests at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "outbox/request_lookup.h"

/* No version has a name for it. */
#define DATETIME_BTREE_FAM_OID 434

/* Columns that are compared with a value */
typedef struct Comparable
{
	AttrNumber	column;
	Oid			family;			/* of operators */
	Oid			types[3];		/* that the value may have */
	Oid			array_type;		/* of the values of = ANY; InvalidOid: none */
} Comparable;

static const Comparable comparables[] = {
	{REQUEST_ID, INTEGER_BTREE_FAM_OID, {INT8OID, INT4OID, INT2OID}, INT8ARRAYOID},
	{REQUEST_WORKFLOW_ID, TEXT_BTREE_FAM_OID, {TEXTOID}, TEXTARRAYOID},
	{REQUEST_FINISHED_AT, DATETIME_BTREE_FAM_OID, {TIMESTAMPTZOID, TIMESTAMPOID, DATEOID}, InvalidOid},
};

/* A condition "column operator value", or "value operator column" turned round */
typedef struct Comparison
{
	AttrNumber	column;
	int			strategy;		/* what the operator is in its family */
	bool		of_array;		/* = ANY */
	Expr	   *value;
} Comparison;

static bool find_comparison(PlannerInfo *root, RelOptInfo *rel, Node *clause, Comparison *found);
static bool is_comparable(PlannerInfo *root, RelOptInfo *rel, const Comparable *comparable, Node *value, bool of_array);
static bool split_clause(Node *clause, Oid *operator, Node **left, Node **right, bool *of_array);
static bool is_column(RelOptInfo *rel, Node *node, AttrNumber column);
static void note_comparison(Lookup *lookup, const Comparison *found);
static int	possible_states(RelOptInfo *rel, Node *clause);
static int	states_of_constants(Node *node);
static int	state_of_name(text *name);

void
tc_lookup_find(PlannerInfo *root, RelOptInfo *rel, List *clauses, Lookup *lookup)
{
	ListCell   *lc;

	memset(lookup, 0, sizeof(Lookup));
	lookup->states = STATES_ALL;
	foreach(lc, clauses)
	{
		Node	   *clause = (Node *) lfirst_node(RestrictInfo, lc)->clause;
		Comparison	found;

		lookup->states &= possible_states(rel, clause);
		if (find_comparison(root, rel, clause, &found))
			note_comparison(lookup, &found);
	}

	/* what finds fewest needs none of the others beside it */
	for (int i = LOOKUP_ID; i <= LOOKUP_WORKFLOWS; i++)
		if (lookup->values[i] != NULL)
			for (int j = i + 1; j <= LOOKUP_WORKFLOWS; j++)
				lookup->values[j] = NULL;
	if (lookup->values[LOOKUP_ID] != NULL)
	{
		lookup->states = STATES_ALL;
		lookup->values[LOOKUP_FINISHED_FROM] = NULL;
		lookup->values[LOOKUP_FINISHED_TO] = NULL;
	}
}

bool
tc_lookup_is_narrow(const Lookup *lookup)
{
	for (int i = LOOKUP_ID; i <= LOOKUP_WORKFLOWS; i++)
		if (lookup->values[i] != NULL)
			return true;
	return false;
}

/*---- comparisons ----*/

static void
note_comparison(Lookup *lookup, const Comparison *found)
{
	LookupValue which;

	switch (found->column)
	{
		case REQUEST_ID:
			which = found->of_array ? LOOKUP_IDS : LOOKUP_ID;
			break;
		case REQUEST_WORKFLOW_ID:
			which = found->of_array ? LOOKUP_WORKFLOWS : LOOKUP_WORKFLOW;
			break;
		default:
			/* a request that is not finished has no such time */
			lookup->states &= STATES_FINISHED;
			if (found->strategy == BTEqualStrategyNumber)
				return;
			which = found->strategy < BTEqualStrategyNumber ? LOOKUP_FINISHED_TO : LOOKUP_FINISHED_FROM;
	}
	if (found->column != REQUEST_FINISHED_AT && found->strategy != BTEqualStrategyNumber)
		return;
	if (lookup->values[which] == NULL)
		lookup->values[which] = found->value;
}

static bool
find_comparison(PlannerInfo *root, RelOptInfo *rel, Node *clause, Comparison *found)
{
	Oid			operator;
	Node	   *sides[2];

	if (!split_clause(clause, &operator, &sides[0], &sides[1], &found->of_array))
		return false;
	for (int i = 0; i < (found->of_array ? 1 : 2); i++)
		for (int j = 0; j < lengthof(comparables); j++)
		{
			const Comparable *comparable = &comparables[j];

			if (!is_column(rel, sides[i], comparable->column) ||
				!is_comparable(root, rel, comparable, sides[1 - i], found->of_array))
				continue;
			found->column = comparable->column;
			found->value = (Expr *) sides[1 - i];
			found->strategy = get_op_opfamily_strategy(operator, comparable->family);
			if (i == 1 && found->strategy != 0)
				found->strategy = BTMaxStrategyNumber + 1 - found->strategy;
			return found->strategy != 0;
		}
	return false;
}

/* Can the column be compared with that value, which is computed before the scan? */
static bool
is_comparable(PlannerInfo *root, RelOptInfo *rel, const Comparable *comparable, Node *value,
			  bool of_array)
{
	Oid			type = exprType(value);
	bool		accepted = false;

	if (of_array)
		accepted = OidIsValid(comparable->array_type) && type == comparable->array_type;
	else
		for (int i = 0; i < lengthof(comparable->types); i++)
			accepted = accepted || (OidIsValid(type) && type == comparable->types[i]);
	return accepted && !contain_volatile_functions(value) &&
		!bms_is_member(rel->relid, pull_varnos(root, value));
}

/* A clause with two sides, or with = ANY; false for others, and for collations that are not deterministic. */
static bool
split_clause(Node *clause, Oid *operator, Node **left, Node **right, bool *of_array)
{
	List	   *args;
	Oid			collation;

	if (IsA(clause, OpExpr))
	{
		*operator = ((OpExpr *) clause)->opno;
		args = ((OpExpr *) clause)->args;
		collation = ((OpExpr *) clause)->inputcollid;
		*of_array = false;
	}
	else if (IsA(clause, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) clause)->useOr)
	{
		*operator = ((ScalarArrayOpExpr *) clause)->opno;
		args = ((ScalarArrayOpExpr *) clause)->args;
		collation = ((ScalarArrayOpExpr *) clause)->inputcollid;
		*of_array = true;
	}
	else
		return false;
	if (list_length(args) != 2 ||
		(OidIsValid(collation) && !get_collation_isdeterministic(collation)))
		return false;
	*left = linitial(args);
	*right = lsecond(args);
	return true;
}

static bool
is_column(RelOptInfo *rel, Node *node, AttrNumber column)
{
	return IsA(node, Var) && ((Var *) node)->varno == rel->relid &&
		((Var *) node)->varattno == column && ((Var *) node)->varlevelsup == 0;
}

/*---- states ----*/

/* The states that requests can be in of which the condition is true */
static int
possible_states(RelOptInfo *rel, Node *clause)
{
	int			result = STATES_ALL;
	Oid			operator;
	Node	   *left;
	Node	   *right;
	bool		of_array;

	if (IsA(clause, NullTest) &&
		is_column(rel, (Node *) ((NullTest *) clause)->arg, REQUEST_FINISHED_AT))
		return ((NullTest *) clause)->nulltesttype == IS_NULL ? STATE_UNFINISHED : STATES_FINISHED;
	if (is_orclause(clause) || is_andclause(clause))
	{
		ListCell   *lc;

		if (is_orclause(clause))
			result = 0;
		foreach(lc, ((BoolExpr *) clause)->args)
		{
			int			states = possible_states(rel, lfirst(lc));

			result = is_orclause(clause) ? result | states : result & states;
		}
		return result;
	}
	if (split_clause(clause, &operator, &left, &right, &of_array) && get_opcode(operator) == F_TEXTEQ)
	{
		if (is_column(rel, left, REQUEST_STATE))
			return states_of_constants(right);
		if (!of_array && is_column(rel, right, REQUEST_STATE))
			return states_of_constants(left);
	}
	return result;
}

/* All states, if it is no constant. */
static int
states_of_constants(Node *node)
{
	Const	   *constant = (Const *) node;
	Datum	   *names;
	bool	   *nulls;
	int			count;
	int			result = 0;

	if (!IsA(node, Const))
		return STATES_ALL;
	if (constant->constisnull)
		return 0;
	if (constant->consttype == TEXTOID)
		return state_of_name(DatumGetTextPP(constant->constvalue));
	if (constant->consttype != TEXTARRAYOID)
		return STATES_ALL;
	deconstruct_array(DatumGetArrayTypeP(constant->constvalue), TEXTOID, -1, false, TYPALIGN_INT,
					  &names, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			result |= state_of_name(DatumGetTextPP(names[i]));
	return result;
}

static int
state_of_name(text *name)
{
	static const struct
	{
		const char *name;
		int			state;
	}			finished[] = {
		{"delivered", STATE_DELIVERED},
		{"superseded", STATE_SUPERSEDED},
		{"rejected", STATE_REJECTED},
		{"unconfirmed", STATE_UNCONFIRMED},
	};

	for (int i = 0; i < lengthof(finished); i++)
		if (VARSIZE_ANY_EXHDR(name) == strlen(finished[i].name) &&
			memcmp(VARDATA_ANY(name), finished[i].name, strlen(finished[i].name)) == 0)
			return finished[i].state;
	return STATE_UNFINISHED;
}
