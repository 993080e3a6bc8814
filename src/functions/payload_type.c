/*-------------------------------------------------------------------------
 *
 * payload_type.c
 *	  The SQL type temporal.payload: its text and binary forms, its casts.
 *
 * The text form is JSON for what SDKs call json/plain, as it was written, and
 * for every other payload \x with the encoded message in hexadecimal digits,
 * which JSON never begins with.  Nothing of a value is ever put into an error
 * message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "functions/payload_type.h"
#include "request/payload.h"
#include "request/payload_json.h"
#include "request/to_utf8.h"

/* Begin of the text form of what is not JSON, as bytea has it */
#define HEX_PREFIX "\\x"
#define HEX_PREFIX_LEN 2

PG_FUNCTION_INFO_V1(tc_payload_in);
PG_FUNCTION_INFO_V1(tc_payload_out);
PG_FUNCTION_INFO_V1(tc_payload_recv);
PG_FUNCTION_INFO_V1(tc_payload_send);
PG_FUNCTION_INFO_V1(tc_payload_of);
PG_FUNCTION_INFO_V1(tc_payload_from_jsonb);
PG_FUNCTION_INFO_V1(tc_payload_from_json);
PG_FUNCTION_INFO_V1(tc_payload_from_bytea);
PG_FUNCTION_INFO_V1(tc_payload_from_text);
PG_FUNCTION_INFO_V1(tc_payload_parts);

static bool is_utf8_json(const ProtoSpan *data);
static Payload *payload_from_message(const char *message, size_t len);
static PayloadEntry *metadata_entries(Jsonb *metadata, int *nentries);
static Datum metadata_as_jsonb(const Payload *payload);

/* SQL: the input function */
Datum
tc_payload_in(PG_FUNCTION_ARGS)
{
	char	   *string = PG_GETARG_CSTRING(0);
	size_t		len = strlen(string);

	if (strncmp(string, HEX_PREFIX, HEX_PREFIX_LEN) == 0)
	{
		char	   *message = palloc(len / 2 + 1);

		len = hex_decode(string + HEX_PREFIX_LEN, len - HEX_PREFIX_LEN, message);
		PG_RETURN_POINTER(payload_from_message(message, len));
	}

	if (!tc_json_is_valid(string, len, GetDatabaseEncoding()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "temporal.payload"),
				 errdetail("The text is not JSON."),
				 errhint("A string is written in double quotes, '\"approved\"'; to_jsonb() makes JSON of any value.")));
	PG_RETURN_POINTER(tc_payload_of_json_text(string, len));
}

/* SQL: the output function */
Datum
tc_payload_out(PG_FUNCTION_ARGS)
{
	Payload    *payload = PG_GETARG_PAYLOAD_PP(0);
	const char *message = VARDATA_ANY(payload);
	size_t		len = VARSIZE_ANY_EXHDR(payload);
	PayloadParts parts;
	char	   *str;

	if (tc_payload_read((const uint8 *) message, len, &parts) && tc_payload_is_json(&parts))
	{
		str = tc_utf8_as_text((const char *) parts.data.bytes, parts.data.len);
		if (str != NULL)
			PG_RETURN_CSTRING(str);
	}

	str = palloc(HEX_PREFIX_LEN + len * 2 + 1);
	memcpy(str, HEX_PREFIX, HEX_PREFIX_LEN);
	str[HEX_PREFIX_LEN + hex_encode(message, len, str + HEX_PREFIX_LEN)] = '\0';
	PG_RETURN_CSTRING(str);
}

/* SQL: the encoded message, whatever the encoding of the data */
Datum
tc_payload_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;

	PG_RETURN_POINTER(payload_from_message(pq_getmsgbytes(buf, len), len));
}

/* SQL: the encoded message */
Datum
tc_payload_send(PG_FUNCTION_ARGS)
{
	Payload    *payload = PG_GETARG_PAYLOAD_PP(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* SQL: payload(encoding text, data bytea, metadata jsonb) returns payload */
Datum
tc_payload_of(PG_FUNCTION_ARGS)
{
	char	   *encoding;
	bytea	   *data;
	ProtoSpan	span;
	PayloadEntry *entries = NULL;
	int			nentries = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "encoding" : "data"),
				 errhint("Pass NULL in place of the payload to send none.")));
	encoding = tc_text_to_utf8("encoding", PG_GETARG_TEXT_PP(0));
	data = PG_GETARG_BYTEA_PP(1);
	if (!PG_ARGISNULL(2))
		entries = metadata_entries(PG_GETARG_JSONB_P(2), &nentries);

	if (*encoding == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("encoding must not be empty"),
				 errhint("It says how data is to be read, as \"json/plain\" or \"binary/encrypted\" does.")));
	span.bytes = (const uint8 *) VARDATA_ANY(data);
	span.len = VARSIZE_ANY_EXHDR(data);
	if (strcmp(encoding, TC_ENCODING_JSON) == 0 && !is_utf8_json(&span))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data is not JSON"),
				 errdetail("With the encoding \"%s\" it has to be JSON in UTF-8.", TC_ENCODING_JSON)));
	PG_RETURN_POINTER(tc_payload_make(encoding, (const char *) span.bytes, span.len, entries, nentries));
}

/* SQL: cast of jsonb, without the blanks that its text has between values */
Datum
tc_payload_from_jsonb(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(tc_payload_of_jsonb(PG_GETARG_JSONB_P(0)));
}

/* SQL: cast of json, its text as it is */
Datum
tc_payload_from_json(PG_FUNCTION_ARGS)
{
	char	   *json = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_POINTER(tc_payload_of_json_text(json, strlen(json)));
}

