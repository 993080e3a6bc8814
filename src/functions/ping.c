/*-------------------------------------------------------------------------
 *
 * ping.c
 *	  SQL function ping().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "functions/arguments.h"
#include "functions/session_call.h"

static Datum text_or_null(const char *string, bool *isnull);

PG_FUNCTION_INFO_V1(tc_ping);

/*
 * SQL: ping(server text), a row: server, address, server_version, tls,
 * round_trip, authorized, error_code, error_message.
 */
Datum
tc_ping(PG_FUNCTION_ARGS)
{
	SessionCall call = {.kind = CALL_PING};
	SessionAnswer answer;
	TupleDesc	tupdesc;
	Datum		values[8];
	bool		nulls[8] = {0};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	tc_session_call_run(&call, ARG_CSTRING(0), NULL, NULL, &answer);

	values[0] = CStringGetTextDatum(call.server);
	values[1] = text_or_null(answer.address, &nulls[1]);
	values[2] = text_or_null(answer.server_version, &nulls[2]);
	values[3] = text_or_null(answer.tls_version, &nulls[3]);
	if (answer.round_trip_ms > 0)
	{
		Interval   *round_trip = palloc0(sizeof(Interval));

		round_trip->time = (TimeOffset) rint(answer.round_trip_ms * 1000.0);
		values[4] = IntervalPGetDatum(round_trip);
	}
	else
		nulls[4] = true;
	values[5] = BoolGetDatum(answer.authorized);
	values[6] = text_or_null(answer.error_code, &nulls[6]);
	values[7] = text_or_null(answer.error_message, &nulls[7]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

static Datum
text_or_null(const char *string, bool *isnull)
{
	*isnull = string[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(string);
}
