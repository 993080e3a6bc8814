/*-------------------------------------------------------------------------
 *
 * trigger_arguments.c
 *	  What the arguments of a ready-made trigger ask for.
 *
 * Looked at when the trigger fires for the first time in a session, and when
 * bind_table() makes one.  Nothing here looks at a row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/extension.h"
#include "compat.h"
#include "functions/trigger_arguments.h"
#include "request/request.h"

#define OF(verb) (1 << (verb))
#define OF_ALL (OF(TRIGGER_COMPLETE) | OF(TRIGGER_FAIL) | \
				OF(TRIGGER_REPORT_CANCELLATION) | OF(TRIGGER_HEARTBEAT))

typedef enum ArgumentKind
{
	KIND_STRING,
	KIND_BYTEA_COLUMN,
	KIND_TEXT_COLUMN,
	KIND_KEY_COLUMN,
	KIND_PAYLOAD_COLUMN,
	KIND_JSONB_COLUMN
} ArgumentKind;

static const struct
{
	const char *name;
	ArgumentKind kind;
	int			verbs;
}			arguments[NTRIGGER_ARGUMENTS] = {
	[ARG_TOKEN_COLUMN] = {"token_column", KIND_BYTEA_COLUMN, OF_ALL},
	[ARG_KEY_COLUMN] = {"key_column", KIND_KEY_COLUMN, OF_ALL},
	[ARG_WORKFLOW_ID_COLUMN] = {"workflow_id_column", KIND_TEXT_COLUMN, OF_ALL},
	[ARG_ACTIVITY_ID_COLUMN] = {"activity_id_column", KIND_TEXT_COLUMN, OF_ALL},
	[ARG_ACTIVITY_ID] = {"activity_id", KIND_STRING, OF_ALL},
	[ARG_RUN_ID_COLUMN] = {"run_id_column", KIND_TEXT_COLUMN, OF_ALL},
	[ARG_WAIT_FOR_KEY] = {"wait_for_key", KIND_STRING, OF_ALL},
	[ARG_WAIT_FOR_ACTIVITY] = {"wait_for_activity", KIND_STRING, OF_ALL},
	[ARG_RESULT_COLUMN] = {"result_column", KIND_PAYLOAD_COLUMN, OF(TRIGGER_COMPLETE)},
	[ARG_IGNORE] = {"ignore", KIND_STRING, OF(TRIGGER_COMPLETE)},
	[ARG_MESSAGE_COLUMN] = {"message_column", KIND_TEXT_COLUMN, OF(TRIGGER_FAIL)},
	[ARG_MESSAGE] = {"message", KIND_STRING, OF(TRIGGER_FAIL)},
	[ARG_TYPE_COLUMN] = {"type_column", KIND_TEXT_COLUMN, OF(TRIGGER_FAIL)},
	[ARG_TYPE] = {"type", KIND_STRING, OF(TRIGGER_FAIL)},
	[ARG_DETAILS_COLUMN] = {"details_column", KIND_PAYLOAD_COLUMN, OF_ALL & ~OF(TRIGGER_COMPLETE)},
	[ARG_NON_RETRYABLE] = {"non_retryable", KIND_STRING, OF(TRIGGER_FAIL)},
	[ARG_CAUSE_COLUMN] = {"cause_column", KIND_JSONB_COLUMN, OF(TRIGGER_FAIL)},
	[ARG_SERVER] = {"server", KIND_STRING, OF_ALL},
	[ARG_NAMESPACE] = {"namespace", KIND_STRING, OF_ALL},
	[ARG_IF_NULL] = {"if_null", KIND_STRING, OF_ALL},
};

static const struct
{
	const char *function;
	const char *verb;
}			verbs[NTRIGGER_VERBS] = {
	[TRIGGER_COMPLETE] = {"complete_activity_trigger", "complete"},
	[TRIGGER_FAIL] = {"fail_activity_trigger", "fail"},
	[TRIGGER_REPORT_CANCELLATION] = {"report_cancellation_trigger", "report_cancellation"},
	[TRIGGER_HEARTBEAT] = {"heartbeat_activity_trigger", "heartbeat"},
};

static void take_argument(TriggerPlan *plan, const char *arg);
static void check_combination(const TriggerPlan *plan);
pg_noreturn static void wrong_combination(const TriggerPlan *plan, const char *message);
static void look_up_columns(TriggerPlan *plan, TupleDesc columns, const char *table);
static Interval *interval_of(const TriggerPlan *plan, TriggerArgument argument);
static void check_type(const TriggerPlan *plan, TriggerArgument argument, const char *table);
static void plan_row(TriggerPlan *plan, TupleDesc columns, const char *table);
static AttrNumber find_column(TupleDesc columns, const char *name, const char *table);
static char *valid_arguments(TriggerVerb verb);

const char *
tc_trigger_function(TriggerVerb verb)
{
	return verbs[verb].function;
}

const char *
tc_trigger_verb(TriggerVerb verb)
{
	return verbs[verb].verb;
}

const char *
tc_trigger_argument(TriggerArgument argument)
{
	return arguments[argument].name;
}

bool
tc_trigger_argument_is_column(TriggerArgument argument)
{
	return arguments[argument].kind != KIND_STRING;
}

TriggerPlan *
tc_trigger_plan(TriggerVerb verb, int nargs, char *const *args,
				TupleDesc columns, const char *table)
{
	TriggerPlan *plan = palloc0(sizeof(TriggerPlan));

	plan->verb = verb;
	for (int i = 0; i < nargs; i++)
		take_argument(plan, args[i]);
	check_combination(plan);
	look_up_columns(plan, columns, table);
	if (verb == TRIGGER_COMPLETE && plan->value[ARG_RESULT_COLUMN] == NULL)
		plan_row(plan, columns, table);
	return plan;
}

static void
take_argument(TriggerPlan *plan, const char *arg)
{
	const char *equals = strchr(arg, '=');
	size_t		len = equals != NULL ? equals - arg : 0;

	for (int i = 0; i < NTRIGGER_ARGUMENTS; i++)
	{
		if (strlen(arguments[i].name) != len || strncmp(arguments[i].name, arg, len) != 0 ||
			(arguments[i].verbs & OF(plan->verb)) == 0)
			continue;
		if (plan->value[i] != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"%s\" of %s() is given more than once",
							arguments[i].name, tc_trigger_function(plan->verb))));
		plan->value[i] = pstrdup(equals + 1);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid argument \"%s\" of %s()", arg, tc_trigger_function(plan->verb)),
			 errdetail("Arguments have the form name=value."),
			 errhint("Valid arguments are: %s", valid_arguments(plan->verb))));
}

static void
check_combination(const TriggerPlan *plan)
{
	char	   *const *value = plan->value;
	bool		by_id = value[ARG_WORKFLOW_ID_COLUMN] != NULL;

	if ((value[ARG_TOKEN_COLUMN] != NULL) + (value[ARG_KEY_COLUMN] != NULL) + by_id != 1)
		wrong_combination(plan, "one of \"token_column\", \"key_column\" and \"workflow_id_column\" has to be given");
	if (value[ARG_KEY_COLUMN] == NULL && value[ARG_WAIT_FOR_KEY] != NULL)
		wrong_combination(plan, "\"wait_for_key\" goes with \"key_column\" only");
	if (by_id && (value[ARG_ACTIVITY_ID_COLUMN] != NULL) == (value[ARG_ACTIVITY_ID] != NULL))
		wrong_combination(plan, "with \"workflow_id_column\" either \"activity_id_column\" or \"activity_id\" has to be given");
	if (!by_id && (value[ARG_ACTIVITY_ID_COLUMN] != NULL || value[ARG_ACTIVITY_ID] != NULL ||
				   value[ARG_RUN_ID_COLUMN] != NULL || value[ARG_WAIT_FOR_ACTIVITY] != NULL))
		wrong_combination(plan, "\"activity_id_column\", \"activity_id\", \"run_id_column\" and \"wait_for_activity\" go with \"workflow_id_column\" only");
	if (plan->verb == TRIGGER_FAIL &&
		(value[ARG_MESSAGE_COLUMN] != NULL) == (value[ARG_MESSAGE] != NULL))
		wrong_combination(plan, "either \"message_column\" or \"message\" has to be given");
	if (value[ARG_TYPE_COLUMN] != NULL && value[ARG_TYPE] != NULL)
		wrong_combination(plan, "\"type_column\" and \"type\" cannot both be given");
	if (value[ARG_RESULT_COLUMN] != NULL && value[ARG_IGNORE] != NULL)
		wrong_combination(plan, "\"result_column\" and \"ignore\" cannot both be given");
}

static void
wrong_combination(const TriggerPlan *plan, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("arguments of %s() do not fit together", tc_trigger_function(plan->verb)),
			 errdetail_internal("%c%s.", pg_toupper((unsigned char) message[0]), message + 1),
			 errhint("Valid arguments are: %s", valid_arguments(plan->verb))));
}

static void
look_up_columns(TriggerPlan *plan, TupleDesc columns, const char *table)
{
	const char *non_retryable = plan->value[ARG_NON_RETRYABLE];
	const char *if_null = plan->value[ARG_IF_NULL];

	for (int i = 0; i < NTRIGGER_ARGUMENTS; i++)
	{
		if (plan->value[i] == NULL || arguments[i].kind == KIND_STRING)
			continue;
		plan->column[i] = find_column(columns, plan->value[i], table);
		plan->column_type[i] = getBaseType(TupleDescAttr(columns, plan->column[i] - 1)->atttypid);
		if (TupleDescAttr(columns, plan->column[i] - 1)->attgenerated == TC_GENERATED_VIRTUAL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of \"%s\" is a virtual generated column", plan->value[i], table),
					 errdetail("Triggers do not see the values of such columns."),
					 errhint("Make it a stored one.")));
		check_type(plan, i, table);
	}

	if (non_retryable != NULL && !parse_bool(non_retryable, &plan->non_retryable))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"non_retryable\" of %s() must be a Boolean value",
						tc_trigger_function(plan->verb))));
	plan->wait_for_key = interval_of(plan, ARG_WAIT_FOR_KEY);
	tc_request_check_key_wait(plan->wait_for_key);
	plan->wait_for_activity = interval_of(plan, ARG_WAIT_FOR_ACTIVITY);
	tc_request_check_wait(plan->wait_for_activity);
	plan->skip_null = if_null != NULL && strcmp(if_null, "skip") == 0;
	if (if_null != NULL && !plan->skip_null && strcmp(if_null, "error") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"if_null\" of %s() must be \"error\" or \"skip\"",
						tc_trigger_function(plan->verb))));
}

static Interval *
interval_of(const TriggerPlan *plan, TriggerArgument argument)
{
	if (plan->value[argument] == NULL)
		return NULL;
	return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(plan->value[argument]),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
check_type(const TriggerPlan *plan, TriggerArgument argument, const char *table)
{
	Oid			type = plan->column_type[argument];
	const char *wanted = NULL;
	const char *hint = NULL;

	switch (arguments[argument].kind)
	{
		case KIND_STRING:
			break;
		case KIND_BYTEA_COLUMN:
			if (type != BYTEAOID)
			{
				wanted = "bytea";
				hint = "A token that is kept as text in base64 is temporal.task_token(token); a generated column can hold it as bytea.";
			}
			break;
		case KIND_TEXT_COLUMN:
			if (type != TEXTOID && type != VARCHAROID)
			{
				wanted = "text or character varying";
				hint = "A generated column can hold it as text.";
			}
			break;
		case KIND_KEY_COLUMN:
			/* each of them is written in one way only */
			if (type != TEXTOID && type != VARCHAROID && type != INT2OID && type != INT4OID &&
				type != INT8OID && type != UUIDOID)
			{
				wanted = "text, character varying, smallint, integer, bigint or uuid";
				hint = "A generated column can hold it as text.";
			}
			break;
		case KIND_PAYLOAD_COLUMN:
			if (type != JSONBOID && type != JSONOID && type != BYTEAOID &&
				type != tc_type_oid("payload"))
			{
				wanted = "temporal.payload, jsonb, json or bytea";
				hint = "A generated column can hold it as jsonb, by to_jsonb().";
			}
			break;
		case KIND_JSONB_COLUMN:
			if (type != JSONBOID)
			{
				wanted = "jsonb";
				hint = "A generated column can hold it as jsonb.";
			}
			break;
	}
	if (wanted != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of \"%s\" has the type %s",
						plan->value[argument], table, format_type_be(type)),
				 errdetail("Argument \"%s\" of %s() needs a column of type %s.",
						   arguments[argument].name, tc_trigger_function(plan->verb), wanted),
				 errhint("%s", hint)));
}

