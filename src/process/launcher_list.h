/*-------------------------------------------------------------------------
 *
 * launcher_list.h
 *	  The launcher's list: databases that have a worker, or are to have one.
 *
 * A database is, in the launcher's eyes, in one of four states:
 *
 *	  unknown	it is not on the list
 *	  waiting	wanted, no slot, and not_before is over
 *	  put off	wanted, no slot, and not_before is to come
 *	  served	it has a slot: its worker is starting, or running, or leaving
 *
 *	                   +--------- 6 --------+
 *	                   v                    |
 *	  unknown -- 1 --> waiting --- 2 ---> served --- 7 --> unknown
 *	    ^              |  ^  |              |
 *	    |              |  4  3              5
 *	    |              |  |  v              |
 *	    +------ 8 -----+  put off <---------+
 *
 *	  1	somebody wants a worker there, or there is one of a former launcher
 *	  2	there was a place, and nobody bars the database: a worker is started
 *	  3	it must not have one now, because nobody may connect to it, it is not
 *		listed in the setting, or its workers crash
 *	  4	its time has come, or something has changed that may help
 *	  5	its worker failed: it crashed, or did not come
 *	  6	its worker left because it was asked to, or a wake came meanwhile
 *	  7	its worker left, and nothing wants one
 *	  8	it was dropped, or nobody may connect to it for the second time
 *
 * So once the launcher has looked at the slots, each database on the list
 * either is wanted or has a slot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAUNCHER_LIST_H
#define TC_LAUNCHER_LIST_H

#include "lib/ilist.h"
#include "postmaster/bgworker.h"

typedef struct DatabaseEntry
{
	dlist_node	node;
	Oid			database;
	Oid			owner;			/* whose turn it is: see launcher_turns.h */
	bool		wanted;			/* start a worker when there is none */
	int			slot;			/* of its worker, -1 = none */
	BackgroundWorkerHandle *handle; /* of its worker; NULL: none, or started
									 * by a former launcher */
	int64		started_at;		/* monotonic ms: its last worker */
	bool		unusable;		/* nobody may connect to it */
	int64		not_before;		/* the next start, or look: monotonic ms, or
								 * TC_NEVER */
	int			backoff_ms;		/* 0 = its worker did not fail */
} DatabaseEntry;

/* Those that wait longest come first */
extern dlist_head tc_launcher_list;

/* Waiting, as above? */
extern bool tc_database_waits(const DatabaseEntry *entry);
extern int	tc_count_waiting(void);

/* The entry of a database; a new one if there is none yet. */
extern DatabaseEntry *tc_launcher_entry(Oid database);
extern void tc_launcher_forget(DatabaseEntry *entry);

/* A worker has left, or never came: others come first now. */
extern void tc_launcher_worker_gone(DatabaseEntry *entry);

/*
 * Workers that gave up their slots may still have their places with the
 * postmaster.  Are there such?  And have any made them free since the last
 * call?
 */
extern bool tc_launcher_place_is_coming(void);
extern bool tc_launcher_place_has_come(void);

#endif							/* TC_LAUNCHER_LIST_H */
