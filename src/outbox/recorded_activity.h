/*-------------------------------------------------------------------------
 *
 * recorded_activity.h
 *	  Activities that were recorded under a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RECORDED_ACTIVITY_H
#define TC_RECORDED_ACTIVITY_H

#include "access/htup.h"
#include "datatype/timestamp.h"
#include "storage/block.h"
#include "utils/relcache.h"

#include "outbox/recorded_row.h"
#include "request/method.h"
#include "request/queue_key.h"
#include "request/request_fields.h"

/*
 * Record an activity in the current transaction, in place of what the active
 * snapshot sees under the key, without waiting for anybody.  queue_key is what
 * its queue is.  Says whether heartbeats were to be sent for what it replaces.
 */
extern bool tc_activity_record(const RecordedActivity *activity, const QueueKey *queue_key);

/*
 * What the active snapshot sees under a key, and has not expired: that of the
 * role of queue_key, else one of another role whose privileges that role has;
 * owner is the role.  False if there is none.  If it may be that of another
 * one as well, that is second, else this is InvalidOid.  What it points to is
 * palloc'd.
 */
extern bool tc_activity_find(const QueueKey *queue_key, const char *key,
							 RecordedActivity *activity, Oid *owner, Oid *second);

/* By what requests that wait for a key are told of it */
extern uint64 tc_key_hash(const char *key, size_t len);

/*
 * Remove what the active snapshot sees under a key; waits for others that are
 * removing it.  False if nothing is left to be removed.
 */
extern bool tc_activity_forget(const QueueKey *queue_key, const char *key);

/*
 * For the worker: a verdict by a key took effect.  Removes the recording of
 * that id in a queue and those before it; with ended, which the activity then
 * has by the request of that target, also those of the same activity that came
 * since.  The one of that id is finished, to be noted with the outcome; its id
 * is 0 if it was not removed.  Waits for nobody: false if others are about to
 * remove one of them.
 */
extern bool tc_activity_finish(int64 queue, const char *key, int64 id, const RequestTarget *ended,
							   int64 request, RecordedActivity *finished);

/*
 * For the worker: a step of a pass over all rows, from a block of the table on,
 * which is moved, and is 0 behind the last one.  Removes what has expired.
 * False if that cannot be done now.
 */
extern bool tc_activities_tidy(BlockNumber *block);

/* A row as it is; what it points to is in the tuple, or palloc'd. */
extern void tc_activity_deform(HeapTuple tuple, Relation rel, RecordedActivity *activity);

#endif							/* TC_RECORDED_ACTIVITY_H */
