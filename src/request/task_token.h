/*-------------------------------------------------------------------------
 *
 * task_token.h
 *	  Task tokens: telling them from other bytes, and whom they are about.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TASK_TOKEN_H
#define TC_TASK_TOKEN_H

#include "base/proto_reader.h"

/*
 * What a task token says.  Spans point into the token; an empty string and a
 * missing field are the same.  Of a standalone activity the run is the
 * activity's own, and there is no workflow.
 */
typedef struct TaskToken
{
	ProtoSpan	namespace_id;	/* a UUID, not the namespace's name, which
								 * Java's test server has */
	ProtoSpan	workflow_id;
	ProtoSpan	run_id;
	ProtoSpan	activity_id;	/* not of that test server */
	int64		scheduled_event_id;
	int32		attempt;
} TaskToken;

/*
 * Read a task token.  False if it is none: the bytes are neither a protobuf
 * message nor a token of Java's test server, or do not name a namespace and a
 * workflow or standalone activity.  Fields that are not known are passed over,
 * because newer servers add some.
 */
extern bool tc_task_token_decode(const uint8 *token, size_t len, TaskToken *result);

/*
 * Would Temporal's server be able to read the token?  Besides the above its
 * strings have to be UTF-8.
 */
extern bool tc_task_token_is_valid(const uint8 *token, size_t len);

#endif							/* TC_TASK_TOKEN_H */
