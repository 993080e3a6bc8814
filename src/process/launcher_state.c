/*-------------------------------------------------------------------------
 *
 * launcher_state.c
 *	  Shared memory of the launcher: which databases want a worker, and which
 *	  must not have one.
 *
 * What is told here may be told while a transaction commits, where nothing
 * may fail: no LWLock, no palloc, no ereport in tc_want_worker(),
 * tc_look_again() and tc_unbar_database(), only a spinlock and a latch.
 *
 * A crash of any process that is attached to shared memory makes the
 * postmaster initialize it anew, so nothing here outlives a process that was
 * killed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "compat.h"
#include "process/launcher_state.h"

/*
 * Bars that a backend can have; each has places of its own, so that nobody
 * can use up those of others.
 */
#define BARS_OF_A_BACKEND 8

typedef struct LauncherState
{
	slock_t		mutex;			/* protects all but the bars */
	Latch	   *latch;			/* NULL while there is no launcher */
	StarvedOf	starved;
	bool		launched;		/* there has been a launcher */
	bool		look_at_all;	/* wanted[] is full */
	bool		look_again;		/* databases have changed */
	int			nwanted;		/* entries stay until the launcher has served
								 * them */
	Oid			wanted[TC_MAX_WANTED];
	int			nbarred;
	Oid			barred[FLEXIBLE_ARRAY_MEMBER];	/* without the mutex: each
												 * backend writes its own only */
} LauncherState;

static LauncherState *shared = NULL;

static volatile Oid *bar_of(Oid database);
static bool is_in(const Oid *list, int count, Oid database);
static void remove_one(Oid *list, int *count, Oid database);
static void launcher_exit_callback(int code, Datum arg);

Size
tc_launcher_state_size(void)
{
	return MAXALIGN(add_size(offsetof(LauncherState, barred),
							 mul_size(tc_max_backends(), BARS_OF_A_BACKEND * sizeof(Oid))));
}

void
tc_launcher_state_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("temporal_complete launcher", tc_launcher_state_size(), &found);
	if (!found)
	{
		memset(shared, 0, tc_launcher_state_size());
		shared->nbarred = tc_max_backends() * BARS_OF_A_BACKEND;
		SpinLockInit(&shared->mutex);
	}
}

/*---- for everybody ----*/

/*
 * InvalidOid: only wake the launcher, something has changed.  A database
 * that is on the list already will be served, maybe not soon; the launcher is
 * not woken for each transaction that commits there meanwhile.
 */
void
tc_want_worker(Oid database)
{
	Latch	   *latch;

	SpinLockAcquire(&shared->mutex);
	latch = shared->latch;
	if (OidIsValid(database) && latch != NULL)
	{
		if (is_in(shared->wanted, shared->nwanted, database))
			latch = NULL;
		else if (shared->nwanted < TC_MAX_WANTED)
			shared->wanted[shared->nwanted++] = database;
		else if (!shared->look_at_all)
			shared->look_at_all = true;
		else
			latch = NULL;
	}
	SpinLockRelease(&shared->mutex);

	if (latch != NULL)
		SetLatch(latch);
}

void
tc_look_again(Oid database)
{
	if (OidIsValid(database))
		tc_want_worker(database);
	SpinLockAcquire(&shared->mutex);
	shared->look_again = true;
	shared->look_at_all |= !OidIsValid(database);
	SpinLockRelease(&shared->mutex);
	tc_want_worker(InvalidOid);
}

bool
tc_bar_database(Oid database)
{
	volatile Oid *place = bar_of(InvalidOid);

	if (place == NULL)
		return false;
	*place = database;
	/* whoever bars a database looks at the slots afterwards */
	pg_memory_barrier();
	return true;
}

void
tc_unbar_database(Oid database)
{
	volatile Oid *place = bar_of(database);

	if (place != NULL)
		*place = InvalidOid;
	pg_memory_barrier();
	tc_look_again(database);
}

bool
tc_database_is_barred(Oid database)
{
	/* whoever reserves a slot has written there */
	pg_memory_barrier();
	for (int i = 0; i < shared->nbarred; i++)
		if (((volatile Oid *) shared->barred)[i] == database)
			return true;
	return false;
}

/* The place of this backend with that value, InvalidOid: one that is free; NULL if there is none. */
static volatile Oid *
bar_of(Oid database)
{
	int			first = tc_my_backend_number() * BARS_OF_A_BACKEND;

	if (first < 0 || first >= shared->nbarred)
		return NULL;
	for (int i = 0; i < BARS_OF_A_BACKEND; i++)
		if (shared->barred[first + i] == database)
			return &shared->barred[first + i];
	return NULL;
}

/* Both are called with the spinlock held. */
static bool
is_in(const Oid *list, int count, Oid database)
{
	for (int i = 0; i < count; i++)
		if (list[i] == database)
			return true;
	return false;
}

static void
remove_one(Oid *list, int *count, Oid database)
{
	for (int i = 0; i < *count; i++)
	{
		if (list[i] == database)
		{
			list[i] = list[--*count];
			break;
		}
	}
}

StarvedOf
tc_launcher_starved(void)
{
	return *(volatile StarvedOf *) &shared->starved;
}

int
tc_launcher_count_wanted(void)
{
	return *(volatile int *) &shared->nwanted;
}

/*---- for the launcher ----*/

bool
tc_launcher_attach(void)
{
	bool		first;

	before_shmem_exit(launcher_exit_callback, (Datum) 0);
	SpinLockAcquire(&shared->mutex);
	first = !shared->launched;
	shared->launched = true;
	shared->latch = MyLatch;
	shared->nwanted = 0;
	shared->look_at_all = true;
	SpinLockRelease(&shared->mutex);
	return first;
}

static void
launcher_exit_callback(int code, Datum arg)
{
	SpinLockAcquire(&shared->mutex);
	shared->latch = NULL;
	shared->starved = STARVED_OF_NOTHING;
	SpinLockRelease(&shared->mutex);
}

void
tc_launcher_set_starved(StarvedOf starved)
{
	SpinLockAcquire(&shared->mutex);
	shared->starved = starved;
	SpinLockRelease(&shared->mutex);
}

int
tc_launcher_wanted(Oid wanted[TC_MAX_WANTED], bool *look_at_all, bool *look_again)
{
	int			n;

	SpinLockAcquire(&shared->mutex);
	n = shared->nwanted;
	memcpy(wanted, shared->wanted, sizeof(Oid) * n);
	*look_at_all = shared->look_at_all;
	*look_again = shared->look_again;
	shared->look_again = false;
	SpinLockRelease(&shared->mutex);
	return n;
}

void
tc_launcher_looks_at_all(void)
{
	SpinLockAcquire(&shared->mutex);
	shared->look_at_all = false;
	SpinLockRelease(&shared->mutex);
}

void
tc_launcher_served(Oid database)
{
	SpinLockAcquire(&shared->mutex);
	remove_one(shared->wanted, &shared->nwanted, database);
	SpinLockRelease(&shared->mutex);
}
