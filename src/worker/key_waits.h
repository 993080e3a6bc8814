/*-------------------------------------------------------------------------
 *
 * key_waits.h
 *	  Requests that wait until their key is recorded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WORKER_KEY_WAITS_H
#define TC_WORKER_KEY_WAITS_H

#include "worker/in_memory.h"

/* A row was read that waits for its key. */
extern void tc_key_wait_note(Queue *queue, const OutboxRow *row);

/* Were so many noted, of that queue among others, that it should read no more rows? */
extern bool tc_key_waits_are_many(const Queue *queue);

/* Look at all that wait, soon: what was recorded, or who may use it, may have changed. */
extern void tc_key_waits_look(void);

/* A turn's part, before requests are read. */
extern void tc_key_waits_turn(void);

/* Is there something to be done in the next turn?  Does anything wait at all? */
extern bool tc_key_waits_want_turn(void);
extern bool tc_key_waits_are_none(void);

#endif							/* TC_WORKER_KEY_WAITS_H */
