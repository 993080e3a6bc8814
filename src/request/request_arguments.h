/*-------------------------------------------------------------------------
 *
 * request_arguments.h
 *	  What a verb was given, read from the encoded request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_ARGUMENTS_H
#define TC_REQUEST_ARGUMENTS_H

#include "base/proto_reader.h"
#include "request/method.h"

/*
 * Spans point into the request; one that is not there has no bytes.  Texts are
 * UTF-8, payloads encoded Payload messages, neither of which is verified.
 */
typedef struct RequestArguments
{
	ProtoSpan	task_token;
	ProtoSpan	value;			/* result or details */
	ProtoSpan	message;		/* fail: this and all that follows */
	ProtoSpan	type;
	bool		non_retryable;
	bool		has_next_retry_delay;
	int64		delay_seconds;
	int32		delay_microseconds;
	bool		benign;
	ProtoSpan	stack_trace;
	ProtoSpan	cause;			/* a Failure, see tc_failure_cause_read() */
	ProtoSpan	heartbeat_details;
} RequestArguments;

/* False if the bytes are no request of that method. */
extern bool tc_request_arguments(RequestMethod method, const uint8 *request, size_t len,
								 RequestArguments *args);

/* What a cause of a failure says; details are one payload */
typedef struct CauseArguments
{
	ProtoSpan	message;
	ProtoSpan	type;
	ProtoSpan	details;
	bool		non_retryable;
	ProtoSpan	stack_trace;
	ProtoSpan	cause;
} CauseArguments;

/* False if the bytes are no Failure. */
extern bool tc_failure_cause_read(ProtoSpan failure, CauseArguments *cause);

#endif							/* TC_REQUEST_ARGUMENTS_H */
