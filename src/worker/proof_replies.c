/*-------------------------------------------------------------------------
 *
 * proof_replies.c
 *	  What Temporal says about an activity's end.
 *
 * The replies may be megabytes of somebody's payloads, of which a few ids
 * matter: they are read where they lie.  Nothing is allocated or raised here.
 * Field numbers are those of Temporal's public API: workflowservice.v1,
 * history.v1, workflow.v1, activity.v1.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "request/description.h"
#include "worker/proof_replies.h"

/* GetWorkflowExecutionHistoryReverseResponse, History, HistoryEvent */
#define HISTORY_RESPONSE_HISTORY 1
#define HISTORY_RESPONSE_NEXT_PAGE_TOKEN 3
#define HISTORY_EVENTS 1
#define EVENT_ID 1
#define EVENT_TIME 2

#define FAILURE_SOURCE 2

/* By which field of HistoryEvent its attributes come, and what they hold where */
typedef struct EventAttributes
{
	uint32		field;
	ActivityEventKind kind;
	uint32		scheduled_event_id;
	uint32		activity_id;
	uint32		identity;
	uint32		attempt;
	uint32		failure;
	uint32		failure_cause;	/* the failure that matters is this one's
								 * cause */
	uint32		former_run;
} EventAttributes;

static const EventAttributes event_attributes[] =
{
	{6, RUN_STARTED, 0, 0, 0, 0, 0, 0, 10},
	{14, RUN_RESET, 0, 0, 0, 0, 0, 0, 6},
	{15, ACTIVITY_SCHEDULED, 0, 1, 0, 0, 0, 0, 0},
	{16, ACTIVITY_STARTED, 1, 0, 0, 4, 5, 0, 0},
	{17, ACTIVITY_COMPLETED, 2, 0, 4, 0, 0, 0, 0},
	{18, ACTIVITY_FAILED, 2, 0, 4, 0, 0, 0, 0},
	{19, ACTIVITY_TIMED_OUT, 2, 0, 0, 0, 1, 4, 0},
	{23, ACTIVITY_CANCELED, 3, 0, 5, 0, 0, 0, 0},
};

/* DescribeWorkflowExecutionResponse, WorkflowExecutionInfo; see also description.h */
#define WORKFLOW_RESPONSE_PENDING_WORKFLOW_TASK 5
#define WORKFLOW_RESPONSE_EXTENDED_INFO 8
#define WORKFLOW_INFO_EXECUTION 1
#define WORKFLOW_INFO_STATUS 5
#define WORKFLOW_INFO_HISTORY_LENGTH 6
#define EXECUTION_RUN_ID 2
#define EXTENDED_INFO_RESET_RUN_ID 6

/* False if the event is neither about an activity nor about where the run began. */
static bool
read_event(ProtoSpan message, ActivityEvent *event)
{
	ProtoReader reader;
	ProtoField	field;
	bool		found = false;

	memset(event, 0, sizeof(*event));
	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, EVENT_ID, PROTO_VARINT))
			event->event_id = (int64) field.varint;
		else if (tc_proto_is(&field, EVENT_TIME, PROTO_BYTES))
			event->time = tc_proto_time(tc_span_field(message, EVENT_TIME));
		for (int i = 0; i < lengthof(event_attributes); i++)
		{
			if (!tc_proto_is(&field, event_attributes[i].field, PROTO_BYTES))
				continue;
			found = true;
			event->kind = event_attributes[i].kind;
			if (event_attributes[i].scheduled_event_id != 0)
				event->scheduled_event_id =
					tc_varint_field(field.span, event_attributes[i].scheduled_event_id);
			if (event_attributes[i].activity_id != 0)
				event->activity_id = tc_span_field(field.span, event_attributes[i].activity_id);
			if (event_attributes[i].identity != 0)
				event->identity = tc_span_field(field.span, event_attributes[i].identity);
			if (event_attributes[i].attempt != 0)
				event->attempt = (int) tc_varint_field(field.span, event_attributes[i].attempt);
			if (event_attributes[i].failure != 0)
			{
				ProtoSpan	failure = tc_span_field(field.span, event_attributes[i].failure);

				if (event_attributes[i].failure_cause != 0)
					failure = tc_span_field(failure, event_attributes[i].failure_cause);
				event->last_failure_source = tc_span_field(failure, FAILURE_SOURCE);
			}
			if (event_attributes[i].former_run != 0)
				event->former_run = tc_span_field(field.span, event_attributes[i].former_run);
		}
	}
	if (event->kind == ACTIVITY_SCHEDULED)
		event->scheduled_event_id = event->event_id;
	return found;
}

