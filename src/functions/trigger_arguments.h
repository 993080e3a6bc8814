/*-------------------------------------------------------------------------
 *
 * trigger_arguments.h
 *	  What the arguments of a ready-made trigger ask for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TRIGGER_ARGUMENTS_H
#define TC_TRIGGER_ARGUMENTS_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"

typedef enum TriggerVerb
{
	TRIGGER_COMPLETE,
	TRIGGER_FAIL,
	TRIGGER_REPORT_CANCELLATION,
	TRIGGER_HEARTBEAT
} TriggerVerb;

#define NTRIGGER_VERBS (TRIGGER_HEARTBEAT + 1)

/* In the order of the arguments of bind_table() */
typedef enum TriggerArgument
{
	ARG_TOKEN_COLUMN,
	ARG_KEY_COLUMN,
	ARG_WORKFLOW_ID_COLUMN,
	ARG_ACTIVITY_ID_COLUMN,
	ARG_ACTIVITY_ID,
	ARG_RUN_ID_COLUMN,
	ARG_WAIT_FOR_KEY,
	ARG_WAIT_FOR_ACTIVITY,
	ARG_RESULT_COLUMN,
	ARG_IGNORE,
	ARG_MESSAGE_COLUMN,
	ARG_MESSAGE,
	ARG_TYPE_COLUMN,
	ARG_TYPE,
	ARG_DETAILS_COLUMN,
	ARG_NON_RETRYABLE,
	ARG_CAUSE_COLUMN,
	ARG_SERVER,
	ARG_NAMESPACE,
	ARG_IF_NULL
} TriggerArgument;

#define NTRIGGER_ARGUMENTS (ARG_IF_NULL + 1)

/* The arguments of a trigger, looked up in its table */
typedef struct TriggerPlan
{
	TriggerVerb verb;
	char	   *value[NTRIGGER_ARGUMENTS];	/* as given; NULL = is not */
	AttrNumber	column[NTRIGGER_ARGUMENTS]; /* of those that name one */
	Oid			column_type[NTRIGGER_ARGUMENTS];	/* its base type */
	bool		non_retryable;
	bool		skip_null;
	Interval   *wait_for_key;
	Interval   *wait_for_activity;

	/* the row as result: its columns but for those that are not to be seen */
	TupleDesc	row;			/* NULL if a column is the result */
	AttrNumber *row_columns;
} TriggerPlan;

/* Name of the trigger function, without parentheses; name of the verb */
extern const char *tc_trigger_function(TriggerVerb verb);
extern const char *tc_trigger_verb(TriggerVerb verb);

/* Name of an argument; is its value the name of a column? */
extern const char *tc_trigger_argument(TriggerArgument argument);
extern bool tc_trigger_argument_is_column(TriggerArgument argument);

/*
 * Look at arguments ("name=value") for a table.  Raises an error for one that
 * is not known, given twice or not valid for that verb, for columns that are
 * missing or of a wrong type, and if no activity is named.  What is returned
 * is in CurrentMemoryContext, and true as long as the columns are the same.
 */
extern TriggerPlan *tc_trigger_plan(TriggerVerb verb, int nargs, char *const *args,
									TupleDesc columns, const char *table);

#endif							/* TC_TRIGGER_ARGUMENTS_H */
