/*-------------------------------------------------------------------------
 *
 * last_heartbeats.h
 *	  What became of the last heartbeat of each activity.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAST_HEARTBEATS_H
#define TC_LAST_HEARTBEATS_H

#include "outbox/delivery_row.h"
#include "outbox/outbox.h"

/* Those of a batch of outcomes; in the memory context in which it was begun */
typedef struct LastHeartbeats LastHeartbeats;

/* Writes a row to temporal_internal.delivery. */
typedef void (*DeliveryWriter) (void *arg, const DeliveryRow *row);

extern LastHeartbeats *tc_last_heartbeats_begin(DeliveryWriter write, void *arg);

/* Memory that lasts until the end of the batch, for what is given to the next one */
extern MemoryContext tc_last_heartbeats_context(LastHeartbeats *last);

/*
 * A heartbeat was delivered or superseded; the row is what its row in
 * temporal_internal.delivery would be.  False: that one is to be written.
 */
extern bool tc_last_heartbeat_add(LastHeartbeats *last, Outcome *outcome, const DeliveryRow *row);

/* A verdict about the activity of such a row was delivered. */
extern void tc_last_heartbeat_verdict(LastHeartbeats *last, const DeliveryRow *row);

/* Write what the batch comes to. */
extern void tc_last_heartbeats_end(LastHeartbeats *last);

/*
 * Remove what is older than all segments of temporal_internal.delivery, some blocks at a
 * time, from *block on; 0 when there are no more.  False if somebody has locked
 * the table.
 */
extern bool tc_last_heartbeats_tidy(BlockNumber *block);

#endif							/* TC_LAST_HEARTBEATS_H */
