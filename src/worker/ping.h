/*-------------------------------------------------------------------------
 *
 * ping.h
 *	  The worker's side of temporal.ping().
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PING_H
#define TC_PING_H

/* Begin pings that are asked for, end those that are over. */
extern void tc_ping_turn(void);

/* Is a ping under way? */
extern bool tc_ping_is_busy(void);

#endif							/* TC_PING_H */
