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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "event_loop.h"
#include "launcher.h"
#include "launcher_state.h"
#include "lib/ilist.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "temporal_complete.h"
#include "utils/snapmgr.h"
#include "worker_slots.h"

/* Workers that may be starting, or looking for the extension, at once */
#define MAX_STARTING 4

/* Pause before a worker that failed is started again: doubled up to the maximum */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000

/* For so long a database to which nobody may connect is not looked at again */
#define UNUSABLE_RETRY_MS 60000

/* How often to try again while no worker can be registered */
#define STARVED_RETRY_MS 1000

/* So long that must have lasted before it is reported */
#define STARVED_REPORT_MS 2000

/* While others wait: turn of a worker, and of one with nothing in flight */
#define TURN_MS 10000
#define IDLE_TURN_MS 1000

/* A database that has a worker, or is to have one */
typedef struct DatabaseEntry
{
	dlist_node	node;
	Oid			database;
	bool		wanted;			/* start a worker when there is none */
	int			slot;			/* of its worker, -1 = none */
	BackgroundWorkerHandle *handle; /* NULL: started by a former launcher */
	int64		started_at;		/* monotonic ms */
	bool		unusable;		/* nobody may connect to it */
	int64		not_before;		/* the next start, or look */
	int			backoff_ms;		/* 0 = it did not fail */
} DatabaseEntry;

/* A worker that gave up its slot, and still has its place with the postmaster */
typedef struct LeavingWorker
{
	dlist_node	node;
	BackgroundWorkerHandle *handle;
} LeavingWorker;

/* A row of pg_database */
typedef struct DatabaseInfo
{
	Oid			database;
	char		name[NAMEDATALEN];
	bool		usable;			/* a worker can be connected to it */
} DatabaseInfo;

/* Those that wait longest come first */
static dlist_head databases = DLIST_STATIC_INIT(databases);

static dlist_head leaving = DLIST_STATIC_INIT(leaving);

/* Times are monotonic ms, 0 = not starved */
static int64 starved_retry_at = 0;
static int64 starved_since = 0;
static bool starved_reported = false;

static void reload(void);
static void look_at_wanted(void);
static void want_all(void);
static void look_at_leaving(void);
static void look_at_slots(void);
static void worker_left(DatabaseEntry *entry, const SlotView *view);
static void worker_failed(DatabaseEntry *entry);
static void start_workers(void);
static bool start_worker(DatabaseEntry *entry, const char *name);
static void starve(int nwaiting);
static void no_longer_starved(void);
static void end_a_turn(void);
static void stop_workers(void);
static long next_timeout(void);
static List *read_databases(void);
static DatabaseEntry *find_entry(Oid database);
static void forget_entry(DatabaseEntry *entry);
static void forget_handle(DatabaseEntry *entry);

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
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	wait_event = tc_wait_event_new("TemporalCompleteLauncherMain");
	tc_launcher_attach();
	tc_slots_release_starting();

	for (;;)
	{
		long		timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload();

		look_at_wanted();
		look_at_leaving();
		look_at_slots();
		if (tc_enabled)
			start_workers();
		else
			stop_workers();

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

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (was_enabled && !tc_enabled)
		ereport(LOG,
				(errmsg("temporal_complete.enabled is off: workers are stopped and requests wait")));
	else if (!was_enabled && tc_enabled)
	{
		ereport(LOG,
				(errmsg("temporal_complete.enabled is on: workers are started")));
		want_all();
	}
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
		find_entry(wanted[i])->wanted = true;

	if (look_at_all)
		want_all();

	if (look_again)
	{
		dlist_foreach(iter, &databases)
		{
			DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

			if (entry->unusable)
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
	List	   *infos = read_databases();
	ListCell   *lc;

	foreach(lc, infos)
	{
		DatabaseInfo *info = lfirst(lc);

		if (info->usable)
			find_entry(info->database)->wanted = true;
	}
	list_free_deep(infos);
}

/* Try again at once when a worker of ours has made a place free. */
static void
look_at_leaving(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &leaving)
	{
		LeavingWorker *worker = dlist_container(LeavingWorker, node, iter.cur);
		pid_t		pid;

		if (GetBackgroundWorkerPid(worker->handle, &pid) == BGWH_STOPPED)
		{
			dlist_delete(&worker->node);
			pfree(worker->handle);
			pfree(worker);
			starved_retry_at = 0;
		}
	}
}

/* Find out which workers are there, and what became of those that are not. */
static void
look_at_slots(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &databases)
		dlist_container(DatabaseEntry, node, iter.cur)->slot = -1;

	for (int i = 0; i < tc_slot_count(); i++)
	{
		DatabaseEntry *entry;
		SlotView	view;
		pid_t		pid;

		tc_slot_view(i, &view);
		if (view.state == SLOT_FREE)
			continue;
		entry = find_entry(view.database);
		switch (view.state)
		{
			case SLOT_STARTING:

				/*
				 * A worker that stopped before it came: it could not be
				 * forked, or not be connected to the database.
				 */
				if ((entry->handle == NULL ||
					 GetBackgroundWorkerPid(entry->handle, &pid) == BGWH_STOPPED) &&
					tc_slot_release(i, SLOT_STARTING))
					worker_failed(entry);
				else
					entry->slot = i;
				break;
			case SLOT_RUNNING:
				entry->slot = i;
				break;
			default:
				tc_slot_release(i, SLOT_EXITED);
				worker_left(entry, &view);
				break;
		}
	}

	/* What has a worker wants none; what has none and wants none is forgotten. */
	dlist_foreach_modify(iter, &databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

		if (entry->slot >= 0 && entry->wanted)
		{
			/* It may have looked before the one who asked was committed */
			entry->wanted = false;
			tc_launcher_served(entry->database);
			tc_wake_worker(entry->database, NULL, true);
		}
		else if (entry->slot < 0 && !entry->wanted)
			forget_entry(entry);
	}
}

