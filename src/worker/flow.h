/*-------------------------------------------------------------------------
 *
 * flow.h
 *	  How much of a queue may be in flight, and when it pauses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_FLOW_H
#define TC_FLOW_H

#include "worker/in_memory.h"

/* Begin carefully. */
extern void tc_flow_init(Queue *queue);

/* A call of the queue brought an answer that only a working server gives. */
extern void tc_flow_success(Queue *queue);

/* The call of that request failed; the request's result says how. */
extern void tc_flow_failure(Queue *queue, const Request *request);

/*
 * The call of that request failed: how many milliseconds does it wait at
 * least?  To be asked once, before tc_flow_failure().
 */
extern int	tc_flow_pace(Queue *queue, const Request *request);

/* Stop the queue until then (monotonic ms). */
extern void tc_flow_pause_until(Queue *queue, int64 until);

extern bool tc_flow_is_paused(const Queue *queue);

/*
 * Can the queue not send, for a reason that waiting alone will not mend, or
 * for so long that nobody should wait for it any more?
 */
extern bool tc_flow_is_stuck(const Queue *queue);

/* May another request be sent, as far as the queue is concerned? */
extern bool tc_flow_has_room(const Queue *queue);

/*
 * Say why all requests of the queue wait, or no longer say so.  The message
 * is as it came from the wire; `until` is when it is tried again (monotonic
 * ms).  The dispatcher has it recorded.
 */
extern void tc_flow_set_error(Queue *queue, const char *code, const char *message,
							  int64 until);
extern void tc_flow_clear_error(Queue *queue);

/* The same, and tell of it: the server cannot be connected, or its options not be used. */
extern void tc_flow_cannot_send(Queue *queue, const char *code, const char *message,
								int64 until);

/* The server is connected. */
extern void tc_flow_connected(Queue *queue);

/* Is there a queue whose error changed since tc_flow_errors_noted() was called? */
extern bool tc_flow_errors_changed(void);
extern void tc_flow_errors_noted(void);

#endif							/* TC_FLOW_H */
