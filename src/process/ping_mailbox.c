/*-------------------------------------------------------------------------
 *
 * ping_mailbox.c
 *	  Shared memory in which sessions ask workers for pings.
 *
 * A mailbox belongs to a session and names a database, not a worker, because
 * workers come and go: what one has taken and not answered, the next one
 * takes.  A ticket that is never used twice tells the answer to a session
 * that has given up from the answer to the one that has its mailbox now.
 *
 * Nothing here may fail while the spinlock is held.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "process/ping_mailbox.h"
#include "process/worker_slots.h"

/*
 * For the cluster; and what of them a database, a role, and a role in a
 * database can have, so that nobody's pings keep those of others out.
 */
#define MAX_MAILBOXES 128
#define MAX_OF_DATABASE 32
#define MAX_OF_ROLE 32
#define MAX_OF_ROLE_IN_DATABASE 8

typedef enum MailboxState
{
	MAILBOX_FREE,
	MAILBOX_POSTED,
	MAILBOX_TAKEN,
	MAILBOX_ANSWERED
} MailboxState;

typedef struct Mailbox
{
	ConditionVariable cv;
	MailboxState state;
	Oid			database;
	PingRequest request;
	PingReply	reply;
} Mailbox;

typedef struct Mailboxes
{
	slock_t		mutex;			/* protects all but posted and the CVs */
	uint64		last_ticket;
	pg_atomic_uint32 posted;	/* how many, to look at them only if needed */
	Mailbox		boxes[MAX_MAILBOXES];
} Mailboxes;

static Mailboxes *mailboxes = NULL;

static int	find_free(Oid role);

Size
tc_ping_mailboxes_size(void)
{
	return MAXALIGN(sizeof(Mailboxes));
}

void
tc_ping_mailboxes_startup(void)
{
	bool		found;

	mailboxes = ShmemInitStruct("temporal_complete pings", sizeof(Mailboxes), &found);
	if (!found)
	{
		memset(mailboxes, 0, sizeof(Mailboxes));
		SpinLockInit(&mailboxes->mutex);
		pg_atomic_init_u32(&mailboxes->posted, 0);
		for (int i = 0; i < MAX_MAILBOXES; i++)
			ConditionVariableInit(&mailboxes->boxes[i].cv);
	}
}

/*---- for the worker ----*/

bool
tc_worker_take_ping(PingRequest *ping)
{
	bool		found = false;

	if (pg_atomic_read_u32(&mailboxes->posted) == 0)
		return false;

	SpinLockAcquire(&mailboxes->mutex);
	for (int i = 0; i < MAX_MAILBOXES && !found; i++)
	{
		Mailbox    *mailbox = &mailboxes->boxes[i];

		if (mailbox->state == MAILBOX_POSTED && mailbox->database == MyDatabaseId)
		{
			mailbox->state = MAILBOX_TAKEN;
			pg_atomic_fetch_sub_u32(&mailboxes->posted, 1);
			*ping = mailbox->request;
			found = true;
		}
	}
	SpinLockRelease(&mailboxes->mutex);
	return found;
}

void
tc_worker_answer_ping(const PingRequest *ping, const PingReply *reply)
{
	Mailbox    *mailbox = &mailboxes->boxes[ping->mailbox];
	bool		answered = false;

	SpinLockAcquire(&mailboxes->mutex);
	if (mailbox->state == MAILBOX_TAKEN && mailbox->request.ticket == ping->ticket)
	{
		mailbox->reply = *reply;
		mailbox->state = MAILBOX_ANSWERED;
		answered = true;
	}
	SpinLockRelease(&mailboxes->mutex);
	if (answered)
		ConditionVariableBroadcast(&mailbox->cv);
}

bool
tc_worker_ping_is_awaited(const PingRequest *ping)
{
	Mailbox    *mailbox = &mailboxes->boxes[ping->mailbox];
	bool		awaited;

	SpinLockAcquire(&mailboxes->mutex);
	awaited = mailbox->state == MAILBOX_TAKEN && mailbox->request.ticket == ping->ticket;
	SpinLockRelease(&mailboxes->mutex);
	return awaited;
}

