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
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "functions/rows.h"
#include "process/statistics.h"
#include "process/worker_slots.h"
#include "server/server.h"

/* Columns of stat_workers() */
#define WORKER_NATTS 7

#define CLASSES (TC_STAT_BOUNDS + 1)

static void add_message(Row *row, const char *message, bool visible);
static void add_entry(Row *row, const StatView *view, bool sees_messages);
static void add_classes(Row *row, const StatCounters *counters);
static void add_waiting(Row *row, const StatGauges *gauges);
static void add_array(Row *row, const Datum *values, int count, Oid type);

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

	tc_rows_begin(fcinfo, &row);
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
		counters->delivered, counters->rejected, counters->unconfirmed, counters->expired, counters->discarded,
		counters->heartbeats, counters->superseded, counters->heartbeats_not_kept, counters->background_heartbeats, counters->calls, counters->retries, counters->ambiguous, counters->bytes
	};
	ForeignServer *server = NULL;

	if (OidIsValid(view->key.server))
	{
		server = GetForeignServerExtended(view->key.server, FSV_MISSING_OK);
		/* it was dropped: so are its statistics, in time */
		if (server == NULL)
			return;
	}
	tc_row_add_text(row, server != NULL ? server->servername : "");
	tc_row_add_text(row, server != NULL ? view->namespace_name : "");
	for (int i = 0; i < lengthof(counts); i++)
		tc_row_add(row, Int64GetDatum(counts[i]));
	tc_row_add(row, Float8GetDatum(counters->delivery_us / 1000.0));
	tc_row_add(row, Int64GetDatum(gauges->backlog));
	tc_row_add(row, Int64GetDatum(gauges->in_flight));
	if (gauges->max_requests_per_second != 0)
		tc_row_add(row, Int64GetDatum(gauges->max_requests_per_second));
	else
		tc_row_add_null(row);
	tc_row_add(row, BoolGetDatum(gauges->rate_limited));
	tc_row_add_time(row, gauges->oldest_request_at);
	tc_row_add(row, BoolGetDatum(gauges->connected));
	tc_row_add_time(row, times->call);
	tc_row_add_time(row, times->delivered);
	tc_row_add_time(row, times->error);
	tc_row_add_text(row, times->error_code);
	add_message(row, times->error_message, sees_messages);
	tc_row_add_text(row, gauges->error_code);
	add_message(row, gauges->error_message, sees_messages);
	tc_row_add_time(row, gauges->error_since);
	tc_row_add_time(row, gauges->server_certificate_expires_at);
	tc_row_add_time(row, gauges->client_certificate_expires_at);
	tc_row_add_time(row, gauges->api_key_expires_at);
	if (gauges->clock_known)
		tc_row_add(row, Float8GetDatum((double) gauges->clock_ahead));
	else
		tc_row_add_null(row);
	tc_row_add_time(row, view->reset_at);
	add_classes(row, counters);
	add_waiting(row, gauges);
	tc_row_end(row);
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
	add_array(row, counts, CLASSES, INT8OID);
}

/* What waits and what is in flight, in three arrays: states, codes, and how many. */
static void
add_waiting(Row *row, const StatGauges *gauges)
{
	static const char *const names[STAT_STATES] = {
		[STAT_QUEUED] = "queued",
		[STAT_RETRYING] = "retrying",
		[STAT_CONFIRMING] = "confirming",
		[STAT_WAITING] = "waiting",
	};
	Datum		states[TC_STAT_WAITING + 1];
	Datum		codes[TC_STAT_WAITING + 1];
	Datum		counts[TC_STAT_WAITING + 1];
	int			n = 0;

	for (int i = 0; i < TC_STAT_WAITING; i++)
	{
		const StatWaiting *waiting = &gauges->waiting[i];

		if (waiting->requests == 0)
			break;
		states[n] = CStringGetTextDatum(names[waiting->state]);
		codes[n] = CStringGetTextDatum(waiting->code);
		counts[n++] = Int64GetDatum(waiting->requests);
	}
	if (gauges->in_flight > 0)
	{
		states[n] = CStringGetTextDatum("in_flight");
		codes[n] = CStringGetTextDatum("");
		counts[n++] = Int64GetDatum(gauges->in_flight);
	}
	add_array(row, states, n, TEXTOID);
	add_array(row, codes, n, TEXTOID);
	add_array(row, counts, n, INT8OID);
}

static void
add_array(Row *row, const Datum *values, int count, Oid type)
{
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	tc_row_add(row, PointerGetDatum(construct_array(unconstify(Datum *, values), count, type, length, by_value, align)));
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

	tc_rows_begin(fcinfo, &row);
	for (int i = 0; tc_preloaded() && i < tc_slot_count(); i++)
	{
		SlotView	slot;
		StatWorker	worker;

		tc_slot_view(i, &slot);
		if (slot.state != SLOT_STARTING && slot.state != SLOT_RUNNING)
			continue;
		tc_stat_worker(i, &worker);
		tc_row_add(&row, ObjectIdGetDatum(slot.database));
		if (slot.pid != 0)
			tc_row_add(&row, Int32GetDatum(slot.pid));
		else
			tc_row_add_null(&row);
		tc_row_add_text(&row, slot.leave != LEAVE_NOT ? "leaving" : slot.working ? "working" : "starting");
		if (reads_all && slot.working)
		{
			tc_row_add_time(&row, worker.started_at);
			tc_row_add(&row, Int64GetDatum(worker.queues));
			tc_row_add(&row, Int64GetDatum(worker.requests));
			tc_row_add(&row, Int64GetDatum(slot.in_flight));
		}
		else
			while (row.count < WORKER_NATTS)
				tc_row_add_null(&row);
		tc_row_end(&row);
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

static void
add_message(Row *row, const char *message, bool visible)
{
	if (visible && message[0] != '\0')
		tc_row_add_text(row, tc_words_to_server(message));
	else
		tc_row_add_null(row);
}
