/*-------------------------------------------------------------------------
 *
 * known_queues.h
 *	  Which queues there are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_KNOWN_QUEUES_H
#define TC_KNOWN_QUEUES_H

#include "worker/in_memory.h"

extern void tc_known_queues_init(void);

/* Those that are in memory; valid until queues are looked for. */
extern Queue **tc_known_queues(int *count);

/* That of a number; NULL if it is not in memory. */
extern Queue *tc_known_queue(int64 number);

/*
 * Have all of them looked at, some in a turn: there may be very many.  Each
 * that is known when this is called is one of those that follow; NULL if all
 * were.
 */
extern void tc_known_queues_visit(void);
extern bool tc_known_queues_visit_goes_on(void);
extern Queue *tc_known_queues_next_visit(void);

/* There may be others with rows. */
extern void tc_known_queues_find(void);

/* The one of that number, which is not in memory, has rows. */
extern void tc_known_queues_find_number(int64 number);

/* The same, but not at once if that was done just now: it may be said often. */
extern void tc_known_queues_find_soon(void);

/* Are there to be looked for?  Is it time to? */
extern bool tc_known_queues_wanted(void);
extern bool tc_known_queues_due(void);

/*
 * Look for some; they are unread then, and await their turn to look at options.  Returns whether there are
 * new ones, also such whose requests are held.  Needs a transaction.
 */
extern bool tc_known_queues_look(void);

#endif							/* TC_KNOWN_QUEUES_H */
