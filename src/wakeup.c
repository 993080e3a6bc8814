/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Waking the worker of this database when a transaction commits.
 *
 * What the transaction asked for is kept in static variables, without
 * memory to allocate.  After the commit record is written an error would
 * take the whole cluster down, so the callback only takes spinlocks and sets
 * latches.  Nothing that can fail must ever be called from it.
 *
 * A subtransaction that is rolled back does not take its wake back: a wake
 * too many is harmless.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "shared_state.h"
#include "wakeup.h"

/* CREATE DATABASE bars its template, the others a single database */
#define MAX_BARS 8
#define MAX_CHANGED 8

static bool wake_some = false;
static bool wake_all = false;
static uint32 wake_bits[TC_WAKE_WORDS];

static Oid	changed[MAX_CHANGED];
static int	nchanged = 0;

static Oid	bars[MAX_BARS];
static int	nbars = 0;

static void register_callback(void);
static void transaction_callback(XactEvent event, void *arg);

void
tc_wake_at_commit(uint32 queue_hash)
{
	uint32		bit = queue_hash % TC_WAKE_BITS;

	if (!tc_preloaded())
		return;
	register_callback();
	wake_bits[bit / 32] |= UINT32_C(1) << (bit % 32);
	wake_some = true;
}

void
tc_wake_all_at_commit(void)
{
	if (!tc_preloaded())
		return;
	register_callback();
	wake_all = true;
}

void
tc_look_again_at_commit(Oid database)
{
	if (!tc_preloaded() || nchanged >= MAX_CHANGED)
		return;
	register_callback();
	changed[nchanged++] = database;
}

void
tc_bar_database_in_transaction(Oid database)
{
	if (!tc_preloaded() || nbars >= MAX_BARS)
		return;
	register_callback();
	if (tc_bar_database(database))
		bars[nbars++] = database;
}

void
tc_warn_if_not_preloaded(void)
{
	static bool warned = false;

	if (tc_preloaded() || warned || IsBinaryUpgrade)
		return;
	warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("temporal_complete is not loaded by the server, so nothing is sent to Temporal"),
			 errdetail("Requests are recorded and wait."),
			 errhint("Add temporal_complete to shared_preload_libraries and restart the server.")));
}

/* Once a backend, when it needs the callback first */
static void
register_callback(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(transaction_callback, NULL);
		registered = true;
	}
}

/*
 * XACT_EVENT_COMMIT comes when others see the transaction already.  PREPARE
 * forgets what is to be woken: COMMIT PREPARED, maybe of another session,
 * wakes all queues (see utility_hook.c).  Parallel workers ask for nothing.
 */
static void
transaction_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (wake_some || wake_all)
				tc_wake_worker(MyDatabaseId, wake_some ? wake_bits : NULL, wake_all);
			for (int i = 0; i < nchanged; i++)
				tc_look_again(changed[i]);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}

	while (nbars > 0)
		tc_unbar_database(bars[--nbars]);
	nchanged = 0;
	if (wake_some)
		memset(wake_bits, 0, sizeof(wake_bits));
	wake_some = false;
	wake_all = false;
}
