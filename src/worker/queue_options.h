/*-------------------------------------------------------------------------
 *
 * queue_options.h
 *	  Through which channel a queue sends by today's options, if it may.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_QUEUE_OPTIONS_H
#define TC_QUEUE_OPTIONS_H

#include "worker/in_memory.h"

/*
 * Options or rights have changed: no queue that this may concern sends before
 * its own have been looked at.  One that they kept from sending looks again, too.
 */
extern void tc_queues_options_changed(void);

/*
 * Find the channel for a queue by today's options, if its role may use it and
 * it is not paused.
 * Needs a transaction.
 */
extern void tc_queue_use_options(Queue *queue);

#endif							/* TC_QUEUE_OPTIONS_H */
