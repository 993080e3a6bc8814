/*-------------------------------------------------------------------------
 *
 * fuzz_json.c
 *	  Fuzzes json_read.c: answers of Temporal's HTTP API and of codec
 *	  servers, which may be anything.
 *
 * The first byte says of which method the answer is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "base/proto_reader.h"
#include "wire/json_read.h"
#include "wire/json_write.h"

#define MAX_REPLY 4096

static const char *const methods[] = {
	"/GetSystemInfo", "/RespondActivityTaskCompleted", "/RecordActivityTaskHeartbeatById",
	"/GetWorkflowExecutionHistoryReverse", "/DescribeWorkflowExecution",
	"/DescribeActivityExecution", "/encode"
};

/* Is it what a reader of protobuf takes for a message? */
static void
check_message(const uint8 *bytes, size_t len)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, bytes, len);
	while (tc_proto_next(&reader, &field))
		;
	CHECK(!reader.malformed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const HttpMethod *method;
	JsonAnswerRead read = {.reply.max = MAX_REPLY};
	JsonBuffer	path = {.max = MAX_REPLY};
	JsonBuffer	body = {.max = MAX_REPLY};

	if (size < 1)
		return 0;
	method = tc_http_method(methods[data[0] % lengthof(methods)]);
	CHECK(method != NULL);
	data++;
	size--;

	switch (tc_json_read((const char *) data, size, method->reply, &read))
	{
		case JSON_REPLY:
			CHECK(read.reply.len <= MAX_REPLY);
			check_message(read.reply.bytes, read.reply.len);
			break;
		case JSON_ERROR:
			CHECK(read.status >= 1 && read.status <= 16);
			CHECK(strlen(read.message) < JSON_MESSAGE_SIZE);
			CHECK(strlen(read.detail_type) < JSON_DETAIL_TYPE_SIZE);
			break;
		case JSON_NEITHER:
			CHECK(read.problem != NULL);
			break;
	}
	free(read.reply.bytes);

	/* what is written comes from ourselves, but stands in a table */
	if (tc_json_write_path(&path, method, HTTP_PATHS_2026, data, size))
		CHECK(path.failed || path.bytes[path.len - 1] == '\0');
	tc_json_write_body(&body, method, data, size);
	CHECK(body.failed || body.bytes[body.len - 1] == '}');
	free(path.bytes);
	free(body.bytes);
	return 0;
}
