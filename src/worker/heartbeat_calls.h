/*-------------------------------------------------------------------------
 *
 * heartbeat_calls.h
 *	  Sending heartbeats of recorded activities.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEAT_CALLS_H
#define TC_HEARTBEAT_CALLS_H

#include "worker/in_memory.h"

/* Load what is due, as far as it can be sent now.  Needs a transaction. */
extern void tc_heartbeats_load(Queue *queue);

/* Send what was loaded; what was not sent waits again. */
extern void tc_heartbeats_send(void);
extern void tc_heartbeats_put_back(void);

/* See to answers that have come. */
extern void tc_heartbeats_take_answers(void);

#endif							/* TC_HEARTBEAT_CALLS_H */
