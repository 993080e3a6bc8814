/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The process that starts a worker in each database that needs one.
 *
 * At its start the launcher has a worker look at every database; those
 * without the extension leave again.  Later it acts when it is told that a
 * database wants a worker (tc_want_worker) or that a worker has left.  It
 * is connected to no database.  With nothing to do it sleeps without a
 * timeout and opens no transaction.
 *
 * What happened to a worker is read from its slot in shared memory, not from
 * its exit code.  Workers are never restarted by the postmaster, because
 * only the launcher knows whether they are wanted.
 *
 * The states of a database in the launcher's eyes are drawn in launcher_list.h.
 * Each turn of the loop takes the steps between them: first those that others
 * cause (a wish, a worker that has left), then, if workers are to be at all,
 * those that lead to a worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "compat.h"
#include "process/crash_memory.h"
#include "process/launcher.h"
#include "process/launcher_databases.h"
#include "process/launcher_list.h"
#include "process/launcher_state.h"
#include "process/launcher_turns.h"
#include "process/statistics.h"
#include "process/termination.h"
#include "process/worker_slots.h"

/* Workers that may be starting, or looking for the extension, at once */
#define MAX_STARTING 4

/* Pause before a worker that ended with an error is started again: doubled up to the maximum */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000

/* For so long a database to which nobody may connect is not looked at again */
#define UNUSABLE_RETRY_MS 60000

/* A worker that has not begun to work after that keeps no other from starting */
#define STARTING_MS 10000

/* How often to look at all databases, if more want a worker than the list holds */
#define LOOK_AT_ALL_MS 1000

/* Workers that have a slot */
typedef struct WorkerCount
{
	int			all;
	int			starting;		/* not for longer than STARTING_MS */
} WorkerCount;

/*
 * Monotonic ms: when this turn of the loop began.  What was to come then may
 * not have been seen in this turn, even if its time is over at its end.
 */
static int64 turn_began = 0;

/* Monotonic ms: before that, not even the launcher's own work begins: it crashed */
static int64 begin_at = 0;

/* Monotonic ms: not before that are all databases looked at again */
static int64 look_at_all_after = 0;

/* Monotonic ms: when something that takes too long is to be looked at; 0 = nothing does */
static int64 check_at = 0;

static void reload(void);
static void report_missing_databases(void);
static void look_at_wanted(void);
static void want_all(void);
static void look_at_slots(void);
static void look_at_slot(int slot);
static bool never_comes(const DatabaseEntry *entry);
static void settle_wishes(void);
static void worker_left(DatabaseEntry *entry, const SlotView *view);
static void worker_failed(DatabaseEntry *entry);
static void start_workers(void);
static WorkerCount count_workers(void);
static Shortage start_in_turn(WorkerCount *workers);
static bool may_have_worker(DatabaseEntry *entry, const DatabaseInfo *info);
static Shortage start_worker(DatabaseEntry *entry, const char *name, int nworkers);
static void stop_workers(void);
static void check_again_at(int64 time);
static long next_timeout(void);

void
tc_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "temporal_complete", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "tc_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "temporal_complete launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "temporal_complete launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
tc_launcher_main(Datum arg)
{
	uint32		wait_event;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	tc_terminate_quietly();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	/* a signal that came before there was a handler is lost */
	ProcessConfigFile(PGC_SIGHUP);

	wait_event = tc_wait_event_new("TemporalCompleteLauncherMain");
	tc_crashes_read(tc_launcher_attach());
	tc_crash_mark(InvalidOid);
	begin_at = tc_crashes_not_before(InvalidOid, NULL);
	tc_slots_release_starting();
	tc_statistics_begin();
	if (*tc_databases != '\0')
		report_missing_databases();

	for (;;)
	{
		long		timeout;

		if (ProcDiePending)
		{
			/* an ordinary end */
			tc_crashes_forget_all();
			proc_exit(1);
		}
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload();

		check_at = 0;
		turn_began = tc_monotonic_ms();
		if (begin_at <= turn_began)
		{
			look_at_wanted();
			if (tc_launcher_place_has_come())
				tc_shortage_retry_now();
			look_at_slots();
			if (tc_enabled)
				start_workers();
			else
				stop_workers();
		}

		timeout = next_timeout();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, wait_event);
		ResetLatch(MyLatch);
	}
}

