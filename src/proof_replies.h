/*-------------------------------------------------------------------------
 *
 * proof_replies.h
 *	  What Temporal says about an activity's end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_REPLIES_H
#define TC_PROOF_REPLIES_H

#include "proto_reader.h"

typedef enum ActivityEventKind
{
	ACTIVITY_SCHEDULED,
	ACTIVITY_STARTED,
	ACTIVITY_COMPLETED,
	ACTIVITY_FAILED,
	ACTIVITY_TIMED_OUT,
	ACTIVITY_CANCELED
} ActivityEventKind;

/* An event of a workflow's history about an activity; spans lie in the reply */
typedef struct ActivityEvent
{
	ActivityEventKind kind;
	int64		event_id;
	int64		scheduled_event_id; /* of ACTIVITY_SCHEDULED: its own id */
	ProtoSpan	activity_id;	/* ACTIVITY_SCHEDULED */
	ProtoSpan	identity;		/* who closed it */
	int			attempt;		/* ACTIVITY_STARTED: the last one */
	ProtoSpan	last_failure_source;	/* of the attempt before the last one:
										 * ACTIVITY_STARTED, ACTIVITY_TIMED_OUT */
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

typedef struct WorkflowDescription
{
	bool		is_running;
	bool		has_pending_workflow_task;
	bool		has_pending_activity;	/* the one that was asked about */
	int			attempt;		/* its attempt */
	ProtoSpan	last_failure_source;
} WorkflowDescription;

/* Decode a DescribeWorkflowExecutionResponse; false if the bytes are none. */
extern bool tc_workflow_description_read(const uint8 *reply, size_t len, const char *activity_id,
										 WorkflowDescription *description);

typedef struct ActivityDescription
{
	bool		is_running;
	bool		is_canceled;
	bool		has_failed;		/* for good, also by a timeout */
	int			attempt;
	ProtoSpan	last_identity;	/* who ended it, or works on it */
	ProtoSpan	end_source;		/* of the failure that was its end */
	ProtoSpan	last_failure_source;	/* of an attempt's failure */
} ActivityDescription;

/* Decode a DescribeActivityExecutionResponse; false if the bytes are none. */
extern bool tc_activity_description_read(const uint8 *reply, size_t len,
										 ActivityDescription *description);

#endif							/* TC_PROOF_REPLIES_H */
