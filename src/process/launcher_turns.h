/*-------------------------------------------------------------------------
 *
 * launcher_turns.h
 *	  Places for workers, and whose turn it is if there are too few.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAUNCHER_TURNS_H
#define TC_LAUNCHER_TURNS_H

#include "nodes/pg_list.h"

#include "process/launcher_list.h"
#include "process/worker_slots.h"

/* Why a database that waits has no worker yet */
typedef enum Shortage
{
	SHORTAGE_NONE,				/* none waits */
	SHORTAGE_STARTS,			/* as many are starting as may be at once */
	SHORTAGE_MAX_WORKERS,		/* temporal_complete.max_workers */
	SHORTAGE_PROCESSES			/* max_worker_processes */
} Shortage;

/* Put those that wait into the order in which they are to have places; infos: all databases there are. */
extern void tc_order_by_turns(const List *infos);

/* Is it too early to try again?  If so, *shortage says why. */
extern bool tc_shortage_lasts(Shortage *shortage);

/* Monotonic ms: when it is no longer; 0 = there is no shortage. */
extern int64 tc_shortage_retry_at(void);

/* Try again at once, because a place has become free. */
extern void tc_shortage_retry_now(void);

/*
 * As many were started as could be, and what kept the others from it, if
 * anything did.  If it is a lack of places that lasts, and none is about to
 * become free by itself, it is said in the log and somebody's turn ends.
 */
extern void tc_shortage_found(Shortage shortage, bool place_is_coming);
extern void tc_shortage_over(void);

/* Ask a worker to leave whose turn is over: of those of the owner who has most, the one that has run longest. */
extern void tc_end_a_turn(void);

/*
 * A worker was asked to leave: end it if it does not.  Returns when to look
 * again, monotonic ms.
 */
extern int64 tc_end_if_stuck(const DatabaseEntry *entry, const SlotView *view);

#endif							/* TC_LAUNCHER_TURNS_H */
