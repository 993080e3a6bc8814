/*-------------------------------------------------------------------------
 *
 * bind_table.c
 *	  bind_table() and unbind_table(): ready-made triggers made and dropped.
 *
 * What is wrong is said at once, not when the first row changes.  The
 * statements are run with the caller's rights, who needs what CREATE TRIGGER
 * needs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

#include "base/extension.h"
#include "compat.h"
#include "functions/trigger_arguments.h"
#include "server/server.h"

PG_FUNCTION_INFO_V1(tc_bind_table);
PG_FUNCTION_INFO_V1(tc_unbind_table);

/* Arguments of bind_table(); those of the trigger stand between them in their order */
#define BIND_RELATION 0
#define BIND_VERB 1
#define BIND_FIRST_ARGUMENT 2
#define BIND_ON_UPDATE_OF (BIND_FIRST_ARGUMENT + NTRIGGER_ARGUMENTS)
#define BIND_WHEN_SQL (BIND_ON_UPDATE_OF + 1)
#define BIND_TRIGGER_NAME (BIND_WHEN_SQL + 1)

/* What a condition is parsed behind */
#define CONDITION_BEGIN "SELECT ("

/* After it: a comment ends before */
#define CONDITION_END "\n)"

/* How a trigger is made */
typedef struct Binding
{
	TriggerVerb verb;
	char	   *args[NTRIGGER_ARGUMENTS];
	int			nargs;
	char	   *server;			/* one of the arguments; NULL = not given */
	char	   *namespace_name;
	const char *name;
	char	   *columns;		/* "a, b", quoted; NULL = any */
	char	   *condition;		/* SQL; NULL = always */
} Binding;

static TriggerVerb verb_of_name(const char *name);
static void take_arguments(FunctionCallInfo fcinfo, Binding *binding);
static char *list_of_names(ArrayType *names);
static void check_condition(const char *condition);
static void condition_error(void *arg);
static void check_caller(Oid relid);
static List *tables_to_bind(Oid relid);
static char *create_statement(const Binding *binding, Relation table);
static char *qualified_name(Relation table);
static void run(const char *statement);

/*
 * SQL: bind_table(relation regclass, verb text, <arguments of the trigger>,
 *		on_update_of name[], when_sql text, trigger_name name) returns name
 */
Datum
tc_bind_table(PG_FUNCTION_ARGS)
{
	Binding		binding = {0};
	Oid			relid;
	ListCell   *lc;

	if (PG_ARGISNULL(BIND_RELATION) || PG_ARGISNULL(BIND_VERB))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(BIND_RELATION) ? "relation" : "verb")));
	relid = PG_GETARG_OID(BIND_RELATION);
	binding.verb = verb_of_name(text_to_cstring(PG_GETARG_TEXT_PP(BIND_VERB)));
	take_arguments(fcinfo, &binding);

	(void) tc_server_for_caller(binding.server, binding.namespace_name);

	check_caller(relid);
	tc_require_names(NULL, 0);
	foreach(lc, tables_to_bind(relid))
	{
		Relation	table = table_open(lfirst_oid(lc), ShareRowExclusiveLock);
		char	   *statement;

		(void) tc_trigger_plan(binding.verb, binding.nargs, binding.args, RelationGetDescr(table),
							   RelationGetRelationName(table));
		statement = create_statement(&binding, table);
		table_close(table, NoLock);
		run(statement);
	}
	PG_RETURN_DATUM(DirectFunctionCall1(namein, CStringGetDatum(binding.name)));
}

static TriggerVerb
verb_of_name(const char *name)
{
	for (int i = 0; i < NTRIGGER_VERBS; i++)
		if (strcmp(name, tc_trigger_verb(i)) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid verb \"%s\"", name),
			 errhint("Verbs are complete, fail, report_cancellation and heartbeat.")));
	return TRIGGER_COMPLETE;	/* keep compiler quiet */
}

static void
take_arguments(FunctionCallInfo fcinfo, Binding *binding)
{
	for (int i = 0; i < NTRIGGER_ARGUMENTS; i++)
	{
		int			n = BIND_FIRST_ARGUMENT + i;
		char	   *value;

		if (PG_ARGISNULL(n))
			continue;
		if (i == ARG_IGNORE)
			value = list_of_names(PG_GETARG_ARRAYTYPE_P(n));
		else if (i == ARG_WAIT_FOR_ACTIVITY || i == ARG_WAIT_FOR_KEY)
			value = DatumGetCString(DirectFunctionCall1(interval_out, PG_GETARG_DATUM(n)));
		else if (i == ARG_NON_RETRYABLE)
			value = PG_GETARG_BOOL(n) ? "true" : "false";
		else if (tc_trigger_argument_is_column(i))
			value = pstrdup(NameStr(*PG_GETARG_NAME(n)));
		else
			value = text_to_cstring(PG_GETARG_TEXT_PP(n));
		if (i == ARG_SERVER)
			binding->server = value;
		else if (i == ARG_NAMESPACE)
			binding->namespace_name = value;
		binding->args[binding->nargs++] = psprintf("%s=%s", tc_trigger_argument(i), value);
	}

	if (!PG_ARGISNULL(BIND_ON_UPDATE_OF))
		binding->columns = list_of_names(PG_GETARG_ARRAYTYPE_P(BIND_ON_UPDATE_OF));
	if (!PG_ARGISNULL(BIND_WHEN_SQL))
	{
		binding->condition = text_to_cstring(PG_GETARG_TEXT_PP(BIND_WHEN_SQL));
		check_condition(binding->condition);
	}
	binding->name = PG_ARGISNULL(BIND_TRIGGER_NAME) ?
		psprintf("temporal_%s", tc_trigger_verb(binding->verb)) :
		pstrdup(NameStr(*PG_GETARG_NAME(BIND_TRIGGER_NAME)));
}