static void
reload(void)
{
	bool		was_enabled = tc_enabled;
	char	   *old_databases = pstrdup(tc_databases);
	bool		databases_changed;
	dlist_iter	iter;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (was_enabled && !tc_enabled)
		ereport(LOG,
				(errmsg("temporal_complete.enabled is off: workers are stopped and requests wait")));
	else if (!was_enabled && tc_enabled)
		ereport(LOG,
				(errmsg("temporal_complete.enabled is on: workers are started")));
	databases_changed = strcmp(old_databases, tc_databases) != 0;
	pfree(old_databases);
	if (databases_changed)
		report_missing_databases();
	if (databases_changed || (tc_enabled && !was_enabled))
		want_all();

	/*
	 * whatever was the reason for which a database has no worker, it may be
	 * gone
	 */
	tc_crashes_try_again();
	begin_at = 0;
	dlist_foreach(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

		if (entry->not_before == TC_NEVER)
			entry->not_before = 0;
	}
	tc_shortage_retry_now();
}

static void
report_missing_databases(void)
{
	List	   *infos = tc_read_databases();

	tc_report_missing_databases(infos);
	list_free_deep(infos);
}

/* Note which databases were asked for. */
static void
look_at_wanted(void)
{
	Oid			wanted[TC_MAX_WANTED];
	bool		look_at_all;
	bool		look_again;
	int			n = tc_launcher_wanted(wanted, &look_at_all, &look_again);
	dlist_iter	iter;

	for (int i = 0; i < n; i++)
		tc_launcher_entry(wanted[i])->wanted = true;

	/* not for each of many that cannot be served */
	if (look_at_all && look_at_all_after <= tc_monotonic_ms())
	{
		tc_launcher_looks_at_all();
		want_all();
	}
	else if (look_at_all)
		check_again_at(look_at_all_after);

	if (look_again)
	{
		dlist_foreach(iter, &tc_launcher_list)
		{
			DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

			if (entry->unusable || entry->not_before == TC_NEVER)
			{
				entry->unusable = false;
				entry->not_before = 0;
			}
		}
	}
}

static void
want_all(void)
{
	List	   *infos = tc_read_databases();
	ListCell   *lc;

	look_at_all_after = tc_monotonic_ms() + LOOK_AT_ALL_MS;
	foreach(lc, infos)
	{
		DatabaseInfo *info = lfirst(lc);
		DatabaseEntry *entry;

		if (!info->usable)
			continue;
		entry = tc_launcher_entry(info->database);
		if (info->listed)
			entry->wanted = true;
		else if (entry->slot >= 0)
			tc_slot_ask_to_leave(entry->slot, LEAVE_AT_ONCE);
	}
	list_free_deep(infos);
}

/* Find out which workers are there, and what became of those that are not. */
static void
look_at_slots(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &tc_launcher_list)
		dlist_container(DatabaseEntry, node, iter.cur)->slot = -1;
	for (int i = 0; i < tc_slot_count(); i++)
		look_at_slot(i);
	settle_wishes();
}

static void
look_at_slot(int slot)
{
	DatabaseEntry *entry;
	SlotView	view;

	tc_slot_view(slot, &view);
	if (view.state == SLOT_FREE)
		return;
	entry = tc_launcher_entry(view.database);
	switch (view.state)
	{
		case SLOT_STARTING:
			if (never_comes(entry) && tc_slot_release(slot, SLOT_STARTING))
				worker_failed(entry);
			else
				entry->slot = slot;
			break;
		case SLOT_RUNNING:
			entry->slot = slot;
			break;
		default:
			tc_slot_release(slot, SLOT_EXITED);
			worker_left(entry, &view);
			break;
	}
	if (entry->slot == slot && view.leave != LEAVE_NOT)
		check_again_at(tc_end_if_stuck(entry, &view));
}

