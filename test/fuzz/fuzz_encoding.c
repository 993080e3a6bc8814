/*-------------------------------------------------------------------------
 *
 * fuzz_encoding.c
 *	  Fuzzes request_payloads.c: what is taken out of a request is what is put
 *	  back, and what a codec server or Temporal answers may be anything.
 *
 * The first byte says which method it is, the second one has flags, the next
 * two how long the request is; the rest is the answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/json.h"

#include "backend.h"
#include "request/request_payloads.h"

#define MAX_ENCODED 1024

/* As that of a backend, which is not in its library */
void
escape_json(StringInfo buf, const char *str)
{
	appendStringInfoChar(buf, '"');
	for (; *str != '\0'; str++)
	{
		if (*str == '"' || *str == '\\' || (unsigned char) *str < ' ')
			appendStringInfo(buf, "\\u%04x", (unsigned char) *str);
		else
			appendStringInfoChar(buf, *str);
	}
	appendStringInfoChar(buf, '"');
}

static void
check_request(RequestMethod method, bool common, const uint8 *request, size_t len,
			  const uint8 *answer, size_t answer_len)
{
	StringInfoData payloads;
	StringInfoData again;
	ProtoReader reader;
	uint8	   *changed;
	size_t		changed_len;
	int			count;

	initStringInfo(&payloads);
	initStringInfo(&again);
	count = tc_request_payloads(method, request, len, common, &payloads);
	if (count < 0)
		return;
	CHECK(tc_payloads_count((uint8 *) payloads.data, payloads.len) == count);

	/*
	 * the same ones in their places: as many again, or they are none that
	 * Temporal would take
	 */
	tc_proto_begin(&reader, (uint8 *) payloads.data, payloads.len);
	changed = tc_request_with_payloads(method, request, len, common, &reader, &changed_len);
	if (changed != NULL)
	{
		CHECK(reader.next == reader.end);
		CHECK(tc_request_payloads(method, changed, changed_len, false, &again) >= 0);
		if (!common)
			CHECK(again.len == payloads.len && memcmp(again.data, payloads.data, again.len) == 0);
	}

	tc_proto_begin(&reader, answer, answer_len);
	changed = tc_request_with_payloads(method, request, len, common, &reader, &changed_len);
	if (changed != NULL)
		CHECK(tc_payloads_count(answer, answer_len) >= count || tc_payloads_count(answer, answer_len) < 0);
}

static void
check_description(bool is_workflow, const uint8 *reply, size_t len, const uint8 *answer, size_t answer_len)
{
	StringInfoData payloads;
	ProtoReader reader;
	size_t		changed_len;

	initStringInfo(&payloads);
	(void) tc_description_payloads(is_workflow, reply, len, MAX_ENCODED, &payloads);
	CHECK(payloads.len <= 8 * MAX_ENCODED);
	tc_proto_begin(&reader, answer, answer_len);
	(void) tc_description_decoded(is_workflow, reply, len, MAX_ENCODED, &reader, &changed_len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	RequestMethod method;
	bool		flag;
	size_t		len;

	if (size < 4)
		return 0;
	method = METHOD_FIRST + data[0] % (METHOD_LAST - METHOD_FIRST + 1);
	flag = data[1] & 1;
	len = Min((size_t) data[2] << 8 | data[3], size - 4);
	check_request(method, flag, data + 4, len, data + 4 + len, size - 4 - len);
	check_description(flag, data + 4, len, data + 4 + len, size - 4 - len);
	fuzz_reset();
	return 0;
}
