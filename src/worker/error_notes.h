/*-------------------------------------------------------------------------
 *
 * error_notes.h
 *	  Noting why queues wait.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ERROR_NOTES_H
#define TC_ERROR_NOTES_H

#include "worker/in_memory.h"

/* What a former worker said of its queues is to be forgotten. */
extern void tc_error_notes_init(void);

/* Is there something to be noted, or to be taken back, now? */
extern bool tc_error_notes_are_due(void);

/* Note it, in a transaction of its own. */
extern void tc_error_notes_turn(Queue *const *queues, int count);

#endif							/* TC_ERROR_NOTES_H */