/* The columns of a row that is a result: those that are stored. */
static void
plan_row(TriggerPlan *plan, TupleDesc columns, const char *table)
{
	bool	   *ignored = palloc0(columns->natts * sizeof(bool));
	List	   *names = NIL;
	ListCell   *lc;
	int			n = 0;

	if (plan->value[ARG_TOKEN_COLUMN] != NULL)
		ignored[plan->column[ARG_TOKEN_COLUMN] - 1] = true;
	if (plan->value[ARG_IGNORE] != NULL &&
		!SplitIdentifierString(pstrdup(plan->value[ARG_IGNORE]), ',', &names))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"ignore\" of %s() is not a list of columns",
						tc_trigger_function(plan->verb))));
	foreach(lc, names)
		ignored[find_column(columns, lfirst(lc), table) - 1] = true;

	plan->row_columns = palloc(columns->natts * sizeof(AttrNumber));
	for (int i = 0; i < columns->natts; i++)
		if (!ignored[i] && !TupleDescAttr(columns, i)->attisdropped &&
			TupleDescAttr(columns, i)->attgenerated != TC_GENERATED_VIRTUAL)
			plan->row_columns[n++] = i + 1;

	plan->row = CreateTemplateTupleDesc(n);
	for (int i = 0; i < n; i++)
		TupleDescCopyEntry(plan->row, i + 1, columns, plan->row_columns[i]);
	plan->row = BlessTupleDesc(plan->row);
}

static AttrNumber
find_column(TupleDesc columns, const char *name, const char *table)
{
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);

		if (!column->attisdropped && namestrcmp(&column->attname, name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of \"%s\" does not exist", name, table)));
	return InvalidAttrNumber;	/* keep compiler quiet */
}

static char *
valid_arguments(TriggerVerb verb)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < NTRIGGER_ARGUMENTS; i++)
		if (arguments[i].verbs & OF(verb))
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", arguments[i].name);
	return list.data;
}
