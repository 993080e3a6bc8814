/*-------------------------------------------------------------------------
 *
 * json_schema.c
 *	  Temporal's messages in protobuf and in JSON: which field is which.
 *
 * Tables only.  Numbers are those of proto/temporal.proto and of
 * worker/proof_replies.c and request/description.c, which say what is looked at in
 * a reply.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/json_schema.h"

#define END {NULL, 0, JSON_TEXT, false, NULL, NULL}
#define TEXT(name, number) {name, number, JSON_TEXT, false, NULL, NULL}
#define BYTES(name, number) {name, number, JSON_BYTES, false, NULL, NULL}
#define BOOL(name, number) {name, number, JSON_BOOL, false, NULL, NULL}
#define INT32(name, number) {name, number, JSON_INT32, false, NULL, NULL}
#define INT64(name, number) {name, number, JSON_INT64, false, NULL, NULL}
#define ENUM(name, number, names) {name, number, JSON_ENUM, false, NULL, names}
#define TIMESTAMP(name, number) {name, number, JSON_TIMESTAMP, false, NULL, NULL}
#define DURATION(name, number) {name, number, JSON_DURATION, false, NULL, NULL}
#define MAP(name, number) {name, number, JSON_MAP, false, NULL, NULL}
#define MESSAGE(name, number, message) {name, number, JSON_MESSAGE, false, &message, NULL}
#define MESSAGES(name, number, message) {name, number, JSON_MESSAGE, true, &message, NULL}

#define DEFINE_MESSAGE(message, ...) \
	static const JsonField message##_fields[] = {__VA_ARGS__, END}; \
	static const JsonMessage message = {message##_fields}

static const JsonField no_fields[] = {END};
static const JsonMessage empty = {no_fields};

/*---- requests ----*/

DEFINE_MESSAGE(payload, MAP("metadata", 1), BYTES("data", 2));
DEFINE_MESSAGE(payloads, MESSAGES("payloads", 1, payload));
DEFINE_MESSAGE(application_failure_info,
			   TEXT("type", 1), BOOL("nonRetryable", 2), MESSAGE("details", 3, payloads),
			   DURATION("nextRetryDelay", 4), INT32("category", 5));
static const JsonMessage failure;	/* it has one in it */

DEFINE_MESSAGE(failure,
			   TEXT("message", 1), TEXT("source", 2), TEXT("stackTrace", 3),
			   MESSAGE("cause", 4, failure),
			   MESSAGE("applicationFailureInfo", 5, application_failure_info),
			   MESSAGE("encodedAttributes", 20, payload));

DEFINE_MESSAGE(completed_request,
			   BYTES("taskToken", 1), MESSAGE("result", 2, payloads), TEXT("identity", 3),
			   TEXT("namespace", 4));
DEFINE_MESSAGE(failed_request,
			   BYTES("taskToken", 1), MESSAGE("failure", 2, failure), TEXT("identity", 3),
			   TEXT("namespace", 4), MESSAGE("lastHeartbeatDetails", 5, payloads));
/* of a cancellation and of a heartbeat */
DEFINE_MESSAGE(details_request,
			   BYTES("taskToken", 1), MESSAGE("details", 2, payloads), TEXT("identity", 3),
			   TEXT("namespace", 4));

#define IDS \
	TEXT("namespace", 1), TEXT("workflowId", 2), TEXT("runId", 3), TEXT("activityId", 4)

DEFINE_MESSAGE(completed_by_id_request,
			   IDS, MESSAGE("result", 5, payloads), TEXT("identity", 6));
DEFINE_MESSAGE(failed_by_id_request,
			   IDS, MESSAGE("failure", 5, failure), TEXT("identity", 6),
			   MESSAGE("lastHeartbeatDetails", 7, payloads));
DEFINE_MESSAGE(details_by_id_request,
			   IDS, MESSAGE("details", 5, payloads), TEXT("identity", 6));

DEFINE_MESSAGE(workflow_execution, TEXT("workflowId", 1), TEXT("runId", 2));
DEFINE_MESSAGE(history_request,
			   TEXT("namespace", 1), MESSAGE("execution", 2, workflow_execution),
			   INT32("maximumPageSize", 3), BYTES("nextPageToken", 4));
DEFINE_MESSAGE(describe_workflow_request,
			   TEXT("namespace", 1), MESSAGE("execution", 2, workflow_execution));
DEFINE_MESSAGE(describe_activity_request,
			   TEXT("namespace", 1), TEXT("activityId", 2), TEXT("runId", 3),
			   BOOL("includeOutcome", 5), BOOL("includeLastFailure", 8));

/*---- replies ----*/

