/*-------------------------------------------------------------------------
 *
 * ended_activity.h
 *	  What became of activities that were recorded under a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ENDED_ACTIVITY_H
#define TC_ENDED_ACTIVITY_H

#include "datatype/timestamp.h"
#include "storage/block.h"
#include "utils/relcache.h"

#include "outbox/recorded_row.h"

/* How a recording ended, as users see it */
#define TC_ENDED_REPLACED "replaced"
#define TC_ENDED_FORGOTTEN "forgotten"
#define TC_ENDED_EXPIRED "expired"
#define TC_ENDED_FINISHED "finished"

/* Columns of temporal_internal.ended_activity */
enum
{
	ENDED_ACTIVITY_ID = 1,
	ENDED_ACTIVITY_RECORDED_AT,
	ENDED_ACTIVITY_ENDED_AT,
	ENDED_ACTIVITY_QUEUE,
	ENDED_ACTIVITY_ENDED,
	ENDED_ACTIVITY_KEY,
	ENDED_ACTIVITY_ACTIVITY_ID,
	ENDED_ACTIVITY_WORKFLOW_ID,
	ENDED_ACTIVITY_RUN_ID,
	ENDED_ACTIVITY_ATTEMPT,
	ENDED_ACTIVITY_REQUEST,
	ENDED_ACTIVITY_HEARTBEAT_ERROR,
	ENDED_ACTIVITY_NATTS = ENDED_ACTIVITY_HEARTBEAT_ERROR
};

/*
 * Note in the current transaction, which removes a recording, how it ended:
 * one of the words above.  If its time was over before, that is what is noted.
 * request is the one that finished it, or 0.  rel is temporal_internal.ended_activity.
 */
extern void tc_ended_activity_note(Relation rel, const RecordedActivity *activity, const char *ended,
								   int64 request);

/* Attempt of the activity that was recorded; 0 if it was recorded by its ids */
extern int32 tc_recorded_attempt(const RecordedActivity *activity);

/* A step of a pass over all rows, as tc_activities_tidy(): removes those that no outcome is as old as. */
extern bool tc_ended_activities_tidy(BlockNumber *block);

#endif							/* TC_ENDED_ACTIVITY_H */
