/*-------------------------------------------------------------------------
 *
 * ended_activity.c
 *	  What became of activities that were recorded under a key.
 *
 * Of each recording there is, as long as outcomes are kept, either its row in
 * temporal_internal.recorded_activity, or one that says how it ended.  That is written
 * by the transaction that removes the other one.  For what a verdict by key
 * finishes, which is nearly all, it is part of the row of that verdict's
 * outcome, and costs no row of its own; the others stand in
 * temporal_internal.ended_activity.
 *
 * No token and no payload goes here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "outbox/ended_activity.h"
#include "outbox/heartbeats.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"
#include "outbox/table_pass.h"
#include "request/request_fields.h"

/* Pages that are looked at in one step of tidying */
#define TIDY_BLOCKS 20

static void set_text(Datum *values, bool *nulls, int attr, const char *text);
static void set_id(Datum *values, bool *nulls, int attr, const char *id);
static void remove_row(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg);

void
tc_ended_activity_note(Relation rel, const RecordedActivity *activity, const char *ended, int64 request)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		expired = request == 0 && activity->expires_at <= now;
	Datum		values[ENDED_ACTIVITY_NATTS] = {0};
	bool		nulls[ENDED_ACTIVITY_NATTS] = {false};
	RequestTarget target = {0};

	if (!tc_request_decode(activity->method, activity->heartbeat, activity->len, &target))
		memset(&target, 0, sizeof(target));
#define SET(attr, value) (values[ENDED_ACTIVITY_##attr - 1] = (value))
#define SET_NULL(attr, is_null) (nulls[ENDED_ACTIVITY_##attr - 1] = (is_null))
	SET(ID, Int64GetDatum(activity->id));
	SET(RECORDED_AT, TimestampTzGetDatum(activity->recorded_at));
	SET(ENDED_AT, TimestampTzGetDatum(expired ? activity->expires_at : now));
	SET(QUEUE, Int64GetDatum(activity->queue));
	SET(ENDED, CStringGetTextDatum(expired ? TC_ENDED_EXPIRED : ended));
	SET(KEY, CStringGetTextDatum(activity->key));
	set_id(values, nulls, ENDED_ACTIVITY_ACTIVITY_ID, target.activity_id);
	set_id(values, nulls, ENDED_ACTIVITY_WORKFLOW_ID, target.workflow_id);
	set_id(values, nulls, ENDED_ACTIVITY_RUN_ID, target.run_id);
	SET(ATTEMPT, Int32GetDatum(target.attempt));
	SET_NULL(ATTEMPT, target.attempt == 0);
	SET(REQUEST, Int64GetDatum(request));
	SET_NULL(REQUEST, request == 0);
#undef SET
#undef SET_NULL
	set_text(values, nulls, ENDED_ACTIVITY_HEARTBEAT_ERROR,
			 activity->heartbeats && strcmp(ended, TC_ENDED_FINISHED) != 0 ?
			 tc_heartbeat_answer_error(activity->id) : NULL);
	tc_row_insert(rel, TABLE_ENDED_ACTIVITY, values, nulls);
}

int32
tc_recorded_attempt(const RecordedActivity *activity)
{
	RequestTarget target = {0};

	if (!tc_request_decode(activity->method, activity->heartbeat, activity->len, &target))
		return 0;
	return target.attempt;
}

static void
set_text(Datum *values, bool *nulls, int attr, const char *text)
{
	nulls[attr - 1] = text == NULL;
	values[attr - 1] = text !=NULL ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
set_id(Datum *values, bool *nulls, int attr, const char *id)
{
	set_text(values, nulls, attr, id != NULL ? tc_utf8_to_server(id, strlen(id), SIZE_MAX) : NULL);
}

/*
 * No sooner than outcomes go: what is told of one key is not to have gaps.
 * Sooner than its queue goes, see queue_tidying.c.
 */
bool
tc_ended_activities_tidy(BlockNumber *block)
{
	return tc_table_pass_old(TABLE_ENDED_ACTIVITY, ENDED_ACTIVITY_ENDED_AT, block, TIDY_BLOCKS,
							 remove_row);
}

static void
remove_row(Relation rel, TupleTableSlot *slot, ItemPointer tid, void *arg)
{
	ExecClearTuple(slot);
	tc_row_delete(rel, TABLE_ENDED_ACTIVITY, tid);
}
