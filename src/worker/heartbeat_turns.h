/*-------------------------------------------------------------------------
 *
 * heartbeat_turns.h
 *	  How many heartbeats each role may have loaded in a turn.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEAT_TURNS_H
#define TC_HEARTBEAT_TURNS_H

/* How many more a role may load in this turn; one more was; the turn is over. */
extern int	tc_heartbeat_turn_room(Oid role);
extern void tc_heartbeat_turn_count(Oid role);
extern void tc_heartbeat_turn_over(void);

#endif							/* TC_HEARTBEAT_TURNS_H */
