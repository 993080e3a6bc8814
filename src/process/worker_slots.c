/*-------------------------------------------------------------------------
 *
 * worker_slots.c
 *	  Shared memory of the workers: who works for which database, is to look at
 *	  what, and is to leave.
 *
 * Only spinlocks here, because tc_wake_worker() is called while a transaction
 * commits, where nothing may fail: no LWLock, no palloc, no ereport in what it
 * calls.
 *
 * The life of a slot:
 *
 *	        tc_slot_reserve()        tc_worker_attach()
 *	  FREE ------------------> STARTING -----------> RUNNING
 *	   ^  ^                       |                     |
 *	   |  +--- tc_slot_release() -+                     | tc_worker_detach()
 *	   |                                                v
 *	   +-------- tc_slot_release() ----------------- EXITED
 *
 * The launcher reserves and releases, the worker does what is between.  As
 * there is one launcher, which reserves none for a database that has one, a
 * database never has two workers.  A slot is released while it is STARTING if
 * its worker never came, or the database turned out to be barred.
 *
 * No wake is lost on the way: a wake marks the slot of a worker that starts or
 * runs, and whoever finds no such slot tells the launcher; a worker gives its
 * slot up under the same spinlock, and the launcher starts another one if a
 * mark was left there.
 *
 * A crash of any process that is attached to shared memory makes the
 * postmaster initialize it anew, so nothing here outlives a process that was
 * killed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "base/event_loop.h"
#include "compat.h"
#include "process/in_flight.h"
#include "process/launcher_state.h"
#include "process/wake_marks.h"
#include "process/worker_slots.h"

/* A worker that others wait for may go on with what is in flight for so long */
#define LEAVE_GRACE_MS 5000

typedef struct WorkerSlot
{
	slock_t		mutex;			/* protects all of it */
	SlotState	state;
	Oid			database;
	int			pid;			/* while RUNNING and EXITED */
	Latch	   *latch;			/* while RUNNING */
	bool		working;		/* it has begun to look for requests */
	WakeMarks	wakes;
	KeyMarks	keys;
	LeaveRequest leave;
	int64		leave_since;	/* monotonic ms */
	WorkerExit	exit_reason;
} WorkerSlot;

typedef struct WorkerSlots
{
	ConditionVariable worker_gone;
	int			nslots;
	WorkerSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} WorkerSlots;

static WorkerSlots *shared = NULL;

/* In a worker: its slot */
static WorkerSlot *my_slot = NULL;

static WorkerSlot *lock_slot_of(Oid database);
static void mark_key(KeyMarks *marks, const RecordedKey *key);
static void unlock_and_wake(WorkerSlot *slot);

bool
tc_preloaded(void)
{
	return shared != NULL;
}

Size
tc_worker_slots_size(void)
{
	return MAXALIGN(add_size(offsetof(WorkerSlots, slots),
							 mul_size(max_worker_processes, sizeof(WorkerSlot))));
}

void
tc_worker_slots_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("temporal_complete workers", tc_worker_slots_size(), &found);
	if (found)
		return;

	memset(shared, 0, tc_worker_slots_size());
	ConditionVariableInit(&shared->worker_gone);
	shared->nslots = max_worker_processes;
	for (int i = 0; i < shared->nslots; i++)
		SpinLockInit(&shared->slots[i].mutex);
}

/*
 * Slot of the worker that starts or runs in a database, with its spinlock
 * held, or NULL.  A slot changes its database rarely, so the last one found
 * is tried first.
 */
static WorkerSlot *
lock_slot_of(Oid database)
{
	static int	last = 0;

	for (int i = 0; i < shared->nslots; i++)
	{
		int			n = (last + i) % shared->nslots;
		WorkerSlot *slot = &shared->slots[n];

		/* A torn or stale look is no harm: what is true is seen below. */
		if (*(volatile Oid *) &slot->database != database)
			continue;
		SpinLockAcquire(&slot->mutex);
		if (slot->database == database &&
			(slot->state == SLOT_STARTING || slot->state == SLOT_RUNNING))
		{
			last = n;
			return slot;
		}
		SpinLockRelease(&slot->mutex);
	}
	return NULL;
}

