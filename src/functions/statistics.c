/*-------------------------------------------------------------------------
 *
 * statistics.c
 *	  SQL functions behind the views of statistics.
 *
 * From shared memory and catalogs alone: our tables are not read.  Who looks
 * is shown what concerns requests of roles whose rights it has; pg_read_all_stats
 * all of it.  What Temporal said of a request is for those who may see the
 * request, as in temporal.request.  That is decided here, not in the views,
 * because these run functions with the rights of who looks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "process/statistics.h"
#include "process/worker_slots.h"
#include "server/server.h"

/* Columns of stat_entries() and of stat_workers() */
#define ENTRY_NATTS 26
#define WORKER_NATTS 7

#define CLASSES (TC_STAT_BOUNDS + 1)

/* A row that is being put together */
typedef struct Row
{
	Tuplestorestate *store;
	TupleDesc	desc;
	int			count;
	Datum		values[ENTRY_NATTS];
	bool		nulls[ENTRY_NATTS];
} Row;

static void begin_rows(FunctionCallInfo fcinfo, Row *row);
static void end_row(Row *row);
static void add(Row *row, Datum value);
static void add_null(Row *row);
static void add_text(Row *row, const char *text);
static void add_time(Row *row, TimestampTz time);
static void add_message(Row *row, const char *message, bool visible);
static void add_entry(Row *row, const StatView *view, bool sees_messages);
static void add_classes(Row *row, const StatCounters *counters);

PG_FUNCTION_INFO_V1(tc_stat_entries_sql);
PG_FUNCTION_INFO_V1(tc_stat_workers);
PG_FUNCTION_INFO_V1(tc_stat_reset_sql);

/* SQL: stat_entries() returns setof record: one for a role, server and namespace that the caller may see */
Datum
tc_stat_entries_sql(PG_FUNCTION_ARGS)
{
	bool		reads_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	bool		monitors = has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
	Row			row;

	begin_rows(fcinfo, &row);
	for (int i = 0; i < tc_stat_entries(); i++)
	{
		StatView	view;
		bool		is_own;

		CHECK_FOR_INTERRUPTS();
		if (!tc_stat_view(i, &view))
			continue;
		is_own = OidIsValid(view.key.role) && has_privs_of_role(GetUserId(), view.key.role);
		if (is_own || reads_all)
			add_entry(&row, &view, is_own || monitors);
	}
	return (Datum) 0;
}

static void
add_entry(Row *row, const StatView *view, bool sees_messages)
{
	const StatCounters *counters = &view->counters;
	const StatTimes *times = &view->times;
	const StatGauges *gauges = &view->gauges;
	const int64 counts[] = {
		counters->delivered, counters->rejected, counters->unconfirmed, counters->expired,
		counters->heartbeats, counters->calls, counters->retries, counters->ambiguous, counters->bytes
	};
	ForeignServer *server = NULL;

	if (OidIsValid(view->key.server))
	{
		server = GetForeignServerExtended(view->key.server, FSV_MISSING_OK);
		/* it was dropped: so are its statistics, in time */
		if (server == NULL)
			return;
	}
	add_text(row, server != NULL ? server->servername : "");
	add_text(row, server != NULL ? view->namespace_name : "");
	for (int i = 0; i < lengthof(counts); i++)
		add(row, Int64GetDatum(counts[i]));
	add(row, Float8GetDatum(counters->delivery_us / 1000.0));
	add(row, Int64GetDatum(gauges->backlog));
	add(row, Int64GetDatum(gauges->in_flight));
	add_time(row, gauges->oldest_request_at);
	add(row, BoolGetDatum(gauges->connected));
	add_time(row, times->call);
	add_time(row, times->delivered);
	add_time(row, times->error);
	add_text(row, times->error_code);
	add_message(row, times->error_message, sees_messages);
	add_text(row, gauges->error_code);
	add_message(row, gauges->error_message, sees_messages);
	add_time(row, gauges->error_since);
	add_time(row, view->reset_at);
	add_classes(row, counters);
	end_row(row);
}

