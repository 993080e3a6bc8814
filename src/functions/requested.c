/*-------------------------------------------------------------------------
 *
 * requested.c
 *	  SQL functions that show what requests say, payloads and tokens included.
 *
 * Only for who has the privileges of the role that made a request: it could
 * have read all that when it was made.  pg_monitor is not enough.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "functions/owner_query.h"
#include "request/failure_cause.h"
#include "request/payload.h"
#include "request/request_arguments.h"
#include "request/task_token.h"

/* Columns of request_arguments() */
typedef enum ArgumentsAttr
{
	ARGUMENTS_TASK_TOKEN,
	ARGUMENTS_RESULT,
	ARGUMENTS_DETAILS,
	ARGUMENTS_MESSAGE,
	ARGUMENTS_TYPE,
	ARGUMENTS_NON_RETRYABLE,
	ARGUMENTS_NEXT_RETRY_DELAY,
	ARGUMENTS_BENIGN,
	ARGUMENTS_STACK_TRACE,
	ARGUMENTS_CAUSE,
	ARGUMENTS_HEARTBEAT_DETAILS,
	ARGUMENTS_NATTS
}			ArgumentsAttr;

#define TASK_TOKEN_PARTS 6

static const char own_requests[] =
"SELECT o.id, q.server, q.namespace, t.verb, t.workflow_id, t.run_id, t.activity_id, a.*, q.requested_by"
"  FROM temporal_internal.queue_here q"
"       JOIN temporal_internal.outbox o ON o.queue = q.number"
"       CROSS JOIN LATERAL temporal_internal.request_target(o.method, o.request) t"
"       CROSS JOIN LATERAL temporal_internal.request_arguments(o.method, o.request) a"
" WHERE o.xid = pg_current_xact_id_if_assigned() AND q.made_here AND pg_has_role($1, q.role, 'USAGE')"
" ORDER BY o.id";

static const char one_request[] =
"SELECT CASE WHEN f.request IS NOT NULL THEN temporal_internal.request_json(f.method, f.request) END"
"  FROM (SELECT o.queue, o.method, o.request FROM temporal_internal.outbox o WHERE o.id = $2"
"        UNION ALL SELECT r.queue, r.method, r.request FROM temporal_internal.rejected r WHERE r.id = $2"
"        UNION ALL SELECT d.queue, d.method, NULL FROM temporal_internal.delivery d WHERE d.id = $2"
"        UNION ALL SELECT l.queue, l.method, NULL FROM temporal_internal.last_heartbeat l WHERE l.id = $2) f"
"       JOIN temporal_internal.queue_here q ON q.number = f.queue"
" WHERE pg_has_role($1, q.role, 'USAGE')";

static void put_text(ProtoSpan span, Datum *value, bool *isnull);
static void put_payload(ProtoSpan span, Datum *value, bool *isnull);
static void take_json(HeapTuple tuple, TupleDesc desc, void *arg);
static Datum make_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

PG_FUNCTION_INFO_V1(tc_requested);
PG_FUNCTION_INFO_V1(tc_request_payload);
PG_FUNCTION_INFO_V1(tc_request_arguments_sql);
PG_FUNCTION_INFO_V1(tc_task_token_parts);

/* SQL: requested() returns setof record */
Datum
tc_requested(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId())};

	tc_return_as_owner(fcinfo, own_requests, 1, types, values, NULL);
	PG_RETURN_VOID();
}

/* SQL: request_payload(id bigint) returns json */
Datum
tc_request_payload(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	Oid			types[] = {OIDOID, INT8OID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId()), Int64GetDatum(id)};
	Datum		json = (Datum) 0;

	if (tc_read_as_owner(one_request, 2, types, values, NULL, take_json, &json) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("request %lld does not exist", (long long) id),
				 errdetail("Its transaction may have been rolled back, it may be older than temporal_complete.retention, or it may belong to a role whose rights you do not have.")));
	if (json == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(json);
}

static void
take_json(HeapTuple tuple, TupleDesc desc, void *arg)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, 1, &isnull);

	if (!isnull)
		*(Datum *) arg = SPI_datumTransfer(value, false, -1);
}