static void
worker_left(DatabaseEntry *entry, const SlotView *view)
{
	switch (view->exit_reason)
	{
		case WORKER_EXIT_CRASHED:
			worker_failed(entry);
			return;
		case WORKER_EXIT_ASKED:
			entry->wanted = true;
			break;
		case WORKER_EXIT_NO_EXTENSION:
		case WORKER_EXIT_IDLE:
			if (view->woken)
				entry->wanted = true;
			break;
	}
	forget_handle(entry);
	entry->backoff_ms = 0;
	entry->not_before = 0;

	/* Others come first now. */
	dlist_delete(&entry->node);
	dlist_push_tail(&databases, &entry->node);
}

/* Start it again, but not at once if it fails again and again. */
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
	forget_handle(entry);
}

/* Start what is wanted, as far as slots of the postmaster allow. */
static void
start_workers(void)
{
	int64		now = tc_monotonic_ms();
	dlist_mutable_iter iter;
	List	   *infos = NIL;
	bool		infos_read = false;
	bool		starved = false;
	int			nstarting = 0;
	int			nwaiting = 0;

	dlist_foreach_modify(iter, &databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		SlotView	view;

		if (entry->slot < 0)
			continue;
		tc_slot_view(entry->slot, &view);
		if (!view.working)
			nstarting++;
	}

	dlist_foreach_modify(iter, &databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		DatabaseInfo *info = NULL;
		ListCell   *lc;

		if (entry->slot >= 0 || !entry->wanted || entry->not_before > now)
			continue;
		if (nstarting >= MAX_STARTING)
			break;				/* the end of a start wakes us */
		if (starved || starved_retry_at > now)
		{
			starved = true;
			nwaiting++;
			continue;
		}

		if (!infos_read)
		{
			infos = read_databases();
			infos_read = true;
		}
		foreach(lc, infos)
		{
			info = lfirst(lc);
			if (info->database == entry->database)
				break;
			info = NULL;
		}
		if (info == NULL)
		{
			tc_launcher_served(entry->database);
			forget_entry(entry);
			continue;
		}
		if (!info->usable)
		{
			/*
			 * Its sessions may ask again and again, so do not forget it at
			 * once, but neither look at it for ever.
			 */
			if (entry->unusable)
			{
				tc_launcher_served(entry->database);
				forget_entry(entry);
			}
			else
			{
				entry->unusable = true;
				entry->not_before = now + UNUSABLE_RETRY_MS;
			}
			continue;
		}
		entry->unusable = false;

		if (start_worker(entry, info->name))
		{
			if (entry->slot >= 0)
				nstarting++;
		}
		else
		{
			starved = true;
			nwaiting++;
		}
	}
	list_free_deep(infos);

	if (!starved)
		no_longer_starved();
	else if (nstarting == 0 && dlist_is_empty(&leaving))
		starve(nwaiting);
	else if (starved_retry_at <= now)
		starved_retry_at = now + STARVED_RETRY_MS;
}

/*
 * Start the worker of a database.  Leaves entry->slot < 0 if that must wait
 * because the database is barred.  False if there is no slot for a worker.
 */