/* SQL: cast of bytea, which SDKs give as their type of bytes */
Datum
tc_payload_from_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_POINTER(tc_payload_make(TC_ENCODING_BINARY, VARDATA_ANY(data),
									  VARSIZE_ANY_EXHDR(data), NULL, 0));
}

/*
 * SQL: what stands in place of a cast of text.  Without it PostgreSQL would
 * only say that there is no such function.  Of NULL it is not known either
 * what the next value would be.
 */
Datum
tc_payload_from_text(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_COERCE),
			 errmsg("cannot cast a text to %s", "temporal.payload"),
			 errdetail("It could be JSON, or a string of which JSON is to be made."),
			 errhint("Write to_jsonb(x) to send the string, x::jsonb or x::json if it is JSON.")));
	PG_RETURN_NULL();			/* keep compiler quiet */
}

/* SQL: payload_parts(payload, OUT encoding text, OUT data bytea, OUT metadata jsonb) */
Datum
tc_payload_parts(PG_FUNCTION_ARGS)
{
	Payload    *payload = PG_GETARG_PAYLOAD_PP(0);
	PayloadParts parts;
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!tc_payload_read((const uint8 *) VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload), &parts))
		elog(ERROR, "payload cannot be read");

	values[0] = CStringGetTextDatum(tc_utf8_to_server((const char *) parts.encoding.bytes,
													  parts.encoding.len, parts.encoding.len));
	values[1] = PointerGetDatum(cstring_to_text_with_len((const char *) parts.data.bytes,
														 parts.data.len));
	values[2] = metadata_as_jsonb(payload);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/*---------------------------------------------------------------------------
 * JSON
 *---------------------------------------------------------------------------
 */

static bool
is_utf8_json(const ProtoSpan *data)
{
	return data->len > 0 &&
		pg_verify_mbstr(PG_UTF8, (const char *) data->bytes, data->len, true) &&
		tc_json_is_valid((char *) data->bytes, data->len, PG_UTF8);
}

/*---------------------------------------------------------------------------
 * Messages and metadata
 *---------------------------------------------------------------------------
 */

static Payload *
payload_from_message(const char *message, size_t len)
{
	PayloadParts parts;
	Payload    *payload;

	if (!tc_payload_read((const uint8 *) message, len, &parts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid value for type %s", "temporal.payload"),
				 errdetail("These %zu bytes are not a Payload message with an encoding.", len),
				 errhint("Bytes that are to be sent as they are have the type bytea.")));
	if (tc_payload_is_json(&parts) && !is_utf8_json(&parts.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid value for type %s", "temporal.payload"),
				 errdetail("With the encoding \"%s\" its data has to be JSON in UTF-8.", TC_ENCODING_JSON)));

	payload = palloc(VARHDRSZ + len);
	SET_VARSIZE(payload, VARHDRSZ + len);
	memcpy(VARDATA(payload), message, len);
	return payload;
}

/* {"key": "value", ...} as entries, in UTF-8 */
static PayloadEntry *
metadata_entries(Jsonb *metadata, int *nentries)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	PayloadEntry *entries;
	bool		all_strings = JB_ROOT_IS_OBJECT(metadata);
	int			n = 0;

	if (all_strings && JB_ROOT_COUNT(metadata) >= TC_METADATA_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("metadata must not have more than %d keys", TC_METADATA_MAX - 1)));
	entries = palloc0(sizeof(PayloadEntry) * (JB_ROOT_COUNT(metadata) + 1));
	iterator = JsonbIteratorInit(&metadata->root);
	while (all_strings && (token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *string;

		if (token != WJB_KEY && token != WJB_VALUE)
			continue;
		if (value.type != jbvString)
		{
			all_strings = false;
			break;
		}
		string = pnstrdup(value.val.string.val, value.val.string.len);
		string = tc_string_to_utf8("metadata", string, value.val.string.len);
		if (token == WJB_KEY)
		{
			entries[n].key.bytes = (const uint8 *) string;
			entries[n].key.len = strlen(string);
			if (strcmp(string, TC_ENCODING_KEY) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("metadata must not have the key \"%s\"", TC_ENCODING_KEY),
						 errhint("The encoding is the first argument.")));
		}
		else
		{
			entries[n].value.bytes = (const uint8 *) string;
			entries[n].value.len = strlen(string);
			n++;
		}
	}
	if (!all_strings)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("metadata must be an object whose values are strings")));
	*nentries = n;
	return entries;
}

/* The metadata without the encoding.  What is no text is shown as far as it can be. */
static Datum
metadata_as_jsonb(const Payload *payload)
{
	TcJsonbInState state = {0};
	const uint8 *position = NULL;
	PayloadEntry entry;

	tc_push_jsonb_value(&state, WJB_BEGIN_OBJECT, NULL);
	while (tc_payload_next_entry((const uint8 *) VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload),
								 &position, &entry))
	{
		JsonbValue	value = {.type = jbvString};

		if (tc_span_is(entry.key, TC_ENCODING_KEY, strlen(TC_ENCODING_KEY)))
			continue;
		value.val.string.val = tc_utf8_to_server((const char *) entry.key.bytes, entry.key.len,
												 entry.key.len);
		value.val.string.len = strlen(value.val.string.val);
		tc_push_jsonb_value(&state, WJB_KEY, &value);
		value.val.string.val = tc_utf8_to_server((const char *) entry.value.bytes, entry.value.len,
												 entry.value.len);
		value.val.string.len = strlen(value.val.string.val);
		tc_push_jsonb_value(&state, WJB_VALUE, &value);
	}
	tc_push_jsonb_value(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(state.result));
}
