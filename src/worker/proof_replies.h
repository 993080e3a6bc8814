/*-------------------------------------------------------------------------
 *
 * proof_replies.h
 *	  What Temporal says about an activity's end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_REPLIES_H
#define TC_PROOF_REPLIES_H

#include "datatype/timestamp.h"

#include "base/proto_reader.h"

typedef enum ActivityEventKind
{
	ACTIVITY_SCHEDULED,
	ACTIVITY_STARTED,
	ACTIVITY_COMPLETED,
	ACTIVITY_FAILED,
	ACTIVITY_TIMED_OUT,
	ACTIVITY_CANCELED,
	RUN_STARTED,				/* of the workflow: its first event */
	RUN_RESET					/* the run goes on from here, apart from
								 * another one */
} ActivityEventKind;

/* An event of a workflow's history about an activity; spans lie in the reply */
typedef struct ActivityEvent
{
	ActivityEventKind kind;
	int64		event_id;
	TimestampTz time;			/* 0 = none */
	int64		scheduled_event_id; /* of ACTIVITY_SCHEDULED: its own id */
	ProtoSpan	activity_id;	/* ACTIVITY_SCHEDULED */
	ProtoSpan	identity;		/* who closed it */
	int			attempt;		/* ACTIVITY_STARTED: the last one */
	ProtoSpan	last_failure_source;	/* of the attempt before the last one:
										 * ACTIVITY_STARTED,
										 * ACTIVITY_TIMED_OUT */
	ProtoSpan	former_run;		/* RUN_STARTED, RUN_RESET: the one that it
								 * follows */
} ActivityEvent;

/* Takes an event; false: no more are wanted. */
typedef bool (*ActivityEventConsumer) (void *arg, const ActivityEvent *event);

/*
 * Give the consumer the events about activities in an encoded
 * GetWorkflowExecutionHistoryReverseResponse, in their order.  False if the
 * bytes are no such reply.
 */
extern bool tc_history_read(const uint8 *reply, size_t len, ActivityEventConsumer consumer,
							void *arg, ProtoSpan *next_page_token);

/* Of a workflow's run; values of Temporal's API */
typedef enum RunStatus
{
	RUN_STATUS_RUNNING = 1,
	RUN_STATUS_COMPLETED,
	RUN_STATUS_FAILED,
	RUN_STATUS_CANCELED,
	RUN_STATUS_TERMINATED,
	RUN_STATUS_CONTINUED_AS_NEW,
	RUN_STATUS_TIMED_OUT,
	RUN_STATUS_PAUSED
} RunStatus;

/* How much of the history of a run was looked through, and found not to matter */
typedef struct SeenHistory
{
	uint64		run;			/* hash of its id */
	int64		events;			/* 0 = nothing */
} SeenHistory;

typedef struct WorkflowDescription
{
	ProtoSpan	run_id;
	int64		events;			/* of its history */
	RunStatus	status;
	bool		is_running;
	bool		was_reset;		/* it was terminated so that another run goes
								 * on */
	bool		has_pending_workflow_task;
	bool		has_pending_activity;	/* the one that was asked about */
	int			attempt;		/* its attempt */
	bool		is_started;		/* that is, its attempt */
	bool		is_paused;
	TimestampTz started_at;		/* the attempt; 0 = not */
	ProtoSpan	last_failure_source;
} WorkflowDescription;

/* Decode a DescribeWorkflowExecutionResponse; false if the bytes are none. */
extern bool tc_workflow_description_read(const uint8 *reply, size_t len, const char *activity_id,
										 WorkflowDescription *description);

typedef struct ActivityDescription
{
	bool		is_running;
	bool		has_ended;		/* neither: it is not said */
	bool		is_canceled;
	bool		is_terminated;
	bool		is_timed_out;
	bool		has_failed;		/* for good, also by a timeout */
	int			attempt;
	TimestampTz scheduled_at;
	TimestampTz started_at;		/* its attempt; 0 = not */
	ProtoSpan	last_identity;	/* who ended it, or works on it */
	ProtoSpan	end_source;		/* of the failure that was its end */
	ProtoSpan	last_failure_source;	/* of an attempt's failure */
} ActivityDescription;

/* Decode a DescribeActivityExecutionResponse; false if the bytes are none. */
extern bool tc_activity_description_read(const uint8 *reply, size_t len,
										 ActivityDescription *description);

#endif							/* TC_PROOF_REPLIES_H */
