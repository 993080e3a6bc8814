/*-------------------------------------------------------------------------
 *
 * fuzz_proof.c
 *	  Fuzzes proof_replies.c and description.c: histories and descriptions.
 *
 * The first byte says how many events are wanted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "worker/proof_replies.h"

/* The reply, and how many more events of it are wanted */
static const uint8 *reply;
static size_t reply_len;
static int	wanted;

static void
check_span(ProtoSpan span)
{
	fuzz_check_span(reply, reply_len, span);
}

static bool
take_event(void *arg, const ActivityEvent *event)
{
	CHECK(arg == &wanted && wanted > 0);
	CHECK(event->kind >= ACTIVITY_SCHEDULED && event->kind <= RUN_RESET);
	check_span(event->activity_id);
	check_span(event->identity);
	check_span(event->last_failure_source);
	check_span(event->former_run);
	return --wanted > 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ProtoSpan	next_page_token;
	WorkflowDescription workflow;
	ActivityDescription activity;

	if (size < 1)
		return 0;
	wanted = data[0] + 1;
	reply = data + 1;
	reply_len = size - 1;

	tc_history_read(reply, reply_len, take_event, &wanted, &next_page_token);
	check_span(next_page_token);

	if (tc_workflow_description_read(reply, reply_len, "activity", &workflow))
		CHECK(workflow.has_pending_activity || workflow.attempt == 0);
	check_span(workflow.last_failure_source);
	check_span(workflow.run_id);

	tc_activity_description_read(reply, reply_len, &activity);
	check_span(activity.last_identity);
	check_span(activity.end_source);
	check_span(activity.last_failure_source);

	/* A reply without a message */
	CHECK(tc_history_read(NULL, 0, take_event, &wanted, &next_page_token));
	CHECK(!tc_workflow_description_read(NULL, 0, "activity", &workflow));
	CHECK(!tc_activity_description_read(NULL, 0, &activity));
	return 0;
}
