/*-------------------------------------------------------------------------
 *
 * reading.h
 *	  Which queues there are, and what is read of them when.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_READING_H
#define TC_READING_H

#include "process/wake_bits.h"
#include "worker/queue.h"

/* Needs a transaction with an active snapshot. */
extern void tc_reading_init(void);

/* Rows were added to the queues of these bits of the wake bitmap. */
extern void tc_reading_wake(const uint32 bits[TC_WAKE_WORDS]);

/*
 * Look at all queues.  With now also what waits for a retry or a
 * connection is tried at once: options may have changed.
 */
extern void tc_reading_wake_all(bool now);

/*
 * Read what is wanted of the active queues, in one transaction, if there is
 * anything.
 */
extern void tc_reading_turn(void);

/* Is something wanted of the queue?  May reading begin at once, if so? */
extern bool tc_reading_wants(Queue *queue);
extern bool tc_reading_is_possible(void);

/* May what was read be sent?  If not, that is tried again in the next turn. */
extern bool tc_reading_allows_sending(void);

/* Are there queues to be found, or requests whose rows were changed? */
extern bool tc_reading_wants_queues(void);

/* Is the first of its requests that wait for a retry due? */
extern bool tc_retry_is_due(Queue *queue);

/* Can its channel be used? */
extern bool tc_queue_is_connected(const Queue *queue);

/* Read nothing more. */
extern void tc_reading_stop(void);

/*
 * How many requests wait, of a queue, of a role's queues for a server (number
 * 0), or of all for a server (role InvalidOid), about, and max at the most.
 * Needs a transaction.
 */
extern int	tc_reading_count_waiting(const char *server, Oid role, int64 number, int max);

/* Has all been read that there is? */
extern bool tc_reading_is_idle(void);

#endif							/* TC_READING_H */
