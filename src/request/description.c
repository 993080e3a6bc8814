/*-------------------------------------------------------------------------
 *
 * description.c
 *	  What Temporal says of activities that are under way: asking for it, and
 *	  reading it.
 *
 * Replies are read where they lie; nothing in them raises an error.  Field
 * numbers are those of Temporal's public API: workflowservice.v1, workflow.v1,
 * activity.v1.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "request/description.h"
#include "temporal.pb-c.h"

/* DescribeActivityExecutionResponse, ActivityExecutionOutcome */
#define ACTIVITY_RESPONSE_INFO 2
#define ACTIVITY_RESPONSE_OUTCOME 4
#define OUTCOME_FAILURE 2

/* Of messages within those below */
#define ACTIVITY_TYPE_NAME 1
#define FAILURE_MESSAGE 1
#define FAILURE_SOURCE 2
#define ACTIVITY_OPTIONS_HEARTBEAT_TIMEOUT 5
#define RETRY_POLICY_MAXIMUM_ATTEMPTS 4

/* Where an activity's fields are; 0 = it has none */
typedef struct Layout
{
	uint32		activity_id;
	uint32		activity_type;
	uint32		run_id;
	uint32		status;
	uint32		state;
	uint32		paused;
	uint32		attempt;
	uint32		maximum_attempts;
	uint32		retry_policy;
	uint32		scheduled_time;
	uint32		last_started_time;
	uint32		last_heartbeat_time;
	uint32		next_attempt_time;
	uint32		expiration_time;
	uint32		close_time;
	uint32		activity_options;
	uint32		heartbeat_timeout;
	uint32		last_failure;
	uint32		last_worker_identity;
} Layout;

static const Layout pending_activity_info = {
	.activity_id = 1,
	.activity_type = 2,
	.state = 3,
	.last_heartbeat_time = 5,
	.last_started_time = 6,
	.attempt = 7,
	.maximum_attempts = 8,
	.scheduled_time = 9,
	.expiration_time = 10,
	.last_failure = 11,
	.last_worker_identity = 12,
	.next_attempt_time = 18,
	.paused = 19,
	.activity_options = 24,
};

static const Layout activity_execution_info = {
	.activity_id = 1,
	.run_id = 2,
	.activity_type = 3,
	.status = 4,
	.state = 5,
	.heartbeat_timeout = 10,
	.retry_policy = 11,
	.last_heartbeat_time = 13,
	.last_started_time = 14,
	.attempt = 15,
	.scheduled_time = 17,
	.expiration_time = 18,
	.close_time = 19,
	.last_failure = 20,
	.last_worker_identity = 21,
	.next_attempt_time = 24,
};

static const char *const pending_states[] = {
	[PENDING_STATE_SCHEDULED] = "scheduled",
	[PENDING_STATE_STARTED] = "started",
	[PENDING_STATE_CANCEL_REQUESTED] = "cancel_requested",
	[PENDING_STATE_PAUSED] = "paused",
	[PENDING_STATE_PAUSE_REQUESTED] = "pause_requested"
};

static const char *const activity_statuses[] = {
	[ACTIVITY_STATUS_RUNNING] = "running",
	[ACTIVITY_STATUS_COMPLETED] = "completed",
	[ACTIVITY_STATUS_FAILED] = "failed",
	[ACTIVITY_STATUS_CANCELED] = "canceled",
	[ACTIVITY_STATUS_TERMINATED] = "terminated",
	[ACTIVITY_STATUS_TIMED_OUT] = "timed_out",
	[ACTIVITY_STATUS_PAUSED] = "paused"
};

/*---- asking ----*/

static uint8 *
encode(const ProtobufCMessage *message, size_t *len)
{
	uint8	   *bytes;

	*len = protobuf_c_message_get_packed_size(message);
	bytes = palloc(*len + 1);
	protobuf_c_message_pack(message, bytes);
	return bytes;
}

uint8 *
tc_describe_workflow_encode(const char *namespace_utf8, const char *workflow_id,
							const char *run_id, size_t *len)
{
	Temporal__WorkflowExecution execution = TEMPORAL__WORKFLOW_EXECUTION__INIT;
	Temporal__DescribeWorkflowExecutionRequest request =
		TEMPORAL__DESCRIBE_WORKFLOW_EXECUTION_REQUEST__INIT;

	execution.workflow_id = unconstify(char *, workflow_id);
	execution.run_id = unconstify(char *, run_id);
	request.namespace_ = unconstify(char *, namespace_utf8);
	request.execution = &execution;
	return encode(&request.base, len);
}

uint8 *
tc_describe_activity_encode(const char *namespace_utf8, const char *activity_id,
							const char *run_id, bool include_outcome, size_t *len)
{
	Temporal__DescribeActivityExecutionRequest request =
		TEMPORAL__DESCRIBE_ACTIVITY_EXECUTION_REQUEST__INIT;

	request.namespace_ = unconstify(char *, namespace_utf8);
	request.activity_id = unconstify(char *, activity_id);
	request.run_id = unconstify(char *, run_id);
	request.include_outcome = include_outcome;
	request.include_last_failure = true;
	return encode(&request.base, len);
}

