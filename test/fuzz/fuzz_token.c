/*-------------------------------------------------------------------------
 *
 * fuzz_token.c
 *	  Fuzzes task_token.c, and compares it with protobuf-c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "request/task_token.h"
#include "temporal.pb-c.h"

/* protobuf-c's strings end at the first zero byte. */
static void
check_same(const char *theirs, ProtoSpan ours)
{
	size_t		len = strlen(theirs);

	CHECK(len <= ours.len && (len == 0 || memcmp(theirs, ours.bytes, len) == 0));
	CHECK(len == ours.len || ours.bytes[len] == '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TaskToken	token;
	bool		decoded = tc_task_token_decode(data, size, &token);
	Temporal__Task *theirs;

	fuzz_check_span(data, size, token.namespace_id);
	fuzz_check_span(data, size, token.workflow_id);
	fuzz_check_span(data, size, token.run_id);
	fuzz_check_span(data, size, token.activity_id);
	if (tc_task_token_is_valid(data, size))
		CHECK(decoded);
	if (!decoded)
		return 0;

	theirs = temporal__task__unpack(NULL, size, data);
	if (theirs == NULL)
		return 0;
	check_same(theirs->namespace_id, token.namespace_id);
	check_same(theirs->workflow_id, token.workflow_id);
	if (token.workflow_id.len > 0)
	{
		check_same(theirs->run_id, token.run_id);
		check_same(theirs->activity_id, token.activity_id);
	}
	CHECK(theirs->scheduled_event_id == token.scheduled_event_id);
	CHECK(theirs->attempt == token.attempt);
	temporal__task__free_unpacked(theirs, NULL);
	return 0;
}