/*---- for the worker ----*/

void
tc_worker_attach(void)
{
	WorkerSlot *slot;
	bool		leave = false;

	Assert(my_slot == NULL);
	if (shared == NULL)
		proc_exit(0);

	slot = lock_slot_of(MyDatabaseId);
	if (slot != NULL)
	{
		if (slot->state == SLOT_STARTING)
		{
			slot->state = SLOT_RUNNING;
			slot->pid = MyProcPid;
			slot->latch = MyLatch;
			leave = slot->leave != LEAVE_NOT;
			my_slot = slot;
		}
		SpinLockRelease(&slot->mutex);
	}
	if (my_slot == NULL)
		proc_exit(0);
	tc_in_flight_attach(my_slot - shared->slots);

	if (leave)
	{
		tc_worker_detach(WORKER_EXIT_ASKED);
		proc_exit(0);
	}
}

bool
tc_worker_take_wakes(WokenQueues *woken, bool *look, bool *all)
{
	bool		pending;
	bool		first;

	SpinLockAcquire(&my_slot->mutex);
	first = !my_slot->working;
	my_slot->working = true;
	pending = tc_wake_marks_take(&my_slot->wakes, woken, look, all);
	SpinLockRelease(&my_slot->mutex);

	/* The launcher may start another one now. */
	if (first)
		tc_want_worker(InvalidOid);
	return pending;
}

void
tc_worker_mute_wakes(int64 queue)
{
	SpinLockAcquire(&my_slot->mutex);
	tc_wake_marks_mute(&my_slot->wakes, queue);
	SpinLockRelease(&my_slot->mutex);
}

void
tc_worker_hear_wakes(void)
{
	SpinLockAcquire(&my_slot->mutex);
	tc_wake_marks_unmute(&my_slot->wakes);
	SpinLockRelease(&my_slot->mutex);
}

void
tc_worker_await_keys(bool awaited)
{
	SpinLockAcquire(&my_slot->mutex);
	my_slot->keys.awaited = awaited;
	SpinLockRelease(&my_slot->mutex);
}

int
tc_worker_take_keys(RecordedKey keys[TC_KEYS_MAX], bool *unnamed)
{
	KeyMarks   *marks = &my_slot->keys;
	int			count = 0;

	SpinLockAcquire(&my_slot->mutex);
	for (int share = 0; share < TC_KEY_SHARES; share++)
	{
		for (int i = 0; i < marks->counts[share]; i++)
			keys[count++] = marks->keys[share][i];
		marks->counts[share] = 0;
	}
	*unnamed = marks->unnamed;
	marks->unnamed = false;
	SpinLockRelease(&my_slot->mutex);
	return count;
}

bool
tc_worker_has_slot(void)
{
	return my_slot != NULL;
}

bool
tc_worker_detach(WorkerExit reason)
{
	WorkerSlot *slot = my_slot;

	if (slot == NULL)
		return true;

	tc_in_flight_clear();
	/* Once the slot is given up it is another's: touch it no more. */
	SpinLockAcquire(&slot->mutex);
	if (reason == WORKER_EXIT_IDLE && slot->wakes.pending && slot->leave != LEAVE_AT_ONCE)
	{
		SpinLockRelease(&slot->mutex);
		return false;
	}
	slot->state = SLOT_EXITED;
	slot->exit_reason = reason;
	slot->latch = NULL;
	SpinLockRelease(&slot->mutex);
	my_slot = NULL;
	tc_in_flight_detach();

	ConditionVariableBroadcast(&shared->worker_gone);
	tc_want_worker(InvalidOid);
	return true;
}

