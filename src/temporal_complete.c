/*-------------------------------------------------------------------------
 *
 * temporal_complete.c
 *	  What happens when the library is loaded: settings, shared memory,
 *	  hooks and the launcher.
 *
 * Loaded by a session instead of the server (shared_preload_libraries), it
 * defines the settings only; requests are recorded then, and wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "base/settings.h"
#include "compat.h"
#include "functions/utility_hook.h"
#include "process/in_flight.h"
#include "process/launcher.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/session_calls.h"
#include "process/session_life.h"
#include "process/statistics.h"
#include "process/worker_slots.h"
#include "server/default_server.h"
#include "server/delivery.h"

TC_MODULE_MAGIC;

#ifdef TC_HAS_SHMEM_REQUEST_HOOK
static shmem_request_hook_type prev_shmem_request = NULL;
#endif
static shmem_startup_hook_type prev_shmem_startup = NULL;

void		_PG_init(void);

static void define_settings(void);
static void request_shmem(void);
static void start_shmem(void);

void
_PG_init(void)
{
	define_settings();

	/*
	 * A cluster that pg_upgrade has started runs nothing of ours: nothing is
	 * sent from it, and nothing is connected to its databases.
	 */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

#ifdef TC_HAS_SHMEM_REQUEST_HOOK
	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shmem;
#else
	request_shmem();
#endif
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = start_shmem;

	tc_utility_hook_init();
	tc_launcher_register();
}

/* Long because they stand in one place, one after the other. */
static void
define_settings(void)
{
	DefineCustomStringVariable("temporal_complete.databases",
							   "Sets the databases in which workers are started.",
							   "A list of names; empty or * means all. In other databases requests "
							   "are recorded and wait.",
							   &tc_databases,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   tc_check_databases, NULL, NULL);

	tc_default_server_define();
	tc_delivery_define();

	DefineCustomBoolVariable("temporal_complete.enabled",
							 "Sends requests to Temporal.",
							 "If off, workers are stopped in all databases of the cluster; "
							 "requests are recorded and wait until it is on again.",
							 &tc_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("temporal_complete.max_statistics",
							"Sets for how many roles, servers and namespaces statistics are kept apart.",
							"What finds no room is counted together, for each database. One takes "
							"about 1.5 kB of shared memory.",
							&tc_max_statistics,
							1000, 16, 100000,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("temporal_complete.max_workers",
							"Sets how many workers may run at once.",
							"There is one for each database that has requests. They are taken from "
							"max_worker_processes, which others need, too. If more databases want "
							"one, they take turns.",
							&tc_max_workers,
							4, 1, 10000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("temporal_complete.notify",
							 "Sends NOTIFY temporal_complete for requests that somebody may have to see to.",
							 "The worker does it once the outcome is recorded. A notification has "
							 "ids, of requests of all roles, for whoever listens in the database.",
							 &tc_notify,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("temporal_complete.retention",
							"Sets how long requests that were delivered can be looked at.",
							"After this time they disappear from the view temporal.request. "
							"Rejected requests are kept until they are retried or discarded.",
							&tc_retention,
							7 * 24 * 60 * 60, 60, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("temporal_complete.safety_poll_interval",
							"Sets how often a worker looks for requests that nobody told it about.",
							"Workers are woken when a transaction commits. This covers the case "
							"that a request came by another way, and costs nothing in a cluster "
							"without transactions.",
							&tc_safety_poll_interval,
							60, 1, INT_MAX / 1000,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("temporal_complete.worker_idle_timeout",
							"Sets how long a worker with nothing to do stays.",
							"The next request starts it again. -1 lets it stay forever.",
							&tc_worker_idle_timeout,
							60 * 60, -1, INT_MAX / 1000,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	MarkGUCPrefixReserved("temporal_complete");
}

static void
request_shmem(void)
{
#ifdef TC_HAS_SHMEM_REQUEST_HOOK
	if (prev_shmem_request)
		prev_shmem_request();
#endif
	RequestAddinShmemSpace(tc_launcher_state_size());
	RequestAddinShmemSpace(tc_worker_slots_size());
	RequestAddinShmemSpace(tc_in_flight_size());
	RequestAddinShmemSpace(tc_session_calls_size());
	RequestAddinShmemSpace(tc_session_life_size());
	tc_statistics_request();
}

/* Called by the postmaster at its start and after a crash of one of its processes. */
static void
start_shmem(void)
{
	if (prev_shmem_startup)
		prev_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	tc_launcher_state_startup();
	tc_worker_slots_startup();
	tc_in_flight_startup();
	tc_session_calls_startup();
	tc_session_life_startup();
	tc_statistics_startup();
	LWLockRelease(AddinShmemInitLock);
}
