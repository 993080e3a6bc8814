/*-------------------------------------------------------------------------
 *
 * description.h
 *	  What Temporal says of activities that are under way: asking for it, and
 *	  reading it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DESCRIPTION_H
#define TC_DESCRIPTION_H

#include "datatype/timestamp.h"

#include "base/proto_reader.h"
#include "request/method.h"

#define DESCRIBE_WORKFLOW_PATH WORKFLOW_SERVICE "DescribeWorkflowExecution"
#define DESCRIBE_ACTIVITY_PATH WORKFLOW_SERVICE "DescribeActivityExecution"

/*
 * Encode the question; all texts are UTF-8, an empty run id means the current
 * one.  An activity is a standalone one.  The length goes to *len.  palloc'd.
 */
extern uint8 *tc_describe_workflow_encode(const char *namespace_utf8, const char *workflow_id,
										  const char *run_id, size_t *len);
extern uint8 *tc_describe_activity_encode(const char *namespace_utf8, const char *activity_id,
										  const char *run_id, bool include_outcome, size_t *len);

/* Field numbers of DescribeWorkflowExecutionResponse and WorkflowExecutionInfo, for who reads more of them */
#define WORKFLOW_RESPONSE_INFO 2
#define WORKFLOW_RESPONSE_PENDING_ACTIVITIES 3
#define WORKFLOW_INFO_CLOSE_TIME 4

/* PendingActivityState, ActivityExecutionStatus; values of Temporal's API */
typedef enum PendingState
{
	PENDING_STATE_SCHEDULED = 1,
	PENDING_STATE_STARTED,
	PENDING_STATE_CANCEL_REQUESTED,
	PENDING_STATE_PAUSED,
	PENDING_STATE_PAUSE_REQUESTED
}			PendingState;

typedef enum ActivityStatus
{
	ACTIVITY_STATUS_RUNNING = 1,
	ACTIVITY_STATUS_COMPLETED,
	ACTIVITY_STATUS_FAILED,
	ACTIVITY_STATUS_CANCELED,
	ACTIVITY_STATUS_TERMINATED,
	ACTIVITY_STATUS_TIMED_OUT,
	ACTIVITY_STATUS_PAUSED
}			ActivityStatus;

/* An activity, as it is described; spans lie in the reply (UTF-8, not verified) */
typedef struct DescribedActivity
{
	ProtoSpan	activity_id;
	ProtoSpan	activity_type;
	ProtoSpan	run_id;			/* of a standalone one */
	int64		status;			/* of a standalone one: ActivityStatus */
	int64		state;			/* PendingState */
	bool		paused;
	int64		attempt;
	int64		maximum_attempts;	/* 0 = no limit */
	TimestampTz scheduled_time; /* here and below: 0 = none */
	TimestampTz last_started_time;
	TimestampTz last_heartbeat_time;
	TimestampTz next_attempt_time;
	TimestampTz expiration_time;
	TimestampTz close_time;
	bool		has_options;	/* else the next one is not known, of one that
								 * is not a standalone activity */
	int64		heartbeat_timeout;	/* microseconds; 0 = none */
	ProtoSpan	last_failure;	/* its message */
	ProtoSpan	last_failure_source;
	bool		has_failed;		/* a standalone one, for good, as its outcome
								 * says */
	ProtoSpan	end_source;		/* of the failure that was its end */
	ProtoSpan	last_worker_identity;
} DescribedActivity;

typedef void (*DescribedActivityConsumer) (void *arg, const DescribedActivity *activity);

/*
 * Give the consumer the activities of a DescribeWorkflowExecutionResponse that
 * wait for their end: of a workflow that is closed there are none.  False if the
 * bytes are no such reply; the consumer may have been called then.
 */
extern bool tc_pending_activities_read(const uint8 *reply, size_t len,
									   DescribedActivityConsumer consumer, void *arg);

/* Decode one of them, a PendingActivityInfo; false if the bytes are none. */
extern bool tc_pending_activity_read(ProtoSpan message, DescribedActivity *activity);

/* Decode a DescribeActivityExecutionResponse; false if the bytes are none. */
extern bool tc_described_activity_read(const uint8 *reply, size_t len, DescribedActivity *activity);

/* Has an attempt begun that has not ended? */
extern bool tc_pending_state_is_started(int64 state);

/* Names as Temporal has them, in lower case: scheduled, timed_out; NULL if there is none. */
extern const char *tc_pending_state_name(int64 state);
extern const char *tc_activity_status_name(int64 status);

#endif							/* TC_DESCRIPTION_H */
