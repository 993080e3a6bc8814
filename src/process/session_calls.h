/*-------------------------------------------------------------------------
 *
 * session_calls.h
 *	  Shared memory in which sessions ask workers to call a server for them,
 *	  and are given the answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SESSION_CALLS_MAILBOX_H
#define TC_SESSION_CALLS_MAILBOX_H

#include "storage/condition_variable.h"

/* Bytes that a namespace and an id have at most: Temporal's limits, see request.h */
#define SESSION_NAME_MAX 1000

/* What a session wants to know */
typedef enum SessionCallKind
{
	CALL_PING,					/* can the server be reached and used? */
	CALL_DESCRIBE_WORKFLOW,
	CALL_DESCRIBE_ACTIVITY		/* a standalone one */
} SessionCallKind;

typedef struct SessionCall
{
	int			mailbox;
	uint64		ticket;
	SessionCallKind kind;
	Oid			serverid;
	char		server[NAMEDATALEN];	/* its name, for messages */
	Oid			role;
	/* not of CALL_PING; "" = none, and all but the namespace in UTF-8 */
	char		namespace_name[SESSION_NAME_MAX + 1];	/* if it was named */
	char		id[SESSION_NAME_MAX + 1];	/* of the workflow, or activity */
	char		run_id[SESSION_NAME_MAX + 1];
} SessionCall;

/* What became of it */
typedef struct SessionAnswer
{
	char		error_code[64]; /* "" = none */
	char		error_message[512];
	bool		not_found;		/* there is none to describe */
	/* of CALL_PING */
	bool		authorized;		/* credentials and namespace accepted */
	char		address[512];
	char		server_version[64];
	char		tls_version[32];	/* "" = cleartext */
	double		round_trip_ms;
} SessionAnswer;

/* A reply of Temporal is handed over in parts, before the answer */
#define SESSION_PART_SIZE 8192

typedef struct SessionPart
{
	size_t		offset;			/* in the reply; 0: it begins (again) */
	size_t		len;
	uint8		bytes[SESSION_PART_SIZE];
} SessionPart;

/* For _PG_init's hooks; the second one is called with AddinShmemInitLock held. */
extern Size tc_session_calls_size(void);
extern void tc_session_calls_startup(void);

/*---- for the worker ----*/

/*
 * The next call that waits to be made by this worker, if any, of those that may
 * be begun now.  That is asked under a spinlock.
 */
extern bool tc_worker_take_call(SessionCall *call, bool (*may_begin) (const SessionCall *call));

/* Does somebody still wait for the answer to a call that was taken? */
extern bool tc_worker_call_is_awaited(const SessionCall *call);

/*
 * Hand over a part of the reply; false if the one before has not been taken
 * yet.  The worker is woken when it is.
 */
extern bool tc_worker_hand_over(const SessionCall *call, size_t offset, const uint8 *bytes, size_t len);

/* The same for the answer, which ends the call.  Dropped if nobody waits for it any more. */
extern bool tc_worker_answer_call(const SessionCall *call, const SessionAnswer *answer);

/*
 * Let calls that were taken and not answered wait for the next worker.  Call
 * it before the slot is given up: the next one has calls of its own.
 */
extern void tc_worker_return_calls(void);

/*---- for backends ----*/

/*
 * Post a call for the worker of this database and wake it.  Mailbox and ticket
 * are filled in.  False if all mailboxes are in use, or as many as this role or
 * database may have.  Give the mailbox back with tc_session_call_abandon(),
 * which cannot fail, whatever became of it.
 */
extern bool tc_session_call_post(SessionCall *call);
extern void tc_session_call_abandon(const SessionCall *call);

/* Where a call is */
typedef enum SessionCallState
{
	CALL_NO_WORKER,				/* nobody is there to take it */
	CALL_POSTED,				/* not taken yet */
	CALL_TAKEN,
	CALL_PART,					/* *part is filled in, and the next one may
								 * come */
	CALL_ENDED					/* *answer is filled in */
} SessionCallState;

extern SessionCallState tc_session_call_state(const SessionCall *call, SessionPart *part,
											  SessionAnswer *answer);

/* Broadcast when there is a part or the answer. */
extern ConditionVariable *tc_session_call_cv(const SessionCall *call);

#endif							/* TC_SESSION_CALLS_MAILBOX_H */
