/*-------------------------------------------------------------------------
 *
 * request_fields.h
 *	  Fields of encoded requests: those that say whom a request is about, and
 *	  those that are added when it is sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_FIELDS_H
#define TC_REQUEST_FIELDS_H

#include "request/identity.h"
#include "request/method.h"

/*
 * What a request is about; UTF-8 as on the wire, NULL where unknown.
 * For a request by task token the ids are those in the token.
 */
typedef struct RequestTarget
{
	char	   *workflow_id;	/* NULL for a standalone activity */
	char	   *run_id;
	char	   *activity_id;
	const uint8 *task_token;	/* points into the request; NULL by id */
	size_t		task_token_len;
	int64		scheduled_event_id; /* 0 if not known */
	int32		attempt;		/* 0 if not known */
} RequestTarget;

/*
 * Decode what an encoded request is about, into CurrentMemoryContext.
 * False if the bytes are no such request.  Never raises an error but for
 * lack of memory.
 */
extern bool tc_request_decode(RequestMethod method, const uint8 *request, size_t len,
							  RequestTarget *target);

/* Is it a failure after which Temporal may start another attempt? */
extern bool tc_request_may_be_retried(RequestMethod method, const uint8 *request, size_t len);

/*
 * The same request by the ids that its task token has: the method, and the
 * bytes, palloc'd.  Only of those that end an activity whichever attempt it is
 * on.  NULL if it is none of them, or the token does not tell.
 */
extern uint8 *tc_request_by_ids(RequestMethod *method, const uint8 *request, size_t len,
								size_t *new_len);

/*
 * A request that was encoded before its activity was known, for the activity
 * that an encoded heartbeat (recorded) names, and with that identity: the
 * method, and the bytes, palloc'd.  NULL if one of the two cannot be read.
 */
extern uint8 *tc_request_for_activity(RequestMethod *method, const uint8 *request, size_t len,
									  RequestMethod recorded_method, const uint8 *recorded,
									  size_t recorded_len, const RequestIdentity *identity,
									  size_t *new_len);

/*
 * The protobuf fields `namespace` and `identity`, ready to be appended to the
 * encoded request (fields of a message may come in any order).  They return
 * the length; buf has room for TC_FIELD_OVERHEAD bytes more than the namespace
 * has, or for TC_IDENTITY_FIELD_MAX bytes.  See also tc_request_identity().
 */
#define TC_FIELD_OVERHEAD 3
#define TC_IDENTITY_FIELD_MAX (TC_IDENTITY_MAX + TC_FIELD_OVERHEAD)
extern size_t tc_namespace_field(RequestMethod method, const char *namespace_utf8, uint8 *buf);
extern size_t tc_identity_field(RequestMethod method, const RequestIdentity *identity,
								uint8 *buf);

#endif							/* TC_REQUEST_FIELDS_H */
