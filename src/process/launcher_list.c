/*-------------------------------------------------------------------------
 *
 * launcher_list.c
 *	  The launcher's list: databases that have a worker, or are to have one.
 *
 * Nothing here decides: what makes a database's state change is launcher.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/event_loop.h"
#include "process/launcher_list.h"

/* A worker that gave up its slot, and still has its place with the postmaster */
typedef struct LeavingWorker
{
	dlist_node	node;
	BackgroundWorkerHandle *handle;
} LeavingWorker;

dlist_head	tc_launcher_list = DLIST_STATIC_INIT(tc_launcher_list);

static dlist_head leaving = DLIST_STATIC_INIT(leaving);

static void worker_leaves(DatabaseEntry *entry);

bool
tc_database_waits(const DatabaseEntry *entry)
{
	return entry->slot < 0 && entry->wanted && entry->not_before <= tc_monotonic_ms();
}

int
tc_count_waiting(void)
{
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &tc_launcher_list)
	{
		if (tc_database_waits(dlist_container(DatabaseEntry, node, iter.cur)))
			count++;
	}
	return count;
}

DatabaseEntry *
tc_launcher_entry(Oid database)
{
	DatabaseEntry *entry;
	dlist_iter	iter;

	dlist_foreach(iter, &tc_launcher_list)
	{
		entry = dlist_container(DatabaseEntry, node, iter.cur);
		if (entry->database == database)
			return entry;
	}
	entry = MemoryContextAllocZero(TopMemoryContext, sizeof(DatabaseEntry));
	entry->database = database;
	entry->slot = -1;
	dlist_push_tail(&tc_launcher_list, &entry->node);
	return entry;
}

void
tc_launcher_forget(DatabaseEntry *entry)
{
	worker_leaves(entry);
	dlist_delete(&entry->node);
	pfree(entry);
}

void
tc_launcher_worker_gone(DatabaseEntry *entry)
{
	worker_leaves(entry);
	dlist_delete(&entry->node);
	dlist_push_tail(&tc_launcher_list, &entry->node);
}

/* The worker of an entry is no longer its own; watch it until it is gone. */
static void
worker_leaves(DatabaseEntry *entry)
{
	LeavingWorker *worker;

	if (entry->handle == NULL)
		return;
	worker = MemoryContextAlloc(TopMemoryContext, sizeof(LeavingWorker));
	worker->handle = entry->handle;
	dlist_push_tail(&leaving, &worker->node);
	entry->handle = NULL;
}

bool
tc_launcher_place_is_coming(void)
{
	return !dlist_is_empty(&leaving);
}

bool
tc_launcher_place_has_come(void)
{
	bool		has_come = false;
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
			has_come = true;
		}
	}
	return has_come;
}