static char *
list_of_names(ArrayType *names)
{
	StringInfoData list;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(names, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, &nulls, &n);
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("name of a column must not be null")));
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(*DatumGetName(elements[i]))));
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("list of columns must not be empty")));
	return list.data;
}

/* One expression and nothing beside it: it gets into the middle of a statement. */
static void
check_condition(const char *condition)
{
	ErrorContextCallback context = {error_context_stack, condition_error, unconstify(char *, condition)};
	List	   *statements;
	SelectStmt *select = NULL;

	error_context_stack = &context;
	statements = raw_parser(psprintf(CONDITION_BEGIN "%s" CONDITION_END, condition), RAW_PARSE_DEFAULT);
	error_context_stack = context.previous;

	if (list_length(statements) == 1)
		select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (select == NULL || !IsA(select, SelectStmt) || select->op != SETOP_NONE ||
		list_length(select->targetList) != 1 || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->sortClause != NIL || select->limitCount != NULL ||
		select->limitOffset != NULL || select->intoClause != NULL || select->lockingClause != NIL ||
		linitial_node(ResTarget, select->targetList)->name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("when_sql must be one expression"),
				 errhint("It is what CREATE TRIGGER has in WHEN (...), such as \"NEW.status = 'approved'\".")));
}

/* Where in the condition it is, not in the statement around it */
static void
condition_error(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position - (int) strlen(CONDITION_BEGIN));
		internalerrquery(arg);
	}
}

/* CREATE TRIGGER would say so as well, but after we have locked the table. */
static void
check_caller(Oid relid)
{
	AclResult	result = pg_class_aclcheck(relid, GetUserId(), ACL_TRIGGER);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

/* Triggers are inherited by partitions, but not by tables that inherit otherwise. */
static List *
tables_to_bind(Oid relid)
{
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(relid);
	return find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
}

static char *
create_statement(const Binding *binding, Relation table)
{
	StringInfoData statement;
	char		kind = table->rd_rel->relkind;

	initStringInfo(&statement);
	appendStringInfo(&statement, "CREATE TRIGGER %s ", quote_identifier(binding->name));

	/*
	 * A row that moves to another partition is deleted here and inserted
	 * there.
	 */
	if (kind == RELKIND_VIEW)
		appendStringInfoString(&statement, "INSTEAD OF UPDATE");
	else if (kind == RELKIND_PARTITIONED_TABLE)
		appendStringInfoString(&statement, "AFTER INSERT OR UPDATE");
	else
		appendStringInfoString(&statement, "AFTER UPDATE");
	if (binding->columns != NULL)
		appendStringInfo(&statement, " OF %s", binding->columns);
	appendStringInfo(&statement, " ON %s FOR EACH ROW", qualified_name(table));
	if (binding->condition != NULL)
		appendStringInfo(&statement, " WHEN (%s" CONDITION_END, binding->condition);

	appendStringInfo(&statement, " EXECUTE FUNCTION temporal.%s(", tc_trigger_function(binding->verb));
	for (int i = 0; i < binding->nargs; i++)
		appendStringInfo(&statement, "%s%s", i > 0 ? ", " : "", quote_literal_cstr(binding->args[i]));
	appendStringInfoChar(&statement, ')');
	return statement.data;
}

static char *
qualified_name(Relation table)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table)),
									  RelationGetRelationName(table));
}

static void
run(const char *statement)
{
	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "statement was not executed");
	SPI_finish();
}

/* SQL: unbind_table(relation regclass, trigger_name name) returns integer */
Datum
tc_unbind_table(PG_FUNCTION_ARGS)
{
	Oid			extension = tc_extension_oid();
	ListCell   *lc;
	int			dropped = 0;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation must not be null")));
	check_caller(PG_GETARG_OID(0));
	foreach(lc, tables_to_bind(PG_GETARG_OID(0)))
	{
		Relation	table = table_open(lfirst_oid(lc), ShareRowExclusiveLock);
		TriggerDesc *triggers = table->trigdesc;
		List	   *statements = NIL;
		ListCell   *statement;

		for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		{
			const Trigger *trigger = &triggers->triggers[i];

			if (getExtensionOfObject(ProcedureRelationId, trigger->tgfoid) == extension &&
				(PG_ARGISNULL(1) || strcmp(trigger->tgname, NameStr(*PG_GETARG_NAME(1))) == 0))
				statements = lappend(statements, psprintf("DROP TRIGGER %s ON %s",
														  quote_identifier(trigger->tgname),
														  qualified_name(table)));
		}
		table_close(table, NoLock);
		foreach(statement, statements)
		{
			run(lfirst(statement));
			dropped++;
		}
	}
	PG_RETURN_INT32(dropped);
}
