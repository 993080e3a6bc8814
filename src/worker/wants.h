/*-------------------------------------------------------------------------
 *
 * wants.h
 *	  What a queue wants of the database now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WANTS_H
#define TC_WANTS_H

#include "worker/in_memory.h"

/* Does it want anything of what follows? */
extern bool tc_queue_wants(Queue *queue);

/*
 * New rows.  Before its channel is connected, which costs something, only to
 * see whether there are any.
 */
extern bool tc_queue_wants_rows(Queue *queue);

/*
 * To know whether there are rows still, before a channel that could not be
 * connected is tried again: else that might go on for nothing.
 */
extern bool tc_queue_wants_to_know(Queue *queue);

/* The bytes of requests whose retry is due. */
extern bool tc_queue_wants_retries(Queue *queue);

/* Recordings with heartbeats, new ones or those whose time has come. */
extern bool tc_queue_wants_heartbeats(Queue *queue);

/* Today's options and rights: see queue_options.h. */
extern bool tc_queue_wants_options(Queue *queue);

/* The same, apart from whether it has rows to send, which only a look can tell. */
extern bool tc_queue_has_use_for_options(Queue *queue);

/* Is there room for more requests with their bytes? */
extern bool tc_queue_has_room_for_rows(Queue *queue);

/* Is the first of its requests that wait for a retry due? */
extern bool tc_retry_is_due(Queue *queue);

/* Can its channel be used? */
extern bool tc_queue_is_connected(const Queue *queue);

/* And that to its codec server, if there is one? */
extern bool tc_queue_can_send(const Queue *queue);

/* No queue wants rows any more: the worker leaves. */
extern void tc_wants_end(void);

/*
 * To be called in each turn: when recording has caught up, queues that did not
 * want rows for that are looked at again.
 */
extern void tc_wants_turn(void);

#endif							/* TC_WANTS_H */