bool
tc_history_read(const uint8 *reply, size_t len, ActivityEventConsumer consumer,
				void *arg, ProtoSpan *next_page_token)
{
	ProtoReader reader;
	ProtoReader events;
	ProtoField	field;
	ProtoField	event_field;
	ActivityEvent event;
	bool		wanted = true;

	next_page_token->bytes = NULL;
	next_page_token->len = 0;
	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, HISTORY_RESPONSE_NEXT_PAGE_TOKEN, PROTO_BYTES))
			*next_page_token = field.span;
		if (!tc_proto_is(&field, HISTORY_RESPONSE_HISTORY, PROTO_BYTES))
			continue;
		tc_proto_begin(&events, field.span.bytes, field.span.len);
		while (wanted && tc_proto_next(&events, &event_field))
			if (tc_proto_is(&event_field, HISTORY_EVENTS, PROTO_BYTES) &&
				read_event(event_field.span, &event))
				wanted = consumer(arg, &event);
		if (events.malformed)
			return false;
	}
	return !reader.malformed;
}

bool
tc_workflow_description_read(const uint8 *reply, size_t len, const char *activity_id,
							 WorkflowDescription *description)
{
	ProtoReader reader;
	ProtoField	field;
	size_t		id_len = strlen(activity_id);
	bool		has_info = false;

	memset(description, 0, sizeof(*description));
	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, WORKFLOW_RESPONSE_INFO, PROTO_BYTES))
		{
			has_info = true;
			description->is_running = tc_span_field(field.span, WORKFLOW_INFO_CLOSE_TIME).bytes == NULL;
			description->status = (RunStatus) tc_varint_field(field.span, WORKFLOW_INFO_STATUS);
			description->events = tc_varint_field(field.span, WORKFLOW_INFO_HISTORY_LENGTH);
			description->run_id =
				tc_span_field(tc_span_field(field.span, WORKFLOW_INFO_EXECUTION), EXECUTION_RUN_ID);
		}
		else if (tc_proto_is(&field, WORKFLOW_RESPONSE_EXTENDED_INFO, PROTO_BYTES))
			description->was_reset = tc_span_field(field.span, EXTENDED_INFO_RESET_RUN_ID).len > 0;
		else if (tc_proto_is(&field, WORKFLOW_RESPONSE_PENDING_WORKFLOW_TASK, PROTO_BYTES))
			description->has_pending_workflow_task = true;
		else if (tc_proto_is(&field, WORKFLOW_RESPONSE_PENDING_ACTIVITIES, PROTO_BYTES))
		{
			DescribedActivity activity;

			if (!tc_pending_activity_read(field.span, &activity))
				return false;
			if (!tc_span_is(activity.activity_id, activity_id, id_len))
				continue;
			description->has_pending_activity = true;
			description->is_started = tc_pending_state_is_started(activity.state);
			description->is_paused = activity.paused;
			description->started_at = activity.last_started_time;
			description->attempt = (int) activity.attempt;
			description->last_failure_source = activity.last_failure_source;
		}
	}
	return !reader.malformed && has_info;
}

bool
tc_activity_description_read(const uint8 *reply, size_t len, ActivityDescription *description)
{
	DescribedActivity activity;

	memset(description, 0, sizeof(*description));
	if (!tc_described_activity_read(reply, len, &activity))
		return false;
	description->is_running = activity.status == ACTIVITY_STATUS_RUNNING ||
		activity.status == ACTIVITY_STATUS_PAUSED;
	description->has_ended = activity.status >= ACTIVITY_STATUS_COMPLETED &&
		activity.status <= ACTIVITY_STATUS_TIMED_OUT;
	description->is_canceled = activity.status == ACTIVITY_STATUS_CANCELED;
	description->is_terminated = activity.status == ACTIVITY_STATUS_TERMINATED;
	description->is_timed_out = activity.status == ACTIVITY_STATUS_TIMED_OUT;
	description->scheduled_at = activity.scheduled_time;
	description->started_at = tc_pending_state_is_started(activity.state) ? activity.last_started_time : 0;
	description->attempt = (int) activity.attempt;
	description->last_identity = activity.last_worker_identity;
	description->last_failure_source = activity.last_failure_source;
	description->has_failed = activity.has_failed;
	description->end_source = activity.end_source;
	return true;
}