/*
 * Has a worker that was started stopped before it took its slot?  It could not
 * be forked, or not be connected to the database.
 */
static bool
never_comes(const DatabaseEntry *entry)
{
	pid_t		pid;

	return entry->handle == NULL ||
		GetBackgroundWorkerPid(entry->handle, &pid) == BGWH_STOPPED;
}

/* What has a worker wants none; what has none and wants none is forgotten. */
static void
settle_wishes(void)
{
	static const Wake look = {.look = true};
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

		if (entry->slot >= 0 && entry->wanted)
		{
			/* It may have looked before the one who asked was committed */
			entry->wanted = false;
			tc_launcher_served(entry->database);
			tc_wake_worker(entry->database, &look);
		}
		else if (entry->slot < 0 && !entry->wanted)
			tc_launcher_forget(entry);
	}
}

/* It gave up its slot, and said why; or it did not get round to that. */
static void
worker_left(DatabaseEntry *entry, const SlotView *view)
{
	switch (view->exit_reason)
	{
		case WORKER_EXIT_CRASHED:
			worker_failed(entry);
			return;
		case WORKER_EXIT_ASKED:
		case WORKER_EXIT_REPLACED:
			entry->wanted = true;
			break;
		case WORKER_EXIT_NO_EXTENSION:
		case WORKER_EXIT_IDLE:
			if (view->woken)
				entry->wanted = true;
			break;
	}
	entry->backoff_ms = 0;
	entry->not_before = 0;
	tc_launcher_worker_gone(entry);
}

/* Start it again, but not at once if it fails again and again, and after others. */
static void
worker_failed(DatabaseEntry *entry)
{
	int64		now = tc_monotonic_ms();

	if (entry->backoff_ms == 0 || now - entry->started_at > BACKOFF_MAX_MS)
		entry->backoff_ms = BACKOFF_MIN_MS;
	else
		entry->backoff_ms = Min(entry->backoff_ms * 2, BACKOFF_MAX_MS);
	entry->not_before = now + entry->backoff_ms;
	entry->wanted = true;
	tc_launcher_worker_gone(entry);
}

/*
 * Start what is wanted, as far as there are places.  Three things are decided
 * apart: whether a database may have a worker (may_have_worker()), whose turn
 * it is, and what follows if there are too few places (launcher_turns.c).
 */
static void
start_workers(void)
{
	WorkerCount workers = count_workers();
	Shortage	shortage = SHORTAGE_NONE;

	if (tc_count_waiting() > 0)
	{
		if (workers.starting >= MAX_STARTING)
			shortage = SHORTAGE_STARTS;
		else if (!tc_shortage_lasts(&shortage))
			shortage = start_in_turn(&workers);
	}
	tc_shortage_found(shortage, workers.starting > 0 || tc_launcher_place_is_coming());

	/* the setting was lowered */
	if (workers.all > tc_max_workers)
	{
		tc_end_a_turn();
		check_again_at(tc_monotonic_ms() + STARTING_MS);
	}
}

/* How many workers there are, and how many of them are about to begin. */
static WorkerCount
count_workers(void)
{
	int64		now = tc_monotonic_ms();
	WorkerCount workers = {0};
	dlist_iter	iter;

	dlist_foreach(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		SlotView	view;

		if (entry->slot < 0)
			continue;
		workers.all++;
		tc_slot_view(entry->slot, &view);
		if (!view.working && now - entry->started_at < STARTING_MS)
		{
			workers.starting++;
			check_again_at(entry->started_at + STARTING_MS);
		}
	}
	return workers;
}

/*
 * Start workers for those that wait, one after the other, until something is
 * lacking.  Returns what.
 */
