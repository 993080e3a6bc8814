/*-------------------------------------------------------------------------
 *
 * heartbeat_intake.h
 *	  Recordings with heartbeats come into memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEAT_INTAKE_H
#define TC_HEARTBEAT_INTAKE_H

#include "worker/in_memory.h"

/*
 * Are there recordings of a queue that has none in memory?  To see whether its
 * options are of use.  Needs a transaction.
 */
extern bool tc_heartbeats_exist(Queue *queue);

/* A queue's part of the reading transaction: new recordings, and what is due. */
extern void tc_heartbeats_take_turn(Queue *queue);

#endif							/* TC_HEARTBEAT_INTAKE_H */
