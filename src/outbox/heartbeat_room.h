/*-------------------------------------------------------------------------
 *
 * heartbeat_room.h
 *	  Which role has how much of temporal_internal.last_heartbeat.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEAT_ROOM_H
#define TC_HEARTBEAT_ROOM_H

#include "access/attnum.h"
#include "utils/relcache.h"

/* Its rows have the room of so many pages; of twice as many, where it has grown, none are used */
#define HEARTBEAT_PAGES 512

/* Before anything is written by a transaction; in that column is the number of the queue. */
extern void tc_heartbeat_room_begin(Relation rel, AttrNumber queue_attr);

/* A row of a queue, of that length, came, or went. */
extern void tc_heartbeat_room_add(int64 queue, int64 len);
extern void tc_heartbeat_room_remove(int64 queue, int64 len);

/* May the role of a queue have another row? */
extern bool tc_heartbeat_room_is_left(int64 queue);

/* Or has it to give way with those that it has? */
extern bool tc_heartbeat_room_is_exceeded(int64 queue);

#endif							/* TC_HEARTBEAT_ROOM_H */