static const char *const run_statuses[] = {
	"WORKFLOW_EXECUTION_STATUS_UNSPECIFIED", "WORKFLOW_EXECUTION_STATUS_RUNNING",
	"WORKFLOW_EXECUTION_STATUS_COMPLETED", "WORKFLOW_EXECUTION_STATUS_FAILED",
	"WORKFLOW_EXECUTION_STATUS_CANCELED", "WORKFLOW_EXECUTION_STATUS_TERMINATED",
	"WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW", "WORKFLOW_EXECUTION_STATUS_TIMED_OUT",
	"WORKFLOW_EXECUTION_STATUS_PAUSED", NULL
};
static const char *const pending_states[] = {
	"PENDING_ACTIVITY_STATE_UNSPECIFIED", "PENDING_ACTIVITY_STATE_SCHEDULED",
	"PENDING_ACTIVITY_STATE_STARTED", "PENDING_ACTIVITY_STATE_CANCEL_REQUESTED",
	"PENDING_ACTIVITY_STATE_PAUSED", "PENDING_ACTIVITY_STATE_PAUSE_REQUESTED", NULL
};
static const char *const activity_statuses[] = {
	"ACTIVITY_EXECUTION_STATUS_UNSPECIFIED", "ACTIVITY_EXECUTION_STATUS_RUNNING",
	"ACTIVITY_EXECUTION_STATUS_COMPLETED", "ACTIVITY_EXECUTION_STATUS_FAILED",
	"ACTIVITY_EXECUTION_STATUS_CANCELED", "ACTIVITY_EXECUTION_STATUS_TERMINATED",
	"ACTIVITY_EXECUTION_STATUS_TIMED_OUT", "ACTIVITY_EXECUTION_STATUS_PAUSED", NULL
};

DEFINE_MESSAGE(heartbeat_reply,
			   BOOL("cancelRequested", 1), BOOL("activityPaused", 2), BOOL("activityReset", 3));
DEFINE_MESSAGE(system_info, TEXT("serverVersion", 1));

DEFINE_MESSAGE(failure_source, TEXT("source", 2));
DEFINE_MESSAGE(failure_cause, TEXT("source", 2), MESSAGE("cause", 4, failure_source));

DEFINE_MESSAGE(started_run, TEXT("continuedExecutionRunId", 10));
DEFINE_MESSAGE(reset_run, TEXT("baseRunId", 6));
DEFINE_MESSAGE(scheduled, TEXT("activityId", 1));
DEFINE_MESSAGE(started,
			   INT64("scheduledEventId", 1), INT32("attempt", 4),
			   MESSAGE("lastFailure", 5, failure_source));
DEFINE_MESSAGE(closed, INT64("scheduledEventId", 2), TEXT("identity", 4));
DEFINE_MESSAGE(timed_out, MESSAGE("failure", 1, failure_cause), INT64("scheduledEventId", 2));
DEFINE_MESSAGE(canceled, INT64("scheduledEventId", 3), TEXT("identity", 5));
DEFINE_MESSAGE(event,
			   INT64("eventId", 1), TIMESTAMP("eventTime", 2),
			   MESSAGE("workflowExecutionStartedEventAttributes", 6, started_run),
			   MESSAGE("workflowTaskFailedEventAttributes", 14, reset_run),
			   MESSAGE("activityTaskScheduledEventAttributes", 15, scheduled),
			   MESSAGE("activityTaskStartedEventAttributes", 16, started),
			   MESSAGE("activityTaskCompletedEventAttributes", 17, closed),
			   MESSAGE("activityTaskFailedEventAttributes", 18, closed),
			   MESSAGE("activityTaskTimedOutEventAttributes", 19, timed_out),
			   MESSAGE("activityTaskCanceledEventAttributes", 23, canceled));
DEFINE_MESSAGE(history, MESSAGES("events", 1, event));
DEFINE_MESSAGE(history_reply, MESSAGE("history", 1, history), BYTES("nextPageToken", 3));

DEFINE_MESSAGE(workflow_info,
			   MESSAGE("execution", 1, workflow_execution), TIMESTAMP("closeTime", 4),
			   ENUM("status", 5, run_statuses), INT64("historyLength", 6));
DEFINE_MESSAGE(activity_type, TEXT("name", 1));
DEFINE_MESSAGE(activity_options, DURATION("heartbeatTimeout", 5));
DEFINE_MESSAGE(retry_policy, INT32("maximumAttempts", 4));
DEFINE_MESSAGE(activity_failure,
			   TEXT("message", 1), TEXT("source", 2), MESSAGE("encodedAttributes", 20, payload));
DEFINE_MESSAGE(pending_activity,
			   TEXT("activityId", 1), MESSAGE("activityType", 2, activity_type),
			   ENUM("state", 3, pending_states), TIMESTAMP("lastHeartbeatTime", 5),
			   TIMESTAMP("lastStartedTime", 6), INT32("attempt", 7), INT32("maximumAttempts", 8),
			   TIMESTAMP("scheduledTime", 9), TIMESTAMP("expirationTime", 10),
			   MESSAGE("lastFailure", 11, activity_failure), TEXT("lastWorkerIdentity", 12),
			   TIMESTAMP("nextAttemptScheduleTime", 18), BOOL("paused", 19),
			   MESSAGE("activityOptions", 24, activity_options));
