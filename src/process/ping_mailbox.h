/*-------------------------------------------------------------------------
 *
 * ping_mailbox.h
 *	  Shared memory in which sessions ask workers for pings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PING_MAILBOX_H
#define TC_PING_MAILBOX_H

#include "storage/condition_variable.h"

/* A ping that a backend asks for */
typedef struct PingRequest
{
	int			mailbox;
	uint64		ticket;
	Oid			serverid;
	char		server[NAMEDATALEN];	/* its name, for messages */
	Oid			role;
} PingRequest;

typedef struct PingReply
{
	bool		ok;
	bool		authorized;		/* credentials and namespace accepted */
	char		address[512];
	char		server_version[64];
	char		tls_version[32];	/* "" = cleartext */
	double		round_trip_ms;
	char		error_code[64]; /* "" = none */
	char		error_message[512];
} PingReply;

/* For _PG_init's hooks; the second one is called with AddinShmemInitLock held. */
extern Size tc_ping_mailboxes_size(void);
extern void tc_ping_mailboxes_startup(void);

/*---- for the worker ----*/

/* The next ping that waits to be served by this worker, if any. */
extern bool tc_worker_take_ping(PingRequest *ping);

/* Does somebody still wait for the answer to a ping that was taken? */
extern bool tc_worker_ping_is_awaited(const PingRequest *ping);

/* Dropped if nobody waits for it any more. */
extern void tc_worker_answer_ping(const PingRequest *ping, const PingReply *reply);

/*
 * Let pings that were taken and not answered wait for the next worker.  Call
 * it before the slot is given up: the next one has pings of its own.
 */
extern void tc_worker_return_pings(void);

/*---- for backends ----*/

/*
 * Post a ping for the worker of this database and wake it.  False if all
 * mailboxes are in use, or as many as this role or database may have.  Give the mailbox back with tc_ping_abandon(), which
 * cannot fail, whatever became of it.
 */
extern bool tc_ping_post(Oid serverid, const char *server, Oid role, PingRequest *ping);
extern void tc_ping_abandon(const PingRequest *ping);

/* Where a ping is */
typedef enum PingState
{
	PING_NO_WORKER,				/* nobody is there to take it */
	PING_POSTED,				/* not taken yet */
	PING_TAKEN,
	PING_ANSWERED				/* *reply is filled in */
} PingState;

extern PingState tc_ping_state(const PingRequest *ping, PingReply *reply);

/* Broadcast when the ping is answered. */
extern ConditionVariable *tc_ping_cv(const PingRequest *ping);

#endif							/* TC_PING_MAILBOX_H */
