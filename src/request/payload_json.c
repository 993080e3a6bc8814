/*-------------------------------------------------------------------------
 *
 * payload_json.c
 *	  Payloads of JSON.
 *
 * SDKs write JSON without blanks, and so is it made here where it has no text
 * of its own.  No value is ever put into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "request/payload_json.h"
#include "request/to_utf8.h"

Payload *
tc_payload_of_json_text(char *json, size_t len)
{
	char	   *utf8 = tc_string_to_utf8("JSON", json, len);

	return tc_payload_make(TC_ENCODING_JSON, utf8, utf8 == json ? len : strlen(utf8), NULL, 0);
}

/* Take out the blanks that are in no string; the length of what is left. */
static size_t
compact(char *json)
{
	char	   *out = json;
	bool		in_string = false;

	for (const char *in = json; *in != '\0'; in++)
	{
		if (*in == ' ' && !in_string)
			continue;
		*out++ = *in;
		if (*in == '"')
			in_string = !in_string;
		else if (*in == '\\' && in_string)
			*out++ = *++in;
	}
	*out = '\0';
	return out - json;
}

Payload *
tc_payload_of_json(char *json)
{
	return tc_payload_of_json_text(json, compact(json));
}

Payload *
tc_payload_of_jsonb(Jsonb *value)
{
	StringInfoData json;

	initStringInfo(&json);
	JsonbToCString(&json, &value->root, VARSIZE(value));
	return tc_payload_of_json(json.data);
}
