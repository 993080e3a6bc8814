/*-------------------------------------------------------------------------
 *
 * recorded_row.h
 *	  A row of temporal_internal.recorded_activity.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RECORDED_ROW_H
#define TC_RECORDED_ROW_H

#include "datatype/timestamp.h"

#include "request/method.h"

/* A row of temporal_internal.recorded_activity */
typedef struct RecordedActivity
{
	int64		id;
	uint64		xid;
	TimestampTz recorded_at;
	int64		queue;
	RequestMethod method;		/* METHOD_HEARTBEAT or METHOD_HEARTBEAT_BY_ID */
	const char *key;			/* in the database's encoding */
	const uint8 *heartbeat;		/* encoded, without namespace and identity */
	size_t		len;
	TimestampTz expires_at;		/* DT_NOEND = never */
	bool		heartbeats;		/* are to be sent */
	const Interval *heartbeat_interval; /* NULL: as Temporal's timeout says */
	int64		session;		/* 0: they do not depend on a session */
} RecordedActivity;

/* Columns of temporal_internal.recorded_activity */
#define RECORDED_ACTIVITY_NATTS 11
typedef enum RecordedActivityAttr
{
	RECORDED_ACTIVITY_ID = 1,
	RECORDED_ACTIVITY_XID,
	RECORDED_ACTIVITY_RECORDED_AT,
	RECORDED_ACTIVITY_QUEUE,
	RECORDED_ACTIVITY_METHOD,
	RECORDED_ACTIVITY_KEY,
	RECORDED_ACTIVITY_HEARTBEAT,
	RECORDED_ACTIVITY_EXPIRES_AT,
	RECORDED_ACTIVITY_HEARTBEAT_QUEUE,
	RECORDED_ACTIVITY_HEARTBEAT_INTERVAL,
	RECORDED_ACTIVITY_SESSION
}			RecordedActivityAttr;

#endif							/* TC_RECORDED_ROW_H */
