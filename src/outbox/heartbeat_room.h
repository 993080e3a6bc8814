/*-------------------------------------------------------------------------
 *
 * heartbeat_room.h
 *	  Which role has how much of temporal_internal.last_heartbeat.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEAT_ROOM_H
#define TC_HEARTBEAT_ROOM_H

/* How much there is for all, in bytes of tuples; what has been counted is forgotten. */
extern void tc_heartbeat_room_begin(int64 room);

/* A row of a queue takes so many bytes more, or less. */
extern void tc_heartbeat_room_take(int64 queue, int64 bytes);

/* May the role of a queue have another row? */
extern bool tc_heartbeat_room_is_left(int64 queue);

/* Has it so much that it has to give way, because others have come? */
extern bool tc_heartbeat_room_is_exceeded(int64 queue);

/* Is what was counted not true, because the transaction that changed it was rolled back? */
extern bool tc_heartbeat_room_is_undone(void);

#endif							/* TC_HEARTBEAT_ROOM_H */
