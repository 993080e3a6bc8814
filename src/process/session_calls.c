/*-------------------------------------------------------------------------
 *
 * session_calls.c
 *	  Shared memory in which sessions ask workers to call a server for them,
 *	  and are given the answer.
 *
 * A mailbox belongs to a session and names a database, not a worker, because
 * workers come and go: what one has taken and not answered, the next one
 * takes, and hands over its reply from the beginning.  A ticket that is never
 * used twice tells the answer to a session that has given up from the answer
 * to the one that has its mailbox now.
 *
 * Nothing here may fail while the spinlock is held; what is copied under it is
 * bounded, by SESSION_PART_SIZE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "process/session_calls.h"
#include "process/worker_slots.h"

/*
 * For the cluster; and what of them a database, a role, and a role in a
 * database can have, so that nobody's calls keep those of others out.
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
	MAILBOX_PART,				/* taken, and a part of the reply is there */
	MAILBOX_ANSWERED
} MailboxState;

typedef struct Mailbox
{
	ConditionVariable cv;
	MailboxState state;
	Oid			database;
	SessionCall call;
	SessionAnswer answer;
	SessionPart part;
} Mailbox;

typedef struct Mailboxes
{
	slock_t		mutex;			/* protects all but posted and the CVs */
	uint64		last_ticket;
	pg_atomic_uint32 posted;	/* how many, to look at them only if needed */
	Mailbox		boxes[MAX_MAILBOXES];
} Mailboxes;

static Mailboxes *mailboxes = NULL;

static bool is_taken(const Mailbox *mailbox);
static bool is_awaited(const Mailbox *mailbox, const SessionCall *call);
static int	find_free(Oid role);

Size
tc_session_calls_size(void)
{
	return MAXALIGN(sizeof(Mailboxes));
}