static Shortage
start_in_turn(WorkerCount *workers)
{
	List	   *infos = tc_read_databases();
	Shortage	shortage = SHORTAGE_NONE;
	dlist_mutable_iter iter;

	tc_order_by_turns(infos);
	dlist_foreach_modify(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		const DatabaseInfo *info;

		if (!tc_database_waits(entry))
			continue;
		if (workers->starting >= MAX_STARTING)
		{
			shortage = SHORTAGE_STARTS;
			break;
		}
		info = tc_find_database(infos, entry->database);
		if (!may_have_worker(entry, info))
			continue;
		shortage = start_worker(entry, info->name, workers->all);
		if (shortage != SHORTAGE_NONE)
			break;
		if (entry->slot >= 0)
		{
			workers->all++;
			workers->starting++;
		}
	}
	list_free_deep(infos);
	return shortage;
}

/*
 * May a database have a worker now, by what the catalog, the settings and its
 * former workers' crashes say?  If not, it is put off or forgotten.  info: NULL
 * if it was dropped.
 */
static bool
may_have_worker(DatabaseEntry *entry, const DatabaseInfo *info)
{
	int64		now = tc_monotonic_ms();

	if (info == NULL)
	{
		tc_crashes_forget(entry->database);
		tc_launcher_served(entry->database);
		tc_launcher_forget(entry);
		return false;
	}
	if (!info->usable && entry->unusable)
	{
		tc_launcher_served(entry->database);
		tc_launcher_forget(entry);
		return false;
	}
	entry->unusable = !info->usable;

	/*
	 * Sessions of an unusable one may ask again and again, so do not forget
	 * it at once, but neither look at it for ever.
	 */
	if (!info->usable)
		entry->not_before = now + UNUSABLE_RETRY_MS;
	else if (!info->listed)
		entry->not_before = TC_NEVER;
	else
		entry->not_before = tc_crashes_not_before(entry->database, info->name);
	return entry->not_before <= now;
}

/*
 * Start the worker of a database.  Leaves entry->slot < 0 if that must wait
 * because the database is barred.
 */
static Shortage
start_worker(DatabaseEntry *entry, const char *name, int nworkers)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	int			slot;

	if (nworkers >= tc_max_workers)
		return SHORTAGE_MAX_WORKERS;
	slot = tc_slot_reserve(entry->database);
	if (slot == TC_SLOT_BARRED)
		return SHORTAGE_NONE;	/* told again when it no longer is */
	if (slot < 0)
		return SHORTAGE_PROCESSES;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "temporal_complete", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "tc_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN,
			 "temporal_complete worker for database \"%s\"", name);
	strlcpy(worker.bgw_type, "temporal_complete worker", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(entry->database);
	worker.bgw_notify_pid = MyProcPid;

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		tc_slot_release(slot, SLOT_STARTING);
		return SHORTAGE_PROCESSES;
	}
	entry->handle = handle;
	entry->slot = slot;
	entry->wanted = false;
	tc_launcher_served(entry->database);
	entry->started_at = tc_monotonic_ms();
	return SHORTAGE_NONE;
}

static void
stop_workers(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

		if (entry->slot >= 0)
			tc_slot_ask_to_leave(entry->slot, LEAVE_AT_ONCE);
	}
	tc_shortage_over();
}

static void
check_again_at(int64 time)
{
	if (check_at == 0 || time < check_at)
		check_at = time;
}

/* Milliseconds until there is something to do without being told; -1 = none. */
static long
next_timeout(void)
{
	int64		now = tc_monotonic_ms();
	dlist_iter	iter;

	if (begin_at > turn_began)
		return (long) Max(begin_at - now, 0);
	if (tc_enabled)
	{
		if (tc_shortage_retry_at() != 0)
			check_again_at(tc_shortage_retry_at());
		dlist_foreach(iter, &tc_launcher_list)
		{
			DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

			if (entry->slot < 0 && entry->wanted && entry->not_before > turn_began &&
				entry->not_before != TC_NEVER)
				check_again_at(entry->not_before);
		}
	}
	return check_at == 0 ? -1 : (long) Max(check_at - now, 0);
}
