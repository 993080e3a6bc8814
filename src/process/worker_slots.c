/*-------------------------------------------------------------------------
 *
 * worker_slots.c
 *	  Shared memory of the workers: who works for which database, what it is
 *	  to look at, and what it has in flight.
 *
 * Only spinlocks and atomics here, because tc_wake_worker() is called while a
 * transaction commits, where nothing may fail: no LWLock, no palloc, no
 * ereport in what it calls.
 *
 * A slot goes FREE -> STARTING -> RUNNING -> EXITED -> FREE.  The launcher
 * takes the first and the last step, the worker those between, so that a
 * database never has two workers.  No wake is lost on the way: a wake marks
 * the slot of a worker that starts or runs, and whoever finds no such slot
 * tells the launcher; a worker gives its slot up under the same spinlock, and
 * the launcher starts another one if a mark was left there.
 *
 * A crash of any process that is attached to shared memory makes the
 * postmaster initialize it anew, so nothing here outlives a process that was
 * killed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "base/event_loop.h"
#include "compat.h"
#include "process/launcher_state.h"
#include "process/worker_slots.h"

#define OUTCOME_CVS 16

/* A worker that others wait for may go on with what is in flight for so long */
#define LEAVE_GRACE_MS 5000

typedef struct WorkerSlot
{
	slock_t		mutex;			/* protects all up to exit_reason */
	SlotState	state;
	Oid			database;
	int			pid;			/* while RUNNING and EXITED */
	Latch	   *latch;			/* while RUNNING */
	bool		pending;		/* something was woken since it last looked */
	bool		wake_look;
	bool		wake_all;
	bool		working;
	WokenQueues woken;
	int64		muted[TC_WAKE_BITS];	/* for each bit, a queue that need not
										 * wake it; 0 = none */
	bool		some_muted;
	LeaveRequest leave;
	int64		leave_since;	/* monotonic ms */
	WorkerExit	exit_reason;

	pg_atomic_uint32 in_flight; /* how many */
	pg_atomic_uint32 in_flight_end; /* no place from here on was ever used */
	pg_atomic_uint64 in_flight_ids[TC_MAX_IN_FLIGHT];
} WorkerSlot;

typedef struct WorkerSlots
{
	ConditionVariable worker_gone;
	ConditionVariableMinimallyPadded outcomes[OUTCOME_CVS];
	int			nslots;
	WorkerSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} WorkerSlots;

static WorkerSlots *shared = NULL;

/* In a worker: its slot */
static WorkerSlot *my_slot = NULL;
static uint32 my_in_flight = 0;

static WorkerSlot *lock_slot_of(Oid database);
static bool mark(WorkerSlot *slot, const Wake *wake);
static void mark_queue(WokenQueues * woken, int bit, int64 queue);

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

	memset(shared, 0, offsetof(WorkerSlots, slots));
	ConditionVariableInit(&shared->worker_gone);
	for (int i = 0; i < OUTCOME_CVS; i++)
		ConditionVariableInit(&shared->outcomes[i].cv);
	shared->nslots = max_worker_processes;
	for (int i = 0; i < shared->nslots; i++)
	{
		WorkerSlot *slot = &shared->slots[i];

		memset(slot, 0, offsetof(WorkerSlot, in_flight));
		SpinLockInit(&slot->mutex);
		pg_atomic_init_u32(&slot->in_flight, 0);
		pg_atomic_init_u32(&slot->in_flight_end, 0);
		for (int j = 0; j < TC_MAX_IN_FLIGHT; j++)
			pg_atomic_init_u64(&slot->in_flight_ids[j], 0);
	}
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

	if (leave)
	{
		tc_worker_detach(WORKER_EXIT_ASKED);
		proc_exit(0);
	}
}

bool
tc_worker_take_wakes(WokenQueues * woken, bool *look, bool *all)
{
	bool		pending;
	bool		first;

	SpinLockAcquire(&my_slot->mutex);
	first = !my_slot->working;
	my_slot->working = true;
	pending = my_slot->pending;
	*look = my_slot->wake_look;
	*all = my_slot->wake_all;
	memcpy(woken->bits, my_slot->woken.bits, sizeof(woken->bits));
	for (int word = 0; word < TC_WAKE_WORDS; word++)
		if (woken->bits[word] != 0)
			memcpy(&woken->queues[word * 32], &my_slot->woken.queues[word * 32],
				   32 * sizeof(int64));
	if (pending)
	{
		my_slot->pending = false;
		my_slot->wake_look = false;
		my_slot->wake_all = false;
		memset(my_slot->woken.bits, 0, sizeof(my_slot->woken.bits));
	}
	SpinLockRelease(&my_slot->mutex);

	/* The launcher may start another one now. */
	if (first)
		tc_want_worker(InvalidOid);
	return pending;
}

/* If two queues have the same bit, one of them is muted. */
void
tc_worker_mute_wakes(int64 queue)
{
	SpinLockAcquire(&my_slot->mutex);
	my_slot->muted[tc_wake_bit(queue)] = queue;
	my_slot->some_muted = true;
	SpinLockRelease(&my_slot->mutex);
}

