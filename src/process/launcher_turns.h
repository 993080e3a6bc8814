/*-------------------------------------------------------------------------
 *
 * launcher_turns.h
 *	  Places for workers, and whose turn it is if there are too few.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAUNCHER_TURNS_H
#define TC_LAUNCHER_TURNS_H

#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"

#include "process/worker_slots.h"

/* In place of a time: not before something has changed */
#define NEVER PG_INT64_MAX

/* A database that has a worker, or is to have one */
typedef struct DatabaseEntry
{
	dlist_node	node;
	Oid			database;
	Oid			owner;			/* whose turn it is */
	bool		wanted;			/* start a worker when there is none */
	int			slot;			/* of its worker, -1 = none */
	BackgroundWorkerHandle *handle; /* NULL: started by a former launcher */
	int64		started_at;		/* monotonic ms */
	bool		unusable;		/* nobody may connect to it */
	int64		not_before;		/* the next start, or look; or NEVER */
	int			backoff_ms;		/* 0 = it did not fail */
} DatabaseEntry;

/* Why a worker that is wanted cannot be started */
typedef enum Shortage
{
	SHORTAGE_NONE,
	SHORTAGE_MAX_WORKERS,		/* temporal_complete.max_workers */
	SHORTAGE_PROCESSES			/* max_worker_processes */
} Shortage;

/* Does it want a worker, and may it have one by now? */
extern bool tc_database_waits(const DatabaseEntry *entry);
extern bool tc_some_database_waits(dlist_head *databases);

/* Put those that wait into the order in which they are to have places; infos: all databases there are. */
extern void tc_order_by_turns(dlist_head *databases, const List *infos);

/* Is it too early to try again?  If so, *shortage says why. */
extern bool tc_shortage_lasts(Shortage *shortage);

/* Try again soon; or at once, because a place has become free. */
extern void tc_shortage_retry_later(Shortage shortage);
extern void tc_shortage_retry_now(void);

/* So many wait, and none of ours is about to make room: say so, and end a turn. */
extern void tc_shortage_of_places(Shortage shortage, int nwaiting, dlist_head *databases);
extern void tc_shortage_over(void);

/* Monotonic ms; 0 = there is no shortage. */
extern int64 tc_shortage_retry_at(void);

/* Ask a worker to leave whose turn is over: of those of the owner who has most, the one that has run longest. */
extern void tc_end_a_turn(dlist_head *databases);

/*
 * A worker was asked to leave: end it if it does not.  Returns when to look
 * again, monotonic ms.
 */
extern int64 tc_end_if_stuck(const DatabaseEntry *entry, const SlotView *view);

#endif							/* TC_LAUNCHER_TURNS_H */
