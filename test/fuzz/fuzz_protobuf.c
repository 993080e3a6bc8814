/*-------------------------------------------------------------------------
 *
 * fuzz_protobuf.c
 *	  Fuzzes proto_reader.h, and what reads small messages with it.
 *
 * What protobuf-c takes for a message, our reader must read alike.  The first
 * byte is the method of a request.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "mb/pg_wchar.h"
#include "base/foreign_text.h"
#include "base/proto_reader.h"
#include "request/replies.h"
#include "request/request_fields.h"
#include "temporal.pb-c.h"

static void
walk(const uint8 *data, size_t size)
{
	ProtoReader reader;
	ProtoField	field;
	const uint8 *before;

	tc_proto_begin(&reader, data, size);
	before = reader.next;
	while (tc_proto_next(&reader, &field))
	{
		CHECK(reader.next > before && reader.next <= data + size);
		CHECK(field.number > 0);
		if (field.wire_type != PROTO_VARINT)
			CHECK(field.span.bytes >= data && field.span.bytes + field.span.len == reader.next);
		before = reader.next;
	}
	CHECK(reader.malformed || reader.next == data + size);
}

/* protobuf-c takes any number of bytes for a bool, whatever its wire type; we do not. */
static bool
has_odd_bool(const uint8 *data, size_t size)
{
	ProtoReader reader;
	ProtoField	field;
	bool		odd = false;

	tc_proto_begin(&reader, data, size);
	while (tc_proto_next(&reader, &field))
		if (field.number <= 3 && field.wire_type != PROTO_VARINT)
			odd = true;
	return odd;
}

static void
heartbeat_reply(const uint8 *data, size_t size)
{
	Temporal__RecordActivityTaskHeartbeatResponse *theirs;
	HeartbeatReply ours;
	bool		valid = tc_heartbeat_reply_decode(data, size, &ours);

	theirs = temporal__record_activity_task_heartbeat_response__unpack(NULL, size, data);
	if (theirs == NULL)
		return;
	if (valid && !has_odd_bool(data, size))
	{
		CHECK(ours.cancel_requested == (theirs->cancel_requested != 0));
		CHECK(ours.activity_paused == (theirs->activity_paused != 0));
		CHECK(ours.activity_reset == (theirs->activity_reset != 0));
	}
	temporal__record_activity_task_heartbeat_response__free_unpacked(theirs, NULL);
}

static void
system_info(const uint8 *data, size_t size)
{
	char	   *version = tc_system_info_decode(data, size);

	if (version != NULL)
		CHECK(strlen(version) <= size);
}

/* Any bytes as text; also cut at every length */
static void
texts(const uint8 *data, size_t size)
{
	char	   *whole = tc_utf8_to_server((const char *) data, size, size);
	int			len = (int) strlen(whole);
	char	   *words = palloc(size + 1);
	char		copy[64];

	CHECK(pg_encoding_verifymbstr(PG_UTF8, whole, len) == len);
	memcpy(words, data, size);
	words[size] = '\0';
	tc_words_copy(copy, sizeof(copy), words);
	words = tc_words_to_server(words);
	len = (int) strlen(words);
	CHECK(pg_encoding_verifymbstr(PG_UTF8, words, len) == len);
	CHECK(strncmp(words, copy, strlen(copy)) == 0);
	CHECK(pg_encoding_verifymbstr(PG_UTF8, copy, (int) strlen(copy)) == (int) strlen(copy));
	for (int i = 0; i < len; i++)
		CHECK((unsigned char) words[i] >= 0x20 && words[i] != 0x7F);
	for (size_t max_bytes = 0; max_bytes < Min(size, 16); max_bytes++)
	{
		char	   *cut = tc_utf8_to_server((const char *) data, size, max_bytes);

		len = (int) strlen(cut);
		CHECK(len <= (int) max_bytes);
		CHECK(pg_encoding_verifymbstr(PG_UTF8, cut, len) == len);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const RequestIdentity identity = {42, 7, 3};
	RequestTarget target;
	RequestMethod method;

	if (size < 1)
		return 0;
	method = METHOD_FIRST + data[0] % (METHOD_LAST - METHOD_FIRST + 1);
	data++;
	size--;

	walk(data, size);
	heartbeat_reply(data, size);
	system_info(data, size);
	texts(data, size);
	if (tc_request_decode(method, data, size, &target) && target.task_token != NULL)
		CHECK(target.task_token >= data && target.task_token + target.task_token_len <= data + size);
	tc_identity_matches((const char *) data, size, &identity, "42@1/2/3/4 42@4/5/6/7");
	fuzz_reset();
	return 0;
}
