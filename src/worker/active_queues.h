/*-------------------------------------------------------------------------
 *
 * active_queues.h
 *	  Which queues are to be looked at.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ACTIVE_QUEUES_H
#define TC_ACTIVE_QUEUES_H

#include "worker/in_memory.h"

/*
 * Look at the queue in the next turn, or no longer.  They do not raise
 * errors: callbacks use them.
 */
extern void tc_queue_activate(Queue *queue);
extern void tc_queue_deactivate(Queue *queue);

/* Queues to look at, linked by active_node. */
extern dlist_head *tc_active_queues(void);

/* Has a queue been activated since this was asked last? */
extern bool tc_queues_activated(void);

/*
 * May the queue have more of that?  If not, and it is deactivated then, it is
 * activated when it may.
 */
extern bool tc_queue_may_have(Queue *queue, ShareKind kind);

/* Activate queues that may have what they lacked; true if there are more to look at. */
extern bool tc_queues_feed(void);

/* Was something given back since, that one of them may lack? */
extern bool tc_queues_can_be_fed(void);

#endif							/* TC_ACTIVE_QUEUES_H */
