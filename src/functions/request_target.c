/*-------------------------------------------------------------------------
 *
 * request_target.c
 *	  SQL functions behind the views: what an encoded request is about.
 *
 * They show ids only; no payload and no token ever leaves here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "request/request_fields.h"

PG_FUNCTION_INFO_V1(tc_request_target);
PG_FUNCTION_INFO_V1(tc_method_verb_sql);
PG_FUNCTION_INFO_V1(tc_request_may_name);

static bool is_found_by_bytes(const char *id, size_t len);

/* SQL: verb and ids of an encoded request; NULLs where they are not known. */
Datum
tc_request_target(PG_FUNCTION_ARGS)
{
	int16		method = PG_GETARG_INT16(0);
	bytea	   *request = PG_GETARG_BYTEA_PP(1);
	RequestTarget target = {0};
	TupleDesc	tupdesc;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};
	const char *texts[4] = {NULL};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (tc_method_is_valid(method))
	{
		const char *ids[3];

		texts[0] = tc_method_verb(method);
		if (!tc_request_decode(method, (const uint8 *) VARDATA_ANY(request),
							   VARSIZE_ANY_EXHDR(request), &target))
			memset(&target, 0, sizeof(target));
		ids[0] = target.workflow_id;
		ids[1] = target.run_id;
		ids[2] = target.activity_id;
		for (int i = 0; i < 3; i++)
			if (ids[i] != NULL)
				texts[i + 1] = tc_utf8_to_server(ids[i], strlen(ids[i]), SIZE_MAX);
	}
	for (int i = 0; i < 4; i++)
	{
		nulls[i] = texts[i] == NULL;
		if (!nulls[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* SQL: verb of a method; NULL if there is no such method. */
Datum
tc_method_verb_sql(PG_FUNCTION_ARGS)
{
	int16		method = PG_GETARG_INT16(0);

	if (!tc_method_is_valid(method))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(tc_method_verb(method)));
}

/*
 * SQL: can the encoded request name that workflow?  Without decoding it: ids
 * stand in it, and in a task token, as they are.
 */
Datum
tc_request_may_name(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(1);
	const char *sought = VARDATA_ANY(id);
	size_t		len = VARSIZE_ANY_EXHDR(id);
	bytea	   *request;
	const char *at;
	const char *end;

	if (len == 0 || !is_found_by_bytes(sought, len))
		PG_RETURN_BOOL(true);
	request = PG_GETARG_BYTEA_PP(0);
	at = VARDATA_ANY(request);
	end = at + VARSIZE_ANY_EXHDR(request);
	while ((size_t) (end - at) >= len)
	{
		at = memchr(at, sought[0], end - at - len + 1);
		if (at == NULL)
			break;
		if (memcmp(at, sought, len) == 0)
			PG_RETURN_BOOL(true);
		at++;
	}
	PG_RETURN_BOOL(false);
}

/* Is what is shown as this id the same in UTF-8?  '?' may stand for what cannot be shown. */
static bool
is_found_by_bytes(const char *id, size_t len)
{
	if (memchr(id, '?', len) != NULL)
		return false;
	for (size_t i = 0; i < len && GetDatabaseEncoding() != PG_UTF8; i++)
		if (!(id[i] >= '0' && id[i] <= '9') && !(id[i] >= 'A' && id[i] <= 'Z') &&
			!(id[i] >= 'a' && id[i] <= 'z') && strchr("-_./:", id[i]) == NULL)
			return false;
	return true;
}
