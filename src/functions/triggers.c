/*-------------------------------------------------------------------------
 *
 * triggers.c
 *	  Ready-made triggers: a row that changes finishes its activity.
 *
 * What a trigger's arguments ask for is looked up once a session, and again
 * after the table has changed.  The request is recorded with the rights of who
 * changes the row, as by a verb; no SQL is run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "functions/payload_type.h"
#include "functions/record_request.h"
#include "functions/trigger_arguments.h"
#include "request/payload_json.h"

PG_FUNCTION_INFO_V1(tc_complete_activity_trigger);
PG_FUNCTION_INFO_V1(tc_fail_activity_trigger);
PG_FUNCTION_INFO_V1(tc_report_cancellation_trigger);
PG_FUNCTION_INFO_V1(tc_heartbeat_activity_trigger);

/* A trigger that has fired in this session */
typedef struct KnownTrigger
{
	Oid			trigger;		/* hash key */
	Oid			table;
	bool		valid;			/* is that still what it says? */
	MemoryContext context;		/* of what follows; NULL if there is nothing */
	TriggerPlan *plan;
	char	   *name;			/* for messages */
} KnownTrigger;

static HTAB *known_triggers = NULL;

static Datum fire(FunctionCallInfo fcinfo, TriggerVerb verb);
static void check_event(FunctionCallInfo fcinfo, TriggerVerb verb);
static KnownTrigger known_trigger(const TriggerData *data, TriggerVerb verb);
static void forget_triggers(void);
static void table_changed(Datum arg, Oid relid);
static bool names_activity(const TriggerPlan *plan, const RequestArgs *args);
static void take_row(const TriggerPlan *plan, HeapTuple row, TupleDesc columns, RequestArgs *args);
static Datum column_of(const TriggerPlan *plan, TriggerArgument argument, HeapTuple row,
					   TupleDesc columns, bool *isnull);
static text *text_of(const TriggerPlan *plan, TriggerArgument column, HeapTuple row,
					 TupleDesc columns);
static text *key_of(const TriggerPlan *plan, HeapTuple row, TupleDesc columns);
static text *text_or_constant(const TriggerPlan *plan, TriggerArgument column,
							  TriggerArgument constant, HeapTuple row, TupleDesc columns);
static Payload *payload_of(const TriggerPlan *plan, TriggerArgument argument, HeapTuple row,
						   TupleDesc columns);
static Jsonb *cause_of(const TriggerPlan *plan, HeapTuple row, TupleDesc columns);
static Payload *row_as_payload(const TriggerPlan *plan, HeapTuple row, TupleDesc columns);
static RequestMethod method_of(const TriggerPlan *plan);

Datum
tc_complete_activity_trigger(PG_FUNCTION_ARGS)
{
	return fire(fcinfo, TRIGGER_COMPLETE);
}

Datum
tc_fail_activity_trigger(PG_FUNCTION_ARGS)
{
	return fire(fcinfo, TRIGGER_FAIL);
}

Datum
tc_report_cancellation_trigger(PG_FUNCTION_ARGS)
{
	return fire(fcinfo, TRIGGER_REPORT_CANCELLATION);
}

Datum
tc_heartbeat_activity_trigger(PG_FUNCTION_ARGS)
{
	return fire(fcinfo, TRIGGER_HEARTBEAT);
}

static Datum
fire(FunctionCallInfo fcinfo, TriggerVerb verb)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	KnownTrigger known;
	RequestArgs args = {0};
	text	   *key;
	HeapTuple	row;

	check_event(fcinfo, verb);
	row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	known = known_trigger(data, verb);
	key = key_of(known.plan, row, RelationGetDescr(data->tg_relation));
	take_row(known.plan, row, RelationGetDescr(data->tg_relation), &args);

	if (!known.plan->skip_null || key != NULL || names_activity(known.plan, &args))
	{
		RequestCaller caller = {.name = known.name};
		char	   *server = known.plan->value[ARG_SERVER];
		char	   *namespace_name = known.plan->value[ARG_NAMESPACE];

		if (known.plan->value[ARG_KEY_COLUMN] != NULL)
			(void) tc_record_request_by_key(&caller, method_of(known.plan), &args, key, server,
											namespace_name);
		else
			(void) tc_record_request(&caller, method_of(known.plan), &args, server, namespace_name);
	}

	/*
	 * what an INSTEAD OF trigger returns is counted; of an AFTER trigger it
	 * is ignored
	 */
	PG_RETURN_POINTER(row);
}

