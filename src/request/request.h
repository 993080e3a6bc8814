/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests to Temporal: validated and encoded in the caller's
 *	  transaction, decoded again to show whom they are about.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_H
#define TC_REQUEST_H

#include "utils/timestamp.h"

#include "request/payload.h"

/* Values of temporal.outbox.method: stored, so never renumbered */
typedef enum RequestMethod
{
	METHOD_COMPLETE = 1,
	METHOD_COMPLETE_BY_ID,
	METHOD_FAIL,
	METHOD_FAIL_BY_ID,
	METHOD_REPORT_CANCELLATION,
	METHOD_REPORT_CANCELLATION_BY_ID,
	METHOD_HEARTBEAT,
	METHOD_HEARTBEAT_BY_ID
} RequestMethod;

#define METHOD_FIRST METHOD_COMPLETE
#define METHOD_LAST METHOD_HEARTBEAT_BY_ID

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
	Payload    *value;			/* result of complete, details of all others */
	text	   *message;		/* fail: this and all that follows */
	text	   *type;
	bool		non_retryable;
	Interval   *next_retry_delay;
	bool		benign;
	text	   *stack_trace;
	Payload    *heartbeat_details;
} RequestArgs;

/*
 * Raise an error if arguments are missing or cannot be meant: no token, bytes
 * that are no token, no id, no message, a negative delay.
 */
extern void tc_request_check(RequestMethod method, const RequestArgs *args);

/*
 * A zero-terminated string of this database in UTF-8: the string itself if it
 * is that already, or palloc'd.  Raises an error where it cannot be UTF-8;
 * name says there what it is.  In SQL_ASCII, where any bytes may be, they are
 * verified.
 */
extern char *tc_string_to_utf8(const char *name, char *string, int len);

/* The same for an argument; the empty string for NULL. */
extern char *tc_text_to_utf8(const char *name, const text *value);

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
 * What a request is told apart by, from all others that were ever made: ids
 * and transaction ids come again after recovery to an earlier point in time,
 * but not at the same microsecond.
 */
typedef struct RequestIdentity
{
	int64		id;
	uint64		xid;
	TimestampTz requested_at;
} RequestIdentity;

/*
 * Encode a request whose arguments have been checked, without namespace and
 * identity.  Raises an error where a text cannot be UTF-8 or something exceeds
 * Temporal's limits.  The length goes to *len.  palloc'd.
 */
extern uint8 *tc_request_encode(RequestMethod method, const RequestArgs *args,
								const RequestIdentity *identity, size_t *len);

/* "/temporal.api.workflowservice.v1.WorkflowService/..." of a method. */
extern const char *tc_method_path(RequestMethod method);

/* Verb of a method as the view shows it: complete, fail, report_cancellation, heartbeat. */
extern const char *tc_method_verb(RequestMethod method);

extern bool tc_method_is_heartbeat(RequestMethod method);

/* Does it name the activity by ids, not by task token? */
extern bool tc_method_by_id(RequestMethod method);

/* Is there a method of that number? */
extern bool tc_method_is_valid(int method);

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
 * The identity with which a request is sent, and which Temporal keeps in the
 * history: "postgresql:<dbname>/<id>@<system identifier>/<database oid>/<xid>/
 * <when it was made, in microseconds since 1970>".  Printable ASCII; other
 * bytes of the database's name become '?'.
 *
 * The first call of a process needs a transaction, to look up the name.
 *
 * tc_identity_field() gives it as the protobuf field `identity`, ready to be
 * appended to the encoded request (fields of a message may come in any
 * order).  Returns the length; buf has room for TC_IDENTITY_FIELD_MAX bytes.
 */
#define TC_IDENTITY_MAX 256
#define TC_IDENTITY_FIELD_MAX (TC_IDENTITY_MAX + TC_FIELD_OVERHEAD)
extern size_t tc_identity_field(RequestMethod method, const RequestIdentity *identity,
								uint8 *buf);

/*
 * The same for the namespace.  buf has room for TC_FIELD_OVERHEAD bytes more
 * than it has.
 */
#define TC_FIELD_OVERHEAD 3
extern size_t tc_namespace_field(RequestMethod method, const char *namespace_utf8, uint8 *buf);

/* The identity itself, zero-terminated, in a buffer of TC_IDENTITY_MAX bytes. */
extern void tc_request_identity(const RequestIdentity *identity, char *buf);

/*
 * Is that the identity of that request, or one of its former ones?  The
 * database's name is not looked at: it may have changed since the request was
 * made or sent.  former holds what comes behind the database's name, with
 * blanks between them; it may be NULL.
 */
extern bool tc_identity_matches(const char *string, size_t len,
								const RequestIdentity *identity, const char *former);

/* When the request was made that had this former identity, the first of a list of them. */
extern TimestampTz tc_former_identity_time(const char *former);

/* Flags of a heartbeat's reply (by token and by ids alike); false if the bytes are no such reply. */
typedef struct HeartbeatReply
{
	bool		cancel_requested;
	bool		activity_paused;
	bool		activity_reset;
} HeartbeatReply;

extern bool tc_heartbeat_reply_decode(const uint8 *reply, size_t len, HeartbeatReply *result);

/* server_version of a GetSystemInfoResponse, as it came (UTF-8), palloc'd, or NULL. */
extern char *tc_system_info_decode(const uint8 *reply, size_t len);

/*
 * A request that the server refuses after it checked credentials and
 * namespace, and that cannot touch any activity: a heartbeat by id without
 * an activity id.  palloc'd.
 */
extern uint8 *tc_probe_request_encode(const char *namespace_name, size_t *len);

#endif							/* TC_REQUEST_H */