void
tc_worker_return_pings(void)
{
	SpinLockAcquire(&mailboxes->mutex);
	for (int i = 0; i < MAX_MAILBOXES; i++)
	{
		Mailbox    *mailbox = &mailboxes->boxes[i];

		if (mailbox->state == MAILBOX_TAKEN && mailbox->database == MyDatabaseId)
		{
			mailbox->state = MAILBOX_POSTED;
			pg_atomic_fetch_add_u32(&mailboxes->posted, 1);
		}
	}
	SpinLockRelease(&mailboxes->mutex);
}

/*---- for backends ----*/

bool
tc_ping_post(Oid serverid, const char *server, Oid role, PingRequest *ping)
{
	bool		posted = false;
	int			free_one;

	memset(ping, 0, sizeof(PingRequest));
	ping->serverid = serverid;
	strlcpy(ping->server, server, sizeof(ping->server));
	ping->role = role;

	SpinLockAcquire(&mailboxes->mutex);
	free_one = find_free(role);
	if (free_one >= 0)
	{
		Mailbox    *mailbox = &mailboxes->boxes[free_one];

		ping->mailbox = free_one;
		ping->ticket = ++mailboxes->last_ticket;
		mailbox->state = MAILBOX_POSTED;
		mailbox->database = MyDatabaseId;
		mailbox->request = *ping;
		pg_atomic_fetch_add_u32(&mailboxes->posted, 1);
		posted = true;
	}
	SpinLockRelease(&mailboxes->mutex);

	if (posted)
		tc_wake_worker(MyDatabaseId, NULL);
	return posted;
}

/* A free mailbox for a ping of that role in this database; -1 = none.  Under the spinlock. */
static int
find_free(Oid role)
{
	int			of_database = 0;
	int			of_role = 0;
	int			of_both = 0;
	int			free_one = -1;

	for (int i = 0; i < MAX_MAILBOXES; i++)
	{
		const Mailbox *mailbox = &mailboxes->boxes[i];
		bool		same_database = mailbox->database == MyDatabaseId;
		bool		same_role = mailbox->request.role == role;

		if (mailbox->state == MAILBOX_FREE)
			free_one = i;
		else
		{
			of_database += same_database;
			of_role += same_role;
			of_both += same_database && same_role;
		}
	}
	if (of_database >= MAX_OF_DATABASE || of_role >= MAX_OF_ROLE || of_both >= MAX_OF_ROLE_IN_DATABASE)
		return -1;
	return free_one;
}

void
tc_ping_abandon(const PingRequest *ping)
{
	Mailbox    *mailbox = &mailboxes->boxes[ping->mailbox];
	bool		taken = false;

	SpinLockAcquire(&mailboxes->mutex);
	if (mailbox->request.ticket == ping->ticket)
	{
		if (mailbox->state == MAILBOX_POSTED)
			pg_atomic_fetch_sub_u32(&mailboxes->posted, 1);
		taken = mailbox->state == MAILBOX_TAKEN;
		mailbox->state = MAILBOX_FREE;
	}
	SpinLockRelease(&mailboxes->mutex);

	/* the worker closes its connection */
	if (taken)
		tc_wake_worker(MyDatabaseId, NULL);
}

PingState
tc_ping_state(const PingRequest *ping, PingReply *reply)
{
	Mailbox    *mailbox = &mailboxes->boxes[ping->mailbox];
	MailboxState state;

	SpinLockAcquire(&mailboxes->mutex);
	state = mailbox->state;
	if (state == MAILBOX_ANSWERED)
		*reply = mailbox->reply;
	SpinLockRelease(&mailboxes->mutex);

	switch (state)
	{
		case MAILBOX_ANSWERED:
			return PING_ANSWERED;
		case MAILBOX_TAKEN:
			return PING_TAKEN;
		default:
			return tc_has_worker(MyDatabaseId) ? PING_POSTED : PING_NO_WORKER;
	}
}

ConditionVariable *
tc_ping_cv(const PingRequest *ping)
{
	return &mailboxes->boxes[ping->mailbox].cv;
}