void
tc_worker_hear_wakes(void)
{
	SpinLockAcquire(&my_slot->mutex);
	memset(my_slot->muted, 0, sizeof(my_slot->muted));
	my_slot->some_muted = false;
	SpinLockRelease(&my_slot->mutex);
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
	int			end;

	if (slot == NULL)
		return true;

	end = pg_atomic_read_u32(&slot->in_flight_end);
	for (int i = 0; i < end; i++)
		pg_atomic_write_u64(&slot->in_flight_ids[i], 0);
	pg_atomic_write_u32(&slot->in_flight_end, 0);
	pg_atomic_write_u32(&slot->in_flight, 0);
	my_in_flight = 0;

	/* Once the slot is given up it is another's: touch it no more. */
	SpinLockAcquire(&slot->mutex);
	if (reason == WORKER_EXIT_IDLE && slot->pending && slot->leave != LEAVE_AT_ONCE)
	{
		SpinLockRelease(&slot->mutex);
		return false;
	}
	slot->state = SLOT_EXITED;
	slot->exit_reason = reason;
	slot->latch = NULL;
	SpinLockRelease(&slot->mutex);
	my_slot = NULL;

	/* They may be waited for. */
	ConditionVariableBroadcast(tc_outcomes_cv());
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
		return (my_in_flight == 0 && !busy) || tc_monotonic_ms() - since > LEAVE_GRACE_MS;
	return leave == LEAVE_AT_ONCE;
}

bool
tc_worker_leaving_soon(void)
{
	return my_slot == NULL ||
		*(volatile LeaveRequest *) &my_slot->leave != LEAVE_NOT;
}

void
tc_worker_set_in_flight(int place, int64 id)
{
	pg_atomic_uint64 *entry;
	bool		was_used;

	Assert(place >= 0 && place < TC_MAX_IN_FLIGHT);
	if (my_slot == NULL)
		return;					/* what ends after the slot was given up */
	entry = &my_slot->in_flight_ids[place];
	was_used = pg_atomic_read_u64(entry) != 0;
	pg_atomic_write_u64(entry, (uint64) id);
	if (was_used != (id != 0))
		pg_atomic_write_u32(&my_slot->in_flight,
							was_used ? --my_in_flight : ++my_in_flight);
	if (place >= (int) pg_atomic_read_u32(&my_slot->in_flight_end))
	{
		pg_write_barrier();
		pg_atomic_write_u32(&my_slot->in_flight_end, place + 1);
	}
}

void
tc_worker_outcomes_recorded(void)
{
	ConditionVariableBroadcast(tc_outcomes_cv());
}

/*---- for backends ----*/

void
tc_wake_worker(Oid database, const Wake *wake)
{
	WorkerSlot *slot = lock_slot_of(database);
	Latch	   *latch;

	if (slot == NULL)
	{
		/*
		 * A worker that attaches meanwhile reads its first snapshot after
		 * this transaction became visible, so it misses nothing.
		 */
		tc_want_worker(database);
		return;
	}

	if (wake != NULL && !mark(slot, wake))
	{
		SpinLockRelease(&slot->mutex);
		return;
	}

	/* Whoever marked it pending sets the latch. */
	latch = slot->pending ? NULL : slot->latch;
	slot->pending = true;
	SpinLockRelease(&slot->mutex);

	/* It belongs to a PGPROC: always there, even if the worker has left. */
	if (latch != NULL)
		SetLatch(latch);
}

static void
mark_queue(WokenQueues * woken, int bit, int64 queue)
{
	if (!tc_wake_bit_is_set(woken->bits, bit))
		woken->queues[bit] = queue;
	else if (woken->queues[bit] != queue)
		woken->queues[bit] = TC_WAKE_SEVERAL;
	tc_wake_bit_set(woken->bits, bit);
}

/* Note what a wake is about; false if the worker need not hear of it.  Under the spinlock. */
static bool
mark(WorkerSlot *slot, const Wake *wake)
{
	bool		heard = wake->look || wake->all || wake->touch;

	slot->wake_look |= wake->look;
	slot->wake_all |= wake->all;
	if (wake->more)
	{
		for (int bit = 0; bit < TC_WAKE_BITS; bit++)
			if (tc_wake_bit_is_set(wake->bits, bit))
				mark_queue(&slot->woken, bit, TC_WAKE_SEVERAL);
		return true;
	}
	for (int i = 0; i < wake->nqueues; i++)
	{
		int64		queue = wake->queues[i];

		if (slot->some_muted && slot->muted[tc_wake_bit(queue)] == queue)
			continue;
		mark_queue(&slot->woken, tc_wake_bit(queue), queue);
		heard = true;
	}
	return heard;
}

bool
tc_has_worker(Oid database)
{
	WorkerSlot *slot = lock_slot_of(database);

	if (slot != NULL)
		SpinLockRelease(&slot->mutex);
	return slot != NULL;
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

int64 *
tc_in_flight_ids(int *count)
{
	int64	   *ids = NULL;
	WorkerSlot *slot = shared ? lock_slot_of(MyDatabaseId) : NULL;

	*count = 0;
	if (slot != NULL)
	{
		int			end;

		SpinLockRelease(&slot->mutex);
		end = pg_atomic_read_u32(&slot->in_flight_end);
		pg_read_barrier();
		ids = palloc(sizeof(int64) * Max(end, 1));
		for (int i = 0; i < end; i++)
		{
			int64		id = pg_atomic_read_u64(&slot->in_flight_ids[i]);

			if (id != 0)
				ids[(*count)++] = id;
		}
	}
	return ids;
}

ConditionVariable *
tc_outcomes_cv(void)
{
	if (shared == NULL)
		return NULL;
	return &shared->outcomes[murmurhash32(MyDatabaseId) % OUTCOME_CVS].cv;
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
	view->woken = slot->pending;
	SpinLockRelease(&slot->mutex);
	view->in_flight = pg_atomic_read_u32(&slot->in_flight);
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
			slot->pending = false;
			slot->wake_look = false;
			slot->wake_all = false;
			slot->working = false;
			memset(slot->woken.bits, 0, sizeof(slot->woken.bits));
			memset(slot->muted, 0, sizeof(slot->muted));
			slot->some_muted = false;
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