/* SQL: request_arguments(method smallint, request bytea): NULLs where nothing is known */
Datum
tc_request_arguments_sql(PG_FUNCTION_ARGS)
{
	int16		method = PG_GETARG_INT16(0);
	bytea	   *request = PG_GETARG_BYTEA_PP(1);
	RequestArguments args;
	Datum		values[ARGUMENTS_NATTS] = {0};
	bool		nulls[ARGUMENTS_NATTS];
	bool		completes = method == METHOD_COMPLETE || method == METHOD_COMPLETE_BY_ID;
	int			value = completes ? ARGUMENTS_RESULT : ARGUMENTS_DETAILS;

	memset(nulls, true, sizeof(nulls));
	if (!tc_method_is_valid(method) ||
		!tc_request_arguments(method, (const uint8 *) VARDATA_ANY(request), VARSIZE_ANY_EXHDR(request), &args))
		return make_row(fcinfo, values, nulls);

	if (args.task_token.bytes != NULL)
	{
		values[ARGUMENTS_TASK_TOKEN] = PointerGetDatum(cstring_to_text_with_len((const char *) args.task_token.bytes,
																				(int) args.task_token.len));
		nulls[ARGUMENTS_TASK_TOKEN] = false;
	}
	put_payload(args.value, &values[value], &nulls[value]);
	put_payload(args.heartbeat_details, &values[ARGUMENTS_HEARTBEAT_DETAILS],
				&nulls[ARGUMENTS_HEARTBEAT_DETAILS]);
	if (method == METHOD_FAIL || method == METHOD_FAIL_BY_ID)
	{
		/* an empty message is one */
		values[ARGUMENTS_MESSAGE] = CStringGetTextDatum("");
		nulls[ARGUMENTS_MESSAGE] = false;
		put_text(args.message, &values[ARGUMENTS_MESSAGE], &nulls[ARGUMENTS_MESSAGE]);
		put_text(args.type, &values[ARGUMENTS_TYPE], &nulls[ARGUMENTS_TYPE]);
		put_text(args.stack_trace, &values[ARGUMENTS_STACK_TRACE], &nulls[ARGUMENTS_STACK_TRACE]);
		if (args.cause.bytes != NULL)
		{
			values[ARGUMENTS_CAUSE] = JsonbPGetDatum(tc_failure_cause_shown(args.cause));
			nulls[ARGUMENTS_CAUSE] = false;
		}
		values[ARGUMENTS_NON_RETRYABLE] = BoolGetDatum(args.non_retryable);
		values[ARGUMENTS_BENIGN] = BoolGetDatum(args.benign);
		nulls[ARGUMENTS_NON_RETRYABLE] = nulls[ARGUMENTS_BENIGN] = false;
		if (args.has_next_retry_delay)
		{
			Interval   *delay = palloc0(sizeof(Interval));

			delay->time = args.delay_seconds * USECS_PER_SEC + args.delay_microseconds;
			values[ARGUMENTS_NEXT_RETRY_DELAY] = IntervalPGetDatum(delay);
			nulls[ARGUMENTS_NEXT_RETRY_DELAY] = false;
		}
	}
	return make_row(fcinfo, values, nulls);
}

/*
 * SQL: task_token_parts(task_token bytea, OUT namespace_id text, OUT workflow_id text, OUT run_id text,
 *		OUT activity_id text, OUT scheduled_event_id bigint, OUT attempt integer)
 */
Datum
tc_task_token_parts(PG_FUNCTION_ARGS)
{
	bytea	   *token = PG_GETARG_BYTEA_PP(0);
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(token);
	size_t		len = VARSIZE_ANY_EXHDR(token);
	TaskToken	parts;
	Datum		values[TASK_TOKEN_PARTS] = {0};
	bool		nulls[TASK_TOKEN_PARTS];

	if (!tc_task_token_is_valid(bytes, len) || !tc_task_token_decode(bytes, len, &parts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task_token is not a task token of Temporal"),
				 errdetail("These %zu bytes do not name a namespace and an activity.", len),
				 errhint("Pass the bytes that the SDK gives to the activity. A token that is kept as text in base64 is temporal.task_token(token).")));
	memset(nulls, true, sizeof(nulls));
	put_text(parts.namespace_id, &values[0], &nulls[0]);
	put_text(parts.workflow_id, &values[1], &nulls[1]);
	put_text(parts.run_id, &values[2], &nulls[2]);
	put_text(parts.activity_id, &values[3], &nulls[3]);
	values[4] = Int64GetDatum(parts.scheduled_event_id);
	nulls[4] = parts.scheduled_event_id == 0;
	values[5] = Int32GetDatum(parts.attempt);
	nulls[5] = parts.attempt == 0;
	return make_row(fcinfo, values, nulls);
}

/* Left as it is if there is none. */
static void
put_text(ProtoSpan span, Datum *value, bool *isnull)
{
	if (span.len == 0)
		return;
	*value = CStringGetTextDatum(tc_utf8_to_server((const char *) span.bytes, span.len, SIZE_MAX));
	*isnull = false;
}

/* The same, also if the bytes are none. */
static void
put_payload(ProtoSpan span, Datum *value, bool *isnull)
{
	PayloadParts parts;

	if (span.bytes == NULL || !tc_payload_read(span.bytes, span.len, &parts))
		return;
	*value = PointerGetDatum(cstring_to_text_with_len((const char *) span.bytes, (int) span.len));
	*isnull = false;
}

static Datum
make_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