void
tc_session_calls_startup(void)
{
	bool		found;

	mailboxes = ShmemInitStruct("temporal_complete calls of sessions", sizeof(Mailboxes), &found);
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
tc_worker_take_call(SessionCall *call, bool (*may_begin) (const SessionCall *call))
{
	bool		found = false;

	if (pg_atomic_read_u32(&mailboxes->posted) == 0)
		return false;

	SpinLockAcquire(&mailboxes->mutex);
	for (int i = 0; i < MAX_MAILBOXES && !found; i++)
	{
		Mailbox    *mailbox = &mailboxes->boxes[i];

		if (mailbox->state == MAILBOX_POSTED && mailbox->database == MyDatabaseId &&
			may_begin(&mailbox->call))
		{
			mailbox->state = MAILBOX_TAKEN;
			pg_atomic_fetch_sub_u32(&mailboxes->posted, 1);
			*call = mailbox->call;
			found = true;
		}
	}
	SpinLockRelease(&mailboxes->mutex);
	return found;
}

/* Has a worker taken it, and not answered?  Under the spinlock, as the next one. */
static bool
is_taken(const Mailbox *mailbox)
{
	return mailbox->state == MAILBOX_TAKEN || mailbox->state == MAILBOX_PART;
}

static bool
is_awaited(const Mailbox *mailbox, const SessionCall *call)
{
	return is_taken(mailbox) && mailbox->call.ticket == call->ticket;
}

bool
tc_worker_call_is_awaited(const SessionCall *call)
{
	Mailbox    *mailbox = &mailboxes->boxes[call->mailbox];
	bool		awaited;

	SpinLockAcquire(&mailboxes->mutex);
	awaited = is_awaited(mailbox, call);
	SpinLockRelease(&mailboxes->mutex);
	return awaited;
}

bool
tc_worker_hand_over(const SessionCall *call, size_t offset, const uint8 *bytes, size_t len)
{
	Mailbox    *mailbox = &mailboxes->boxes[call->mailbox];
	bool		handed_over = false;

	Assert(len <= SESSION_PART_SIZE);
	SpinLockAcquire(&mailboxes->mutex);
	if (is_awaited(mailbox, call) && mailbox->state == MAILBOX_TAKEN)
	{
		mailbox->part.offset = offset;
		mailbox->part.len = len;
		memcpy(mailbox->part.bytes, bytes, len);
		mailbox->state = MAILBOX_PART;
		handed_over = true;
	}
	SpinLockRelease(&mailboxes->mutex);
	if (handed_over)
		ConditionVariableBroadcast(&mailbox->cv);
	return handed_over;
}

bool
tc_worker_answer_call(const SessionCall *call, const SessionAnswer *answer)
{
	Mailbox    *mailbox = &mailboxes->boxes[call->mailbox];
	bool		answered = false;
	bool		awaited;

	SpinLockAcquire(&mailboxes->mutex);
	awaited = is_awaited(mailbox, call);
	if (awaited && mailbox->state == MAILBOX_TAKEN)
	{
		mailbox->answer = *answer;
		mailbox->state = MAILBOX_ANSWERED;
		answered = true;
	}
	SpinLockRelease(&mailboxes->mutex);
	if (answered)
		ConditionVariableBroadcast(&mailbox->cv);
	return answered || !awaited;
}

void
tc_worker_return_calls(void)
{
	SpinLockAcquire(&mailboxes->mutex);
	for (int i = 0; i < MAX_MAILBOXES; i++)
	{
		Mailbox    *mailbox = &mailboxes->boxes[i];

		if (is_taken(mailbox) && mailbox->database == MyDatabaseId)
		{
			mailbox->state = MAILBOX_POSTED;
			pg_atomic_fetch_add_u32(&mailboxes->posted, 1);
		}
	}
	SpinLockRelease(&mailboxes->mutex);
}

/*---- for backends ----*/

bool
tc_session_call_post(SessionCall *call)
{
	bool		posted = false;
	int			free_one;

	SpinLockAcquire(&mailboxes->mutex);
	free_one = find_free(call->role);
	if (free_one >= 0)
	{
		Mailbox    *mailbox = &mailboxes->boxes[free_one];

		call->mailbox = free_one;
		call->ticket = ++mailboxes->last_ticket;
		mailbox->state = MAILBOX_POSTED;
		mailbox->database = MyDatabaseId;
		mailbox->call = *call;
		pg_atomic_fetch_add_u32(&mailboxes->posted, 1);
		posted = true;
	}
	SpinLockRelease(&mailboxes->mutex);

	if (posted)
		tc_wake_worker(MyDatabaseId, NULL);
	return posted;
}

/* A free mailbox for a call of that role in this database; -1 = none.  Under the spinlock. */
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
		bool		same_role = mailbox->call.role == role;

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
tc_session_call_abandon(const SessionCall *call)
{
	Mailbox    *mailbox = &mailboxes->boxes[call->mailbox];
	bool		taken = false;

	SpinLockAcquire(&mailboxes->mutex);
	if (mailbox->call.ticket == call->ticket)
	{
		if (mailbox->state == MAILBOX_POSTED)
			pg_atomic_fetch_sub_u32(&mailboxes->posted, 1);
		taken = is_awaited(mailbox, call);
		mailbox->state = MAILBOX_FREE;
	}
	SpinLockRelease(&mailboxes->mutex);

	/* the worker closes its connection */
	if (taken)
		tc_wake_worker(MyDatabaseId, NULL);
}

SessionCallState
tc_session_call_state(const SessionCall *call, SessionPart *part, SessionAnswer *answer)
{
	Mailbox    *mailbox = &mailboxes->boxes[call->mailbox];
	MailboxState state;

	SpinLockAcquire(&mailboxes->mutex);
	state = mailbox->state;
	if (state == MAILBOX_ANSWERED)
		*answer = mailbox->answer;
	else if (state == MAILBOX_PART)
	{
		part->offset = mailbox->part.offset;
		part->len = mailbox->part.len;
		memcpy(part->bytes, mailbox->part.bytes, mailbox->part.len);
		mailbox->state = MAILBOX_TAKEN;
	}
	SpinLockRelease(&mailboxes->mutex);

	switch (state)
	{
		case MAILBOX_ANSWERED:
			return CALL_ENDED;
		case MAILBOX_PART:
			tc_wake_worker(MyDatabaseId, NULL);
			return CALL_PART;
		case MAILBOX_TAKEN:
			return CALL_TAKEN;
		default:
			return tc_has_worker(MyDatabaseId) ? CALL_POSTED : CALL_NO_WORKER;
	}
}

ConditionVariable *
tc_session_call_cv(const SessionCall *call)
{
	return &mailboxes->boxes[call->mailbox].cv;
}