/* Of each class of latencies and those below it, how many: in the order of stat_bounds(). */
static void
add_classes(Row *row, const StatCounters *counters)
{
	Datum		counts[CLASSES];
	int64		count = 0;

	for (int i = 0; i < CLASSES; i++)
	{
		count += counters->latencies[i];
		counts[i] = Int64GetDatum(count);
	}
	add(row, PointerGetDatum(construct_array(counts, CLASSES, INT8OID, sizeof(int64),
											 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

PG_FUNCTION_INFO_V1(tc_stat_bounds_sql);

/* SQL: stat_bounds() returns double precision[]: upper bounds of the classes of latencies, in seconds */
Datum
tc_stat_bounds_sql(PG_FUNCTION_ARGS)
{
	Datum		bounds[CLASSES];

	for (int i = 0; i < TC_STAT_BOUNDS; i++)
		bounds[i] = Float8GetDatum(tc_stat_bounds[i] / 1000000.0);
	bounds[TC_STAT_BOUNDS] = Float8GetDatum(get_float8_infinity());
	PG_RETURN_ARRAYTYPE_P(construct_array(bounds, CLASSES, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * SQL: stat_workers() returns setof record: the workers of the cluster
 *
 * That there are some pg_stat_activity tells everybody; how much they have to
 * do is for pg_read_all_stats.
 */
Datum
tc_stat_workers(PG_FUNCTION_ARGS)
{
	bool		reads_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	Row			row;

	begin_rows(fcinfo, &row);
	for (int i = 0; tc_preloaded() && i < tc_slot_count(); i++)
	{
		SlotView	slot;
		StatWorker	worker;

		tc_slot_view(i, &slot);
		if (slot.state != SLOT_STARTING && slot.state != SLOT_RUNNING)
			continue;
		tc_stat_worker(i, &worker);
		add(&row, ObjectIdGetDatum(slot.database));
		if (slot.pid != 0)
			add(&row, Int32GetDatum(slot.pid));
		else
			add_null(&row);
		add_text(&row, slot.leave != LEAVE_NOT ? "leaving" : slot.working ? "working" : "starting");
		if (reads_all && slot.working)
		{
			add_time(&row, worker.started_at);
			add(&row, Int64GetDatum(worker.queues));
			add(&row, Int64GetDatum(worker.requests));
			add(&row, Int64GetDatum(slot.in_flight));
		}
		else
			while (row.count < WORKER_NATTS)
				add_null(&row);
		end_row(&row);
	}
	return (Datum) 0;
}

/* SQL: stat_reset(server text) returns void; NULL: all servers of this database */
Datum
tc_stat_reset_sql(PG_FUNCTION_ARGS)
{
	Oid			server = InvalidOid;

	if (!PG_ARGISNULL(0))
	{
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

		server = tc_server_of_name(name);
		if (!OidIsValid(server))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("server \"%s\" of foreign-data wrapper \"temporal_complete\" does not exist", name)));
	}
	tc_stat_reset(server);
	PG_RETURN_VOID();
}

/*---- rows ----*/

static void
begin_rows(FunctionCallInfo fcinfo, Row *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	memset(row, 0, sizeof(*row));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &row->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	row->store = tuplestore_begin_heap(false, false, work_mem);
	result->returnMode = SFRM_Materialize;
	result->setResult = row->store;
	result->setDesc = row->desc;
	MemoryContextSwitchTo(old);
}

static void
end_row(Row *row)
{
	Assert(row->count == row->desc->natts);
	tuplestore_putvalues(row->store, row->desc, row->values, row->nulls);
	row->count = 0;
}

static void
add(Row *row, Datum value)
{
	row->nulls[row->count] = false;
	row->values[row->count++] = value;
}

static void
add_null(Row *row)
{
	row->values[row->count] = (Datum) 0;
	row->nulls[row->count++] = true;
}

static void
add_text(Row *row, const char *text)
{
	if (text[0] != '\0')
		add(row, CStringGetTextDatum(text));
	else
		add_null(row);
}

static void
add_time(Row *row, TimestampTz time)
{
	if (time != 0)
		add(row, TimestampTzGetDatum(time));
	else
		add_null(row);
}

static void
add_message(Row *row, const char *message, bool visible)
{
	if (visible && message[0] != '\0')
		add_text(row, tc_words_to_server(message));
	else
		add_null(row);
}