bool
tc_worker_asked_to_leave(bool busy)
{
	LeaveRequest leave;
	int64		since;

	if (my_slot == NULL)
		return true;
	SpinLockAcquire(&my_slot->mutex);
	leave = my_slot->leave;
	since = my_slot->leave_since;
	SpinLockRelease(&my_slot->mutex);

	if (leave == LEAVE_FOR_OTHERS)
		return (tc_in_flight_is_empty() && !busy) || tc_monotonic_ms() - since > LEAVE_GRACE_MS;
	return leave == LEAVE_AT_ONCE;
}

bool
tc_worker_leaving_soon(void)
{
	return my_slot == NULL ||
		*(volatile LeaveRequest *) &my_slot->leave != LEAVE_NOT;
}

/*---- for backends ----*/

void
tc_wake_worker(Oid database, const Wake *wake)
{
	WorkerSlot *slot = lock_slot_of(database);

	if (slot == NULL)
	{
		/*
		 * A worker that attaches meanwhile reads its first snapshot after
		 * this transaction became visible, so it misses nothing.
		 */
		tc_want_worker(database);
		return;
	}

	if (wake != NULL && !tc_wake_marks_add(&slot->wakes, wake))
	{
		SpinLockRelease(&slot->mutex);
		return;
	}

	unlock_and_wake(slot);
}

/* Whoever marked it pending sets the latch. */
static void
unlock_and_wake(WorkerSlot *slot)
{
	Latch	   *latch = slot->wakes.pending ? NULL : slot->latch;

	slot->wakes.pending = true;
	SpinLockRelease(&slot->mutex);

	/* It belongs to a PGPROC: always there, even if the worker has left. */
	if (latch != NULL)
		SetLatch(latch);
}

void
tc_tell_keys(Oid database, const KeyWake *wake)
{
	WorkerSlot *slot = lock_slot_of(database);

	if (slot == NULL)
		return;
	if (!slot->keys.awaited)
	{
		SpinLockRelease(&slot->mutex);
		return;
	}
	slot->keys.unnamed |= wake->more;
	for (int i = 0; i < wake->nkeys; i++)
		mark_key(&slot->keys, &wake->keys[i]);
	unlock_and_wake(slot);
}

static void
mark_key(KeyMarks *marks, const RecordedKey *key)
{
	int			share = TC_KEY_SHARE_OF(key->role);
	RecordedKey *is_of_queue = NULL;

	for (int i = 0; i < marks->counts[share]; i++)
	{
		RecordedKey *other = &marks->keys[share][i];

		if (other->queue != key->queue)
			continue;
		other->and_others |= key->and_others;
		if (other->hash == key->hash)
			return;
		is_of_queue = other;
	}
	if (marks->counts[share] < TC_KEYS_OF_SHARE)
		marks->keys[share][marks->counts[share]++] = *key;
	else
	{
		if (is_of_queue != NULL)
			is_of_queue->and_others = true;
		marks->unnamed = true;
	}
}

int
tc_slot_of(Oid database)
{
	WorkerSlot *slot = shared != NULL ? lock_slot_of(database) : NULL;

	if (slot == NULL)
		return TC_SLOT_NONE;
	SpinLockRelease(&slot->mutex);
	return slot - shared->slots;
}

bool
tc_has_worker(Oid database)
{
	return tc_slot_of(database) != TC_SLOT_NONE;
}