static void
check_event(FunctionCallInfo fcinfo, TriggerVerb verb)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						tc_trigger_function(verb))));
	if (!TRIGGER_FIRED_FOR_ROW(data->tg_event) || TRIGGER_FIRED_BEFORE(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER ROW", tc_trigger_function(verb)),
				 errhint("Create the trigger with AFTER ... FOR EACH ROW, or on a view with INSTEAD OF.")));
}

/*
 * What is known of the trigger that fires.  A copy, whose plan lives at least
 * as long as the transaction: the table may change, and the trigger fire
 * again, while it is used.
 */
static KnownTrigger
known_trigger(const TriggerData *data, TriggerVerb verb)
{
	const Trigger *trigger = data->tg_trigger;
	Relation	table = data->tg_relation;
	KnownTrigger *known;
	MemoryContext context;
	MemoryContext old;

	if (known_triggers == NULL)
	{
		HASHCTL		ctl = {
			.keysize = sizeof(Oid),
			.entrysize = sizeof(KnownTrigger)
		};

		known_triggers = hash_create("temporal_complete triggers", 16, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
	}

	known = hash_search(known_triggers, &trigger->tgoid, HASH_FIND, NULL);
	if (known != NULL && known->valid && known->plan->verb == verb)
		return *known;

	if (known != NULL)
		known->valid = false;
	forget_triggers();
	known = hash_search(known_triggers, &trigger->tgoid, HASH_ENTER, NULL);
	known->valid = false;
	known->context = NULL;

	/* an error leaves nothing that counts, and the context to the transaction */
	context = AllocSetContextCreate(CurTransactionContext, "temporal_complete trigger",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	known->plan = tc_trigger_plan(verb, trigger->tgnargs, trigger->tgargs, RelationGetDescr(table),
								  RelationGetRelationName(table));
	known->name = psprintf("trigger \"%s\" of \"%s\"", trigger->tgname,
						   RelationGetRelationName(table));
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(context, CacheMemoryContext);
	known->context = context;
	known->table = RelationGetRelid(table);
	known->valid = true;
	return *known;
}

/*
 * Forget those whose tables have changed, or are gone: if they fire once more,
 * they are looked at anew.  What the transaction may still use goes with it.
 */
static void
forget_triggers(void)
{
	HASH_SEQ_STATUS status;
	KnownTrigger *known;

	hash_seq_init(&status, known_triggers);
	while ((known = hash_seq_search(&status)) != NULL)
	{
		if (known->valid)
			continue;
		if (known->context != NULL)
			MemoryContextSetParent(known->context, TopTransactionContext);
		(void) hash_search(known_triggers, &known->trigger, HASH_REMOVE, NULL);
	}
}

static void
table_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	KnownTrigger *known;

	hash_seq_init(&status, known_triggers);
	while ((known = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || known->table == relid)
			known->valid = false;
}

/*---------------------------------------------------------------------------
 * From a row to a request
 *---------------------------------------------------------------------------
 */

static RequestMethod
method_of(const TriggerPlan *plan)
{
	static const RequestMethod methods[NTRIGGER_VERBS][2] = {
		[TRIGGER_COMPLETE] = {METHOD_COMPLETE, METHOD_COMPLETE_BY_ID},
		[TRIGGER_FAIL] = {METHOD_FAIL, METHOD_FAIL_BY_ID},
		[TRIGGER_REPORT_CANCELLATION] = {METHOD_REPORT_CANCELLATION, METHOD_REPORT_CANCELLATION_BY_ID},
		[TRIGGER_HEARTBEAT] = {METHOD_HEARTBEAT, METHOD_HEARTBEAT_BY_ID},
	};

	return methods[plan->verb][plan->value[ARG_WORKFLOW_ID_COLUMN] != NULL];
}

static bool
names_activity(const TriggerPlan *plan, const RequestArgs *args)
{
	if (plan->value[ARG_TOKEN_COLUMN] != NULL)
		return args->task_token != NULL;
	return args->workflow_id != NULL && args->activity_id != NULL;
}

static void
take_row(const TriggerPlan *plan, HeapTuple row, TupleDesc columns, RequestArgs *args)
{
	if (plan->value[ARG_TOKEN_COLUMN] != NULL)
	{
		bool		isnull;
		Datum		token = column_of(plan, ARG_TOKEN_COLUMN, row, columns, &isnull);

		args->task_token = isnull ? NULL : DatumGetByteaPP(token);
	}
	else if (plan->value[ARG_KEY_COLUMN] != NULL)
		args->wait_for_key = plan->wait_for_key;
	else
	{
		args->workflow_id = text_of(plan, ARG_WORKFLOW_ID_COLUMN, row, columns);
		args->activity_id = text_or_constant(plan, ARG_ACTIVITY_ID_COLUMN, ARG_ACTIVITY_ID, row, columns);
		args->run_id = text_of(plan, ARG_RUN_ID_COLUMN, row, columns);
		args->wait_for_activity = plan->wait_for_activity;
	}
	if (plan->skip_null && plan->value[ARG_KEY_COLUMN] == NULL && !names_activity(plan, args))
		return;

	if (plan->verb == TRIGGER_FAIL)
	{
		args->message = text_or_constant(plan, ARG_MESSAGE_COLUMN, ARG_MESSAGE, row, columns);
		args->type = text_or_constant(plan, ARG_TYPE_COLUMN, ARG_TYPE, row, columns);
		args->non_retryable = plan->non_retryable;
		args->cause = cause_of(plan, row, columns);
	}
	if (plan->row != NULL)
		args->value = row_as_payload(plan, row, columns);
	else
		args->value = payload_of(plan, plan->verb == TRIGGER_COMPLETE ? ARG_RESULT_COLUMN : ARG_DETAILS_COLUMN,
								 row, columns);
}

/* Null also if no column was given */
static Datum
column_of(const TriggerPlan *plan, TriggerArgument argument, HeapTuple row, TupleDesc columns,
		  bool *isnull)
{
	*isnull = true;
	if (plan->column[argument] == InvalidAttrNumber)
		return (Datum) 0;
	return heap_getattr(row, plan->column[argument], columns, isnull);
}

static text *
text_of(const TriggerPlan *plan, TriggerArgument column, HeapTuple row, TupleDesc columns)
{
	bool		isnull;
	Datum		value = column_of(plan, column, row, columns, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* NULL also if it is not by key */
static text *
key_of(const TriggerPlan *plan, HeapTuple row, TupleDesc columns)
{
	Oid			type = plan->column_type[ARG_KEY_COLUMN];
	bool		isnull;
	Datum		value = column_of(plan, ARG_KEY_COLUMN, row, columns, &isnull);
	Oid			output;
	bool		is_varlena;

	if (isnull)
		return NULL;
	if (type == TEXTOID || type == VARCHAROID)
		return DatumGetTextPP(value);
	getTypeOutputInfo(type, &output, &is_varlena);
	return cstring_to_text(OidOutputFunctionCall(output, value));
}

/* The same for all rows if that was given, else of a column: they are not given both. */
static text *
text_or_constant(const TriggerPlan *plan, TriggerArgument column, TriggerArgument constant,
				 HeapTuple row, TupleDesc columns)
{
	if (plan->value[constant] != NULL)
		return cstring_to_text(plan->value[constant]);
	return text_of(plan, column, row, columns);
}

static Payload *
payload_of(const TriggerPlan *plan, TriggerArgument argument, HeapTuple row, TupleDesc columns)
{
	bool		isnull;
	Datum		value = column_of(plan, argument, row, columns, &isnull);

	if (isnull)
		return NULL;
	switch (plan->column_type[argument])
	{
		case JSONBOID:
			value = DirectFunctionCall1(tc_payload_from_jsonb, value);
			break;
		case JSONOID:
			value = DirectFunctionCall1(tc_payload_from_json, value);
			break;
		case BYTEAOID:
			value = DirectFunctionCall1(tc_payload_from_bytea, value);
			break;
		default:				/* temporal.payload */
			break;
	}
	return DatumGetPayloadPP(value);
}

static Jsonb *
cause_of(const TriggerPlan *plan, HeapTuple row, TupleDesc columns)
{
	bool		isnull;
	Datum		value = column_of(plan, ARG_CAUSE_COLUMN, row, columns, &isnull);

	return isnull ? NULL : DatumGetJsonbP(value);
}

static Payload *
row_as_payload(const TriggerPlan *plan, HeapTuple row, TupleDesc columns)
{
	Datum	   *all = palloc(columns->natts * sizeof(Datum));
	bool	   *all_nulls = palloc(columns->natts * sizeof(bool));
	int			n = plan->row->natts;
	Datum	   *values = palloc(n * sizeof(Datum));
	bool	   *nulls = palloc(n * sizeof(bool));
	Datum		record;

	heap_deform_tuple(row, columns, all, all_nulls);
	for (int i = 0; i < n; i++)
	{
		values[i] = all[plan->row_columns[i] - 1];
		nulls[i] = all_nulls[plan->row_columns[i] - 1];
	}
	record = HeapTupleGetDatum(heap_form_tuple(plan->row, values, nulls));
	return tc_payload_of_json(TextDatumGetCString(DirectFunctionCall1(row_to_json, record)));
}