/*---- reading ----*/

static void
read_number(const Layout *layout, const ProtoField *field, DescribedActivity *activity)
{
	int64		value = (int64) field->varint;

	if (field->number == layout->status)
		activity->status = value;
	else if (field->number == layout->state)
		activity->state = value;
	else if (field->number == layout->paused)
		activity->paused = value != 0;
	else if (field->number == layout->attempt)
		activity->attempt = value;
	else if (field->number == layout->maximum_attempts)
		activity->maximum_attempts = value;
}

static void
read_bytes(const Layout *layout, const ProtoField *field, DescribedActivity *activity)
{
	ProtoSpan	span = field->span;

	if (field->number == layout->activity_id)
		activity->activity_id = span;
	else if (field->number == layout->activity_type)
		activity->activity_type = tc_span_field(span, ACTIVITY_TYPE_NAME);
	else if (field->number == layout->run_id)
		activity->run_id = span;
	else if (field->number == layout->retry_policy)
		activity->maximum_attempts = tc_varint_field(span, RETRY_POLICY_MAXIMUM_ATTEMPTS);
	else if (field->number == layout->scheduled_time)
		activity->scheduled_time = tc_proto_time(span);
	else if (field->number == layout->last_started_time)
		activity->last_started_time = tc_proto_time(span);
	else if (field->number == layout->last_heartbeat_time)
		activity->last_heartbeat_time = tc_proto_time(span);
	else if (field->number == layout->next_attempt_time)
		activity->next_attempt_time = tc_proto_time(span);
	else if (field->number == layout->expiration_time)
		activity->expiration_time = tc_proto_time(span);
	else if (field->number == layout->close_time)
		activity->close_time = tc_proto_time(span);
	else if (field->number == layout->activity_options)
	{
		activity->has_options = true;
		activity->heartbeat_timeout =
			tc_proto_microseconds(tc_span_field(span, ACTIVITY_OPTIONS_HEARTBEAT_TIMEOUT));
	}
	else if (field->number == layout->heartbeat_timeout)
		activity->heartbeat_timeout = tc_proto_microseconds(span);
	else if (field->number == layout->last_failure)
	{
		activity->last_failure = tc_span_field(span, FAILURE_MESSAGE);
		activity->last_failure_source = tc_span_field(span, FAILURE_SOURCE);
	}
	else if (field->number == layout->last_worker_identity)
		activity->last_worker_identity = span;
}

static bool
read_activity(const Layout *layout, ProtoSpan message, DescribedActivity *activity)
{
	ProtoReader reader;
	ProtoField	field;

	memset(activity, 0, sizeof(*activity));
	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (field.wire_type == PROTO_VARINT)
			read_number(layout, &field, activity);
		else if (field.wire_type == PROTO_BYTES)
			read_bytes(layout, &field, activity);
	}
	return !reader.malformed;
}

bool
tc_pending_activities_read(const uint8 *reply, size_t len,
						   DescribedActivityConsumer consumer, void *arg)
{
	ProtoSpan	message = {reply, len};
	ProtoSpan	info = tc_span_field(message, WORKFLOW_RESPONSE_INFO);
	ProtoReader reader;
	ProtoField	field;
	DescribedActivity activity;

	/* a closed one still lists what was pending when it was closed */
	bool		closed = tc_span_field(info, WORKFLOW_INFO_CLOSE_TIME).bytes != NULL;

	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (closed || !tc_proto_is(&field, WORKFLOW_RESPONSE_PENDING_ACTIVITIES, PROTO_BYTES))
			continue;
		if (!tc_pending_activity_read(field.span, &activity))
			return false;
		consumer(arg, &activity);
	}
	return !reader.malformed && info.bytes != NULL;
}

bool
tc_pending_activity_read(ProtoSpan message, DescribedActivity *activity)
{
	return read_activity(&pending_activity_info, message, activity);
}

bool
tc_described_activity_read(const uint8 *reply, size_t len, DescribedActivity *activity)
{
	ProtoSpan	message = {reply, len};
	ProtoSpan	info = tc_span_field(message, ACTIVITY_RESPONSE_INFO);
	ProtoSpan	end;

	if (info.bytes == NULL || !read_activity(&activity_execution_info, info, activity))
		return false;
	end = tc_span_field(tc_span_field(message, ACTIVITY_RESPONSE_OUTCOME), OUTCOME_FAILURE);
	activity->has_failed = end.bytes != NULL;
	activity->end_source = tc_span_field(end, FAILURE_SOURCE);
	return true;
}

bool
tc_pending_state_is_started(int64 state)
{
	return state == PENDING_STATE_STARTED || state == PENDING_STATE_CANCEL_REQUESTED ||
		state == PENDING_STATE_PAUSE_REQUESTED;
}

const char *
tc_pending_state_name(int64 state)
{
	return state >= 0 && state < lengthof(pending_states) ? pending_states[state] : NULL;
}

const char *
tc_activity_status_name(int64 status)
{
	return status >= 0 && status < lengthof(activity_statuses) ? activity_statuses[status] : NULL;
}
