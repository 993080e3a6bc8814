/*-------------------------------------------------------------------------
 *
 * heartbeat_intake.c
 *	  Recordings with heartbeats come into memory.
 *
 * They are read as rows of the outbox are, with a position of their own, in the
 * same transaction: what is said there of wakes holds for them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "process/session_life.h"
#include "worker/chains.h"
#include "worker/flow.h"
#include "worker/heartbeat_calls.h"
#include "worker/heartbeat_intake.h"
#include "worker/heartbeat_notes.h"
#include "worker/heartbeats.h"
#include "worker/intake.h"

/* Rows read from a queue in one turn */
#define READ_CHUNK 1024

/* Whoever commits a request says no more than that something is new, so it is not looked at each time */
#define READ_PAUSE_MS 20

/* After that long a table that somebody has locked is looked at again */
#define LOCKED_MS 1000

/* For take_in() */
typedef struct Reader
{
	Queue	   *queue;
	int			left;
} Reader;

static bool locked(Queue *queue);
static bool note_xid(void *arg, const HeartbeatRow *row);
static void read_rows(Queue *queue);
static bool take_in(void *arg, const HeartbeatRow *row);
static bool find_activity(const Queue *queue, const OutboxRow *request, BeatPlace *place);

bool
tc_heartbeats_exist(Queue *queue)
{
	uint64		xid;

	if (!queue->heartbeats_unread || queue->heartbeats > 0 || locked(queue))
		return queue->heartbeats > 0;
	if (tc_recorded_state() == RECORDED_NONE ||
		tc_heartbeats_read(queue->number, &queue->heartbeat_position, note_xid, &xid))
		queue->heartbeats_unread = false;
	else
	{
		tc_read_position_rewind(&queue->heartbeat_position, xid);
		tc_heartbeats_set_found(queue, true);
	}
	return queue->heartbeats_found;
}

/* Others must not wait because somebody has locked the table of recordings. */
static bool
locked(Queue *queue)
{
	if (tc_recorded_state() != RECORDED_LOCKED)
		return false;
	queue->heartbeats_after = tc_monotonic_ms() + LOCKED_MS;
	return true;
}

static bool
note_xid(void *arg, const HeartbeatRow *row)
{
	*(uint64 *) arg = row->xid;
	return false;
}

void
tc_heartbeats_take_turn(Queue *queue)
{
	if (locked(queue))
		return;
	if (tc_heartbeats_want_rows(queue))
		read_rows(queue);
	if (!tc_flow_is_paused(queue) && tc_channel_state(queue->channel->channel) == CHANNEL_READY &&
		tc_heartbeats_want_bytes(queue))
		tc_heartbeats_load(queue);
}

/* As rows of the outbox: a batch that began before the last wake does not tell. */
static void
read_rows(Queue *queue)
{
	Reader		reader = {queue, READ_CHUNK};
	bool		begins = queue->heartbeat_position.goal == NULL;

	if (tc_recorded_state() == RECORDED_NONE ||
		tc_heartbeats_read(queue->number, &queue->heartbeat_position, take_in, &reader))
	{
		queue->heartbeats_unread = !begins;
		queue->heartbeats_read_after = tc_monotonic_ms() + READ_PAUSE_MS;
		tc_heartbeats_set_found(queue, false);
	}
}

static bool
take_in(void *arg, const HeartbeatRow *row)
{
	Reader	   *reader = arg;
	Queue	   *queue = reader->queue;
	OutboxRow	request = {.method = row->method,.request = row->heartbeat,.len = row->len};
	BeatPlace	place;
	HeartbeatReply reply = {0};
	bool		ended = false;

	tc_intake_note_undurable();
	reader->left--;
	if (row->heartbeat == NULL || row->expires_at <= GetCurrentTimestamp() ||
		(tc_heartbeat_answer_find(row->id, &reply, &ended) && ended))
		;
	else if (row->session != 0 && !tc_session_lives(row->session))
		tc_heartbeat_note(queue, row->id, row->xid, NULL, TC_SESSION_ENDED);
	else if (tc_method_is_heartbeat(row->method) && find_activity(queue, &request, &place))
		tc_beat_create(queue, row, &place, &reply);
	return reader->left > 0 && tc_share_has_room(queue->account, SHARE_HEARTBEATS);
}

static bool
find_activity(const Queue *queue, const OutboxRow *request, BeatPlace *place)
{
	static MemoryContext context = NULL;
	MemoryContext old;
	bool		result;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "temporal_complete decoding of heartbeats",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	result = tc_activity_of(queue->activity_seed, request, &place->activity, &place->attempt);
	MemoryContextSwitchTo(old);
	MemoryContextReset(context);
	return result;
}