void
tc_evict_worker(Oid database, int timeout_ms)
{
	int64		deadline = tc_monotonic_ms() + timeout_ms;
	int			pid = 0;

	ConditionVariablePrepareToSleep(&shared->worker_gone);
	for (;;)
	{
		WorkerSlot *slot = lock_slot_of(database);
		Latch	   *latch;
		int64		left = deadline - tc_monotonic_ms();

		if (slot == NULL)
			break;
		if (slot->leave == LEAVE_NOT)
			slot->leave_since = tc_monotonic_ms();
		slot->leave = LEAVE_AT_ONCE;
		pid = slot->pid;
		latch = slot->latch;
		SpinLockRelease(&slot->mutex);
		if (latch != NULL)
			SetLatch(latch);
		if (left <= 0)
			break;
		ConditionVariableTimedSleep(&shared->worker_gone, left, tc_wait_event_new("TemporalCompleteEvict"));
	}
	ConditionVariableCancelSleep();

	/*
	 * The process leaves the database a moment after it gave up the slot, and
	 * nobody tells; without this wait DROP DATABASE would find it and sleep
	 * for 100 ms.
	 */
	while (pid != 0 && BackendPidGetProc(pid) != NULL &&
		   tc_monotonic_ms() < deadline)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
	}
}

/*---- for the launcher ----*/

/*
 * A worker that comes for such a slot finds none and exits, and the launcher,
 * which begins by looking at all databases, starts another.
 */
void
tc_slots_release_starting(void)
{
	for (int i = 0; i < shared->nslots; i++)
		tc_slot_release(i, SLOT_STARTING);
}

int
tc_slot_count(void)
{
	return shared->nslots;
}

void
tc_slot_view(int slot_number, SlotView *view)
{
	WorkerSlot *slot = &shared->slots[slot_number];

	SpinLockAcquire(&slot->mutex);
	view->state = slot->state;
	view->database = slot->database;
	view->working = slot->working;
	view->leave = slot->leave;
	view->leave_since = slot->leave_since;
	view->pid = slot->pid;
	view->exit_reason = slot->exit_reason;
	view->woken = slot->wakes.pending;
	SpinLockRelease(&slot->mutex);
	view->in_flight = tc_in_flight_count(slot_number);
}

int
tc_slot_reserve(Oid database)
{
	for (int i = 0; i < shared->nslots; i++)
	{
		WorkerSlot *slot = &shared->slots[i];
		bool		reserved = false;

		SpinLockAcquire(&slot->mutex);
		if (slot->state == SLOT_FREE)
		{
			slot->state = SLOT_STARTING;
			slot->database = database;
			slot->pid = 0;
			slot->latch = NULL;
			slot->working = false;
			tc_wake_marks_clear(&slot->wakes);
			memset(&slot->keys, 0, sizeof(KeyMarks));
			slot->leave = LEAVE_NOT;
			slot->exit_reason = WORKER_EXIT_CRASHED;
			reserved = true;
		}
		SpinLockRelease(&slot->mutex);
		if (!reserved)
			continue;

		/*
		 * Look at the bars only now: who bars a database looks at the slots
		 * afterwards, so one of the two sees the other.
		 */
		if (tc_database_is_barred(database))
		{
			tc_slot_release(i, SLOT_STARTING);
			return TC_SLOT_BARRED;
		}
		return i;
	}
	return TC_SLOT_NONE;
}

bool
tc_slot_release(int slot_number, SlotState state)
{
	WorkerSlot *slot = &shared->slots[slot_number];
	bool		released = false;

	SpinLockAcquire(&slot->mutex);
	if (slot->state == state)
	{
		slot->state = SLOT_FREE;
		slot->database = InvalidOid;
		released = true;
	}
	SpinLockRelease(&slot->mutex);
	if (released)
		ConditionVariableBroadcast(&shared->worker_gone);
	return released;
}

void
tc_slot_ask_to_leave(int slot_number, LeaveRequest leave)
{
	WorkerSlot *slot = &shared->slots[slot_number];
	Latch	   *latch = NULL;

	SpinLockAcquire(&slot->mutex);
	if ((slot->state == SLOT_STARTING || slot->state == SLOT_RUNNING) &&
		slot->leave < leave)
	{
		slot->leave = leave;
		slot->leave_since = tc_monotonic_ms();
		latch = slot->latch;
	}
	SpinLockRelease(&slot->mutex);
	if (latch != NULL)
		SetLatch(latch);
}
