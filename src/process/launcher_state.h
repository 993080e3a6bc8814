/*-------------------------------------------------------------------------
 *
 * launcher_state.h
 *	  Shared memory of the launcher: which databases want a worker, and which
 *	  must not have one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAUNCHER_STATE_H
#define TC_LAUNCHER_STATE_H

/* For _PG_init's hooks; the second one is called with AddinShmemInitLock held. */
extern Size tc_launcher_state_size(void);
extern void tc_launcher_state_startup(void);

/*---- for everybody ----*/

/* Have the launcher start a worker in a database, if it can.  Cannot fail either. */
extern void tc_want_worker(Oid database);

/* The same, after something about the database has changed; InvalidOid: about many. */
extern void tc_look_again(Oid database);

/*
 * Keep workers out of a database until tc_unbar_database(), which cannot
 * fail and also tells the launcher to look at the database again.  False if
 * this process bars too many databases already.
 */
extern bool tc_bar_database(Oid database);
extern void tc_unbar_database(Oid database);

/* Must no worker be started in this database? */
extern bool tc_database_is_barred(Oid database);

/* What the launcher lacks for some worker */
typedef enum StarvedOf
{
	STARVED_OF_NOTHING,
	STARVED_OF_WORKERS,			/* temporal_complete.max_workers */
	STARVED_OF_PROCESSES		/* max_worker_processes */
} StarvedOf;

extern StarvedOf tc_launcher_starved(void);

/* How many databases want a worker and have not got one, about; preloaded only. */
extern int	tc_launcher_count_wanted(void);

/*---- for the launcher ----*/

/*
 * Become the launcher, which looks at all databases first.  True if this is
 * the first one since shared memory was initialized: no worker was started
 * since then.
 */
extern bool tc_launcher_attach(void);
extern void tc_launcher_set_starved(StarvedOf starved);

/*
 * Get the list of the databases that were asked for and not served yet;
 * *look_at_all if there were more than it holds, *look_again if databases
 * have changed (it is cleared).  Returns how many.
 */
#define TC_MAX_WANTED 256
extern int	tc_launcher_wanted(Oid wanted[TC_MAX_WANTED], bool *look_at_all,
							   bool *look_again);

/* The launcher is about to look at all. */
extern void tc_launcher_looks_at_all(void);

/*
 * The worker of a database has a slot, or the database is gone.  One that is
 * to have no worker stays on the list, so that the launcher is not woken again
 * and again for its sake.
 */
extern void tc_launcher_served(Oid database);

#endif							/* TC_LAUNCHER_STATE_H */
