/*-------------------------------------------------------------------------
 *
 * session_calls.h
 *	  The worker's side of what sessions ask of a server: temporal.ping(),
 *	  pending_activities(), describe_activity().
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WORKER_SESSION_CALLS_H
#define TC_WORKER_SESSION_CALLS_H

/* Begin calls that are asked for, end those that are over. */
extern void tc_session_calls_turn(void);

/* Is one under way? */
extern bool tc_session_calls_are_busy(void);

#endif							/* TC_WORKER_SESSION_CALLS_H */