static bool
start_worker(DatabaseEntry *entry, const char *name)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	int			slot;

	slot = tc_slot_reserve(entry->database);
	if (slot == TC_SLOT_BARRED)
		return true;			/* told again when it no longer is */
	if (slot < 0)
		return false;

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
		return false;
	}
	entry->handle = handle;
	entry->slot = slot;
	entry->wanted = false;
	tc_launcher_served(entry->database);
	entry->started_at = tc_monotonic_ms();
	return true;
}

/*
 * No worker can be started, and none of ours is about to make room.  There
 * is one message until all have been served.
 */
static void
starve(int nwaiting)
{
	int64		now = tc_monotonic_ms();

	if (starved_retry_at <= now)
		starved_retry_at = now + STARVED_RETRY_MS;
	if (starved_since == 0)
		starved_since = now;
	if (!starved_reported && now - starved_since >= STARVED_REPORT_MS)
	{
		starved_reported = true;
		tc_launcher_set_starved(true);
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("out of background worker slots for temporal_complete"),
				 errdetail_plural("%d database waits for a worker.",
								  "%d databases wait for a worker.",
								  nwaiting, nwaiting),
				 errhint("Consider increasing max_worker_processes; until then databases take turns.")));
	}
	end_a_turn();
}

static void
no_longer_starved(void)
{
	if (starved_reported)
		tc_launcher_set_starved(false);
	starved_retry_at = 0;
	starved_since = 0;
	starved_reported = false;
}

/*
 * Others wait: ask the worker that has run longest to leave, if its turn is
 * over.  One at a time.
 */
static void
end_a_turn(void)
{
	int64		now = tc_monotonic_ms();
	DatabaseEntry *longest = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, &databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		SlotView	view;

		if (entry->slot < 0)
			continue;
		tc_slot_view(entry->slot, &view);
		if (view.leave != LEAVE_NOT)
			return;
		if (view.state == SLOT_RUNNING &&
			now - entry->started_at >= (view.in_flight > 0 ? TURN_MS : IDLE_TURN_MS) &&
			(longest == NULL || entry->started_at < longest->started_at))
			longest = entry;
	}
	if (longest != NULL)
		tc_slot_ask_to_leave(longest->slot, LEAVE_FOR_OTHERS);
}

static void
stop_workers(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

		if (entry->slot >= 0)
			tc_slot_ask_to_leave(entry->slot, LEAVE_AT_ONCE);
	}
	no_longer_starved();
}

/* Milliseconds until there is something to do without being told; -1 = none. */
static long
next_timeout(void)
{
	int64		now = tc_monotonic_ms();
	int64		next = -1;
	dlist_iter	iter;

	if (!tc_enabled)
		return -1;
	if (starved_retry_at != 0)
		next = starved_retry_at;
	dlist_foreach(iter, &databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);

		if (entry->slot < 0 && entry->wanted && entry->not_before > now &&
			(next < 0 || entry->not_before < next))
			next = entry->not_before;
	}
	return next < 0 ? -1 : (long) Max(next - now, 0);
}

/*
 * All databases.  Templates count as not usable: they should be without
 * sessions.
 */
static List *
read_databases(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *infos = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;
		DatabaseInfo *info;

		old = MemoryContextSwitchTo(caller);
		info = palloc(sizeof(DatabaseInfo));
		info->database = row->oid;
		strlcpy(info->name, NameStr(row->datname), NAMEDATALEN);
		info->usable = !row->datistemplate && row->datallowconn &&
			row->datconnlimit != DATCONNLIMIT_INVALID_DB;
		infos = lappend(infos, info);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	MemoryContextSwitchTo(caller);
	return infos;
}

/* The entry of a database; a new one if there is none yet. */
static DatabaseEntry *
find_entry(Oid database)
{
	DatabaseEntry *entry;
	dlist_iter	iter;

	dlist_foreach(iter, &databases)
	{
		entry = dlist_container(DatabaseEntry, node, iter.cur);
		if (entry->database == database)
			return entry;
	}
	entry = MemoryContextAllocZero(TopMemoryContext, sizeof(DatabaseEntry));
	entry->database = database;
	entry->slot = -1;
	dlist_push_tail(&databases, &entry->node);
	return entry;
}

static void
forget_entry(DatabaseEntry *entry)
{
	forget_handle(entry);
	dlist_delete(&entry->node);
	pfree(entry);
}

/* The worker of an entry is no longer its own; watch it until it is gone. */
static void
forget_handle(DatabaseEntry *entry)
{
	LeavingWorker *worker;

	if (entry->handle == NULL)
		return;
	worker = MemoryContextAlloc(TopMemoryContext, sizeof(LeavingWorker));
	worker->handle = entry->handle;
	dlist_push_tail(&leaving, &worker->node);
	entry->handle = NULL;
}
