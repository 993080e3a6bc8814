/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Waking the worker of this database when a transaction commits.
 *
 * What the transaction asked for is kept in static variables, without
 * memory to allocate.  The transaction callback only notes that the
 * transaction has committed.  It comes before others are told that catalogs
 * have changed, so a worker woken by it could still read, for instance, the
 * old options of a server.  The wake itself comes after that, when the locks
 * have been released.
 *
 * After the commit record is written an error would take the whole cluster
 * down, so there are only spinlocks and latches here.  Nothing that can fail
 * must ever be called from the callbacks.
 *
 * A subtransaction that is rolled back does not take its wake back: a wake
 * too many is harmless.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

#include "base/settings.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"

/* CREATE DATABASE bars its template, the others a single database */
#define MAX_BARS 8
#define MAX_CHANGED 8

/* The transaction has committed, and what it asked for is to be done */
static bool committed = false;

static Wake wake;
static KeyWake key_wake;

static Oid	changed[MAX_CHANGED];
static int	nchanged = 0;
static bool many_changed = false;	/* and further ones */

static Oid	bars[MAX_BARS];
static int	nbars = 0;

static void register_callbacks(void);
static void transaction_callback(XactEvent event, void *arg);
static void release_callback(ResourceReleasePhase phase, bool isCommit,
							 bool isTopLevel, void *arg);
static void end_transaction(void);

void
tc_wake_at_commit(int64 queue)
{
	if (!tc_preloaded())
		return;
	register_callbacks();
	for (int i = 0; i < wake.nqueues; i++)
		if (wake.queues[i] == queue)
			return;
	tc_wake_bit_set(wake.bits, queue);
	if (wake.nqueues < TC_WAKE_QUEUES)
		wake.queues[wake.nqueues++] = queue;
	else
		wake.more = true;
}

void
tc_tell_key_at_commit(const RecordedKey *key)
{
	if (!tc_preloaded())
		return;
	register_callbacks();
	for (int i = 0; i < key_wake.nkeys; i++)
		if (key_wake.keys[i].hash == key->hash && key_wake.keys[i].queue == key->queue)
			return;
	if (key_wake.nkeys == TC_KEYS_OF_WAKE)
	{
		for (int i = 0; i < TC_KEYS_OF_WAKE; i++)
			key_wake.keys[i].and_others |= key_wake.keys[i].queue == key->queue;
		key_wake.more = true;
		return;
	}
	key_wake.keys[key_wake.nkeys++] = *key;
}

void
tc_look_at_commit(void)
{
	if (!tc_preloaded())
		return;
	register_callbacks();
	wake.look = true;
}

void
tc_wake_all_at_commit(void)
{
	if (!tc_preloaded())
		return;
	register_callbacks();
	wake.all = true;
}

/* What exactly has changed, catalogs say; the worker is merely woken. */
void
tc_look_at_options_at_commit(void)
{
	if (!tc_preloaded() || !tc_has_worker(MyDatabaseId))
		return;
	register_callbacks();
	wake.touch = true;
}

void
tc_look_again_at_commit(Oid database)
{
	if (!tc_preloaded())
		return;
	register_callbacks();
	if (nchanged < MAX_CHANGED)
		changed[nchanged++] = database;
	else
		many_changed = true;
}

void
tc_bar_database_in_transaction(Oid database)
{
	if (!tc_preloaded() || nbars >= MAX_BARS)
		return;
	for (int i = 0; i < nbars; i++)
		if (bars[i] == database)
			return;
	register_callbacks();
	if (tc_bar_database(database))
		bars[nbars++] = database;
}

void
tc_warn_if_nothing_is_sent(void)
{
	static bool warned = false;
	static const char *looked_at = NULL;

	if (warned || IsBinaryUpgrade)
		return;
	if (!tc_preloaded())
	{
		warned = true;
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete is not loaded by the server, so nothing is sent to Temporal"),
				 errdetail("Requests are recorded and wait."),
				 errhint("Add temporal_complete to shared_preload_libraries and restart the server.")));
	}
	else if (looked_at != tc_databases)
	{
		/* once for each value of the setting */
		looked_at = tc_databases;
		if (tc_this_database_is_listed())
			return;
		warned = true;
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("database \"%s\" is not in temporal_complete.databases, so nothing is sent to Temporal from it",
						get_database_name(MyDatabaseId)),
				 errdetail("Requests are recorded and wait."),
				 errhint("Add the database to temporal_complete.databases and reload the configuration.")));
	}
}

/* Once a backend, when it needs the callbacks first */
static void
register_callbacks(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(transaction_callback, NULL);
		RegisterResourceReleaseCallback(release_callback, NULL);
		registered = true;
	}
}

/*
 * PREPARE forgets what is to be woken: COMMIT PREPARED, maybe of another
 * session, wakes all queues (see utility_hook.c).  Parallel workers ask for
 * nothing.
 */
static void
transaction_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		committed = true;
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		end_transaction();
}

static void
release_callback(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	if (!committed || phase != RESOURCE_RELEASE_AFTER_LOCKS)
		return;
	committed = false;

	if (wake.nqueues > 0 || wake.look || wake.all || wake.touch)
		tc_wake_worker(MyDatabaseId, &wake);
	if (key_wake.nkeys > 0)
		tc_tell_keys(MyDatabaseId, &key_wake);
	for (int i = 0; i < nchanged; i++)
		tc_look_again(changed[i]);
	if (many_changed)
		tc_look_again(InvalidOid);
	end_transaction();
}

static void
end_transaction(void)
{
	while (nbars > 0)
		tc_unbar_database(bars[--nbars]);
	nchanged = 0;
	many_changed = false;
	if (wake.nqueues > 0)
		memset(wake.bits, 0, sizeof(wake.bits));
	wake.nqueues = 0;
	wake.more = false;
	wake.look = false;
	wake.all = false;
	wake.touch = false;
	key_wake.nkeys = 0;
	key_wake.more = false;
}
