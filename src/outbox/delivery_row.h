/*-------------------------------------------------------------------------
 *
 * delivery_row.h
 *	  A row of temporal_internal.delivery, as outcomes.c and last_heartbeats.c make it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DELIVERY_ROW_H
#define TC_DELIVERY_ROW_H

/* Columns of temporal_internal.delivery */
typedef enum DeliveryAttr
{
	DELIVERY_ID = 1,
	DELIVERY_REQUESTED_AT,
	DELIVERY_FINISHED_AT,
	DELIVERY_QUEUE,
	DELIVERY_ATTEMPTS,
	DELIVERY_METHOD,
	DELIVERY_SEGMENT,
	DELIVERY_CONFIRMED,
	DELIVERY_ACTIVITY_ID,
	DELIVERY_WORKFLOW_ID,
	DELIVERY_RUN_UUID,
	DELIVERY_RUN_ID,
	DELIVERY_CANCEL_REQUESTED,
	DELIVERY_ACTIVITY_PAUSED,
	DELIVERY_ACTIVITY_RESET,
	DELIVERY_ERROR_CODE,
	DELIVERY_ERROR_MESSAGE,
	DELIVERY_REJECTED,
	DELIVERY_DECISIONS,
	DELIVERY_KEY,
	DELIVERY_RECORDED_ACTIVITY,
	DELIVERY_RECORDED_AT,
	DELIVERY_RECORDED_ATTEMPT,
	DELIVERY_RECORDED_IN,
	DELIVERY_EARLIER_HEARTBEATS
} DeliveryAttr;

#define DELIVERY_NATTS DELIVERY_EARLIER_HEARTBEATS

/* In CurrentMemoryContext, but for what does not fit into a Datum: that lives as long as its maker says. */
typedef struct DeliveryRow
{
	Datum		values[DELIVERY_NATTS];
	bool		nulls[DELIVERY_NATTS];
} DeliveryRow;

#endif							/* TC_DELIVERY_ROW_H */
