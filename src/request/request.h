/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests to Temporal: validated and encoded in the caller's
 *	  transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_H
#define TC_REQUEST_H

#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "request/identity.h"
#include "request/method.h"
#include "request/payload.h"

/*
 * What the caller of a verb gives; NULL where SQL's NULL was given.  Texts
 * are in the database's encoding.  Each method looks at its own arguments
 * only.
 */
typedef struct RequestArgs
{
	bytea	   *task_token;		/* methods by token */
	text	   *workflow_id;	/* methods by ids; empty = standalone activity */
	text	   *activity_id;
	text	   *run_id;			/* NULL = the current run */
	Interval   *wait_for_activity;	/* NULL = it has to be there */
	Interval   *wait_for_key;	/* by key: NULL = it has to be recorded */
	bool		awaits_key;		/* by token, of which nothing is known yet */
	Payload    *value;			/* result of complete, details of all others */
	text	   *message;		/* fail: this and all that follows */
	text	   *type;
	bool		non_retryable;
	Interval   *next_retry_delay;
	bool		benign;
	text	   *stack_trace;
	Jsonb	   *cause;			/* looked at when it is encoded */
	Payload    *heartbeat_details;
} RequestArgs;

/*
 * Raise an error if arguments are missing or cannot be meant: no token, bytes
 * that are no token, no id, no message, a negative delay.
 */
extern void tc_request_check(RequestMethod method, const RequestArgs *args);

/*
 * Raise an error if a request cannot wait so long for its activity, or for its
 * key; NULL can be meant.
 */
extern void tc_request_check_wait(const Interval *wait);
extern void tc_request_check_key_wait(const Interval *wait);

/*
 * Until when a request that is made then waits for its activity to be
 * scheduled, or with awaits_key for its key to be recorded; 0 = it does not.
 * Raises an error where that is no time.
 */
extern TimestampTz tc_request_awaited_until(const RequestArgs *args, TimestampTz requested_at);

/*
 * Raise an error if an interval is negative, or more than Temporal knows; less
 * than a second is an error, too, if that is too short.
 */
extern void tc_interval_check(const char *name, const Interval *interval, bool short_is_error,
							  const char *detail, const char *hint);

/* tc_text_to_utf8() for an id; also an error if it exceeds Temporal's limit (limit.maxIDLength), TC_ID_MAX bytes. */
#define TC_ID_MAX 1000
extern char *tc_id_to_utf8(const char *name, const text *value);

/*
 * A namespace, given in the database's encoding, in UTF-8: the string itself,
 * or palloc'd.  Raises an error where it cannot be UTF-8 or exceeds Temporal's
 * limit, TC_NAMESPACE_MAX bytes.
 */
#define TC_NAMESPACE_MAX 1000
extern const char *tc_namespace_to_utf8(const char *namespace_name);

/*
 * Why a namespace cannot be sent, as a constant, or NULL: for the worker, which
 * must not raise errors for what somebody wrote into an option.  Needs a
 * transaction.
 */
extern const char *tc_namespace_problem(const char *namespace_name);

/*
 * Encode a request whose arguments have been checked, without namespace and
 * identity; with awaits_key also without its activity, see
 * tc_request_for_activity().  Raises an error where a text cannot be UTF-8 or something exceeds
 * Temporal's limits.  The length goes to *len.  palloc'd.
 */
extern uint8 *tc_request_encode(RequestMethod method, const RequestArgs *args,
								const RequestIdentity *identity, size_t *len);

/*
 * A request that the server refuses after it checked credentials and
 * namespace, and that cannot touch any activity: a heartbeat by id without
 * an activity id, or of METHOD_HEARTBEAT without a token.  palloc'd.
 */
extern uint8 *tc_probe_request_encode(RequestMethod method, const char *namespace_name, size_t *len);

#endif							/* TC_REQUEST_H */
