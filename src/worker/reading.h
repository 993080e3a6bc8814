/*-------------------------------------------------------------------------
 *
 * reading.h
 *	  A turn's part that reads: one short transaction for all queues.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_READING_H
#define TC_READING_H

#include "worker/in_memory.h"

/* Needs a transaction with an active snapshot. */
extern void tc_reading_init(void);

/*
 * Read what is wanted of the active queues, in one transaction, if there is
 * anything.
 */
extern void tc_reading_turn(void);

/* May reading begin at once, if something is wanted? */
extern bool tc_reading_is_possible(void);

/* Are there queues to be found, or requests whose rows were changed? */
extern bool tc_reading_wants_queues(void);

/*
 * How many requests wait, of a queue, of a role's queues for a server (number
 * 0), or of all for a server (role InvalidOid), about, and max at the most.
 * Needs a transaction.
 */
extern int	tc_reading_count_waiting(const char *server, Oid role, int64 number, int max);

/* Are all queues that have something paused? */
extern bool tc_reading_is_paused(void);

/* Has all been read that there is? */
extern bool tc_reading_is_idle(void);

#endif							/* TC_READING_H */
