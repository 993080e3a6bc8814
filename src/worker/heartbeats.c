/*-------------------------------------------------------------------------
 *
 * heartbeats.c
 *	  Recorded activities that have heartbeats sent, and when.
 *
 *	   row was read ----> WAITING ----> LOADED ----> IN_FLIGHT ----> ANSWERED
 *	                       ^  ^  due,     |                             |
 *	                       |  |  its row  | cannot be sent now          |
 *	                       |  +--is there-+                             |
 *	                       +--------------------------------------------+
 *
 * Memory has only what is needed to know when the next one is due, and which
 * activity it is about: what is sent is read again for each heartbeat.  So none
 * is sent for a recording whose row is gone, has expired, or whose session has
 * ended, and there is nothing to be told.  It ends for good when Temporal says
 * that the activity is not there (any more), and when a verdict for it was
 * delivered, whoever asked for that.
 *
 * Heartbeats of a queue are sent when its requests can be: not before its
 * rights were looked at, nor while it is paused.
 *
 * Nothing is read or sent here: that is heartbeat_intake.c and
 * heartbeat_calls.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "worker/heartbeat_notes.h"
#include "worker/heartbeats.h"

/*
 * The first heartbeat comes soon, because it is not known when the last one
 * was: of what was recorded since this worker began at once, its timeout is
 * running; of what was there before a little spread
 */
#define FIRST_OF_NEW_MS 200
#define FIRST_MS 2000

/* What is due together is sent together: so few turns see to many */
#define GRID_MS 10

/* In flight at most, for a queue */
#define IN_FLIGHT_MAX 1024

/* The interval follows the timeout as in the SDKs of Temporal */
#define TIMEOUT_PART 0.8
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 60000

/* All of an activity; its ids are a hash already */
typedef struct BeatEntry
{
	SipHash		activity;
	char		status;
	Beat	   *first;
} BeatEntry;

#define SH_PREFIX beats
#define SH_ELEMENT_TYPE BeatEntry
#define SH_KEY_TYPE SipHash
#define SH_KEY activity
#define SH_HASH_KEY(tb, key) ((uint32) (key).low)
#define SH_EQUAL(tb, a, b) tc_siphash_equal(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static beats_hash *beats_by_activity;
static MemoryContext beat_context;
static int64 nbeats;
static int	nfound;				/* queues that have some to read */
static TimestampTz began_at;

static int64 read_at(const Queue *queue);
static void drop(Beat *beat);

void
tc_heartbeats_init(void)
{
	beat_context = SlabContextCreate(TopMemoryContext, "temporal_complete heartbeats",
									 64 * 1024, sizeof(Beat));
	beats_by_activity = beats_create(TopMemoryContext, 64, NULL);
	began_at = GetCurrentTimestamp();
}

bool
tc_heartbeats_are_none(void)
{
	return nbeats == 0 && nfound == 0;
}

void
tc_heartbeats_set_found(Queue *queue, bool found)
{
	nfound += found - queue->heartbeats_found;
	queue->heartbeats_found = found;
}

void
tc_beat_create(Queue *queue, const HeartbeatRow *row, const BeatPlace *place, const HeartbeatReply *reply)
{
	Beat	   *beat = MemoryContextAllocZero(beat_context, sizeof(Beat));
	int64		now = tc_monotonic_ms();
	int			first = row->identity.requested_at > began_at ? FIRST_OF_NEW_MS : FIRST_MS;
	BeatEntry  *entry;
	bool		found;

	beat->id = row->id;
	beat->xid = row->xid;
	beat->queue = queue;
	beat->activity = place->activity;
	beat->attempt = place->attempt;
	beat->tid = row->tid;
	beat->interval_ms = (int32) Min(row->interval_ms, PG_INT32_MAX);
	beat->reply = *reply;
	entry = beats_insert(beats_by_activity, beat->activity, &found);
	beat->next = found ? entry->first : NULL;
	entry->first = beat;
	queue->heartbeats++;
	nbeats++;
	tc_share_take(queue->account, SHARE_HEARTBEATS, 1);
	beat->state = BEAT_SETTLED;
	tc_beat_wait(beat, now + (int64) ((beat->interval_ms > 0 ? Min(beat->interval_ms / 2, first) : first) *
									  tc_random_fraction()));
}

/*---- schedule ----*/

/* Where there is no room it is asked again by the next look at all queues. */
bool
tc_heartbeats_want_rows(const Queue *queue)
{
	return queue->heartbeats_unread && read_at(queue) <= tc_monotonic_ms() &&
		tc_share_has_room(queue->account, SHARE_HEARTBEATS);
}

bool
tc_heartbeats_want_bytes(Queue *queue)
{
	int			in_flight = queue->heartbeats_in_flight + queue->heartbeats_loaded;

	if (!tc_heartbeats_are_due(queue))
		return false;
	if (in_flight < Min(IN_FLIGHT_MAX, queue->channel->config->max_in_flight) &&
		tc_channel_capacity(queue->channel->channel) > queue->heartbeats_loaded &&
		tc_share_has_room(queue->account, SHARE_PLACES) && tc_share_has_room(queue->account, SHARE_BYTES))
		return true;
	/* also if it is others who have it all, of whose answers it is not told */
	queue->heartbeats_after = tc_monotonic_ms() + GRID_MS;
	return false;
}