DEFINE_MESSAGE(extended_info, TEXT("resetRunId", 6));
DEFINE_MESSAGE(workflow_reply,
			   MESSAGE("workflowExecutionInfo", 2, workflow_info),
			   MESSAGES("pendingActivities", 3, pending_activity),
			   MESSAGE("pendingWorkflowTask", 5, empty),
			   MESSAGE("workflowExtendedInfo", 8, extended_info));

DEFINE_MESSAGE(activity_info,
			   TEXT("activityId", 1), TEXT("runId", 2), MESSAGE("activityType", 3, activity_type),
			   ENUM("status", 4, activity_statuses), ENUM("runState", 5, pending_states),
			   DURATION("heartbeatTimeout", 10), MESSAGE("retryPolicy", 11, retry_policy),
			   TIMESTAMP("lastHeartbeatTime", 13), TIMESTAMP("lastStartedTime", 14),
			   INT32("attempt", 15), TIMESTAMP("scheduleTime", 17), TIMESTAMP("expirationTime", 18),
			   TIMESTAMP("closeTime", 19), MESSAGE("lastFailure", 20, activity_failure),
			   TEXT("lastWorkerIdentity", 21), TIMESTAMP("nextAttemptScheduleTime", 24));
DEFINE_MESSAGE(outcome, MESSAGE("failure", 2, failure_source));
DEFINE_MESSAGE(activity_reply,
			   MESSAGE("info", 2, activity_info), MESSAGE("outcome", 4, outcome));

/*---- methods ----*/

#define NS "/namespaces/{namespace}"
#define ACTIVITY NS "/workflows/{workflowId}/activities/{activityId}"
#define STANDALONE NS "/activities/{activityId}"
#define WORKFLOW NS "/workflows/{execution.workflowId}"

static const HttpMethod methods[] = {
	{"RespondActivityTaskCompleted", false,
		{NS "/activity-complete", NS "/activities/complete"}, {NULL, NULL},
	&completed_request, &empty},
	{"RespondActivityTaskFailed", false,
		{NS "/activity-fail", NS "/activities/fail"}, {NULL, NULL},
	&failed_request, &empty},
	{"RespondActivityTaskCanceled", false,
		{NS "/activity-resolve-as-canceled", NS "/activities/cancel"}, {NULL, NULL},
	&details_request, &empty},
	{"RecordActivityTaskHeartbeat", false,
		{NS "/activity-heartbeat", NS "/activities/heartbeat"}, {NULL, NULL},
	&details_request, &heartbeat_reply},
	{"RespondActivityTaskCompletedById", false,
		{ACTIVITY "/complete", NS "/activities/complete-by-id"},
		{STANDALONE "/complete", NS "/activities/complete-by-id"},
	&completed_by_id_request, &empty},
	{"RespondActivityTaskFailedById", false,
		{ACTIVITY "/fail", NS "/activities/fail-by-id"},
		{STANDALONE "/fail", NS "/activities/fail-by-id"},
	&failed_by_id_request, &empty},
	{"RespondActivityTaskCanceledById", false,
		{ACTIVITY "/resolve-as-canceled", NS "/activities/cancel-by-id"},
		{STANDALONE "/resolve-as-canceled", NS "/activities/cancel-by-id"},
	&details_by_id_request, &empty},
	{"RecordActivityTaskHeartbeatById", false,
		{ACTIVITY "/heartbeat", NS "/activities/heartbeat-by-id"},
		{STANDALONE "/heartbeat", NS "/activities/heartbeat-by-id"},
	&details_by_id_request, &heartbeat_reply},
	{"GetSystemInfo", true, {"/system-info", "/system-info"}, {NULL, NULL},
	&empty, &system_info},
	{"GetWorkflowExecutionHistoryReverse", true,
		{WORKFLOW "/history-reverse", WORKFLOW "/history-reverse"}, {NULL, NULL},
	&history_request, &history_reply},
	{"GetWorkflowExecutionHistory", true,
		{WORKFLOW "/history", WORKFLOW "/history"}, {NULL, NULL},
	&history_request, &history_reply},
	{"DescribeWorkflowExecution", true, {WORKFLOW, WORKFLOW}, {NULL, NULL},
	&describe_workflow_request, &workflow_reply},
	{"DescribeActivityExecution", true, {STANDALONE, STANDALONE}, {NULL, NULL},
	&describe_activity_request, &activity_reply},
	/* of a codec server, whose paths are its channel's */
	{"encode", false, {"", ""}, {NULL, NULL}, &payloads, &payloads},
	{"decode", false, {"", ""}, {NULL, NULL}, &payloads, &payloads},
};

const HttpMethod *
tc_http_method(const char *grpc_path)
{
	const char *name = strrchr(grpc_path, '/');

	for (int i = 0; name != NULL && i < lengthof(methods); i++)
		if (strcmp(methods[i].name, name + 1) == 0)
			return &methods[i];
	return NULL;
}