static int64
read_at(const Queue *queue)
{
	return Max(queue->heartbeats_after, queue->heartbeats_read_after);
}

int64
tc_heartbeats_next(Queue *queue)
{
	Beat	   *beat = tc_beat_first(queue);
	int64		next = TC_NEVER;

	if (queue->heartbeats_unread && read_at(queue) > tc_monotonic_ms())
		next = read_at(queue);
	if (beat != NULL)
		next = Min(next, Max((beat->due.due + GRID_MS - 1) / GRID_MS * GRID_MS, queue->heartbeats_after));
	return next;
}

bool
tc_heartbeats_are_due(Queue *queue)
{
	Beat	   *beat = tc_beat_first(queue);
	int64		now = tc_monotonic_ms();

	return beat != NULL && beat->due.due <= now && queue->heartbeats_after <= now;
}

Beat *
tc_beat_first(Queue *queue)
{
	if (pairingheap_is_empty(queue->heartbeats_due))
		return NULL;
	return pairingheap_container(Beat, due.node, pairingheap_first(queue->heartbeats_due));
}

void
tc_beat_wait(Beat *beat, int64 due)
{
	Assert(beat->state != BEAT_WAITING);
	beat->state = BEAT_WAITING;
	beat->due.due = due;
	pairingheap_add(beat->queue->heartbeats_due, &beat->due.node);
}

void
tc_beat_take(Beat *beat, BeatState state)
{
	if (beat->state == BEAT_WAITING)
		pairingheap_remove(beat->queue->heartbeats_due, &beat->due.node);
	beat->state = state;
}

void
tc_beat_set_timeout(Beat *beat, int64 timeout_ms)
{
	int64		interval = timeout_ms > 0 ? (int64) (timeout_ms * TIMEOUT_PART) : INTERVAL_MAX_MS;

	beat->interval_ms = (int32) Max(INTERVAL_MIN_MS, Min(interval, INTERVAL_MAX_MS));
	beat->guessed = false;
}

/*---- end ----*/

Beat *
tc_beats_of(SipHash activity)
{
	BeatEntry  *entry = beats_lookup(beats_by_activity, activity);

	return entry != NULL ? entry->first : NULL;
}

void
tc_beat_end(Beat *beat, const char *error_code)
{
	if (error_code != NULL)
		tc_heartbeat_note(beat->queue, beat->id, beat->xid, &beat->reply, error_code);
	drop(beat);
}

/*
 * Not those of another run, or attempt, that was recorded after the verdict was
 * asked for.  What a verdict by key was about is removed with its outcome; what
 * was recorded under other keys stays, so it is noted there.
 */
void
tc_heartbeats_end(const Request *verdict)
{
	Beat	   *next;

	for (Beat *beat = tc_beats_of(verdict->activity); beat != NULL; beat = next)
	{
		next = beat->next;
		if (beat->id < verdict->id || beat->attempt == verdict->attempt)
			tc_beat_end(beat, beat->id == verdict->recorded_activity ? NULL : TC_VERDICT_DELIVERED);
	}
}

/* What has a call goes when that is over. */
static void
drop(Beat *beat)
{
	BeatEntry  *entry = beats_lookup(beats_by_activity, beat->activity);
	Queue	   *queue = beat->queue;
	Beat	  **link;

	if (!beat->dropped)
	{
		Assert(entry != NULL);
		for (link = &entry->first; *link != beat; link = &(*link)->next)
			;
		*link = beat->next;
		if (entry->first == NULL)
			beats_delete(beats_by_activity, beat->activity);
	}
	beat->dropped = true;
	if (beat->state != BEAT_WAITING && beat->state != BEAT_SETTLED)
		return;
	tc_beat_take(beat, BEAT_SETTLED);
	queue->heartbeats--;
	nbeats--;
	tc_share_give(queue->account, SHARE_HEARTBEATS, 1);
	pfree(beat);
}

/* Rare, so all are looked through. */
void
tc_heartbeats_forget(Queue *queue)
{
	List	   *all = NIL;
	ListCell   *lc;
	beats_iterator i;
	BeatEntry  *entry;

	if (queue->heartbeats > 0)
	{
		beats_start_iterate(beats_by_activity, &i);
		while ((entry = beats_iterate(beats_by_activity, &i)) != NULL)
			for (Beat *beat = entry->first; beat != NULL; beat = beat->next)
				if (beat->queue == queue)
					all = lappend(all, beat);
		foreach(lc, all)
			drop(lfirst(lc));
		list_free(all);
	}
	tc_read_position_forget(&queue->heartbeat_position);
	queue->heartbeats_unread = true;
}
