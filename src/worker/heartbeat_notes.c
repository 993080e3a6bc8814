/*-------------------------------------------------------------------------
 *
 * heartbeat_notes.c
 *	  Noting what was answered to heartbeats, when it changes.
 *
 * In batches; an error loses nothing, it is tried again later.  What is noted
 * is for who looks, and for the next worker: it does not begin again what has
 * ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "outbox/heartbeats.h"
#include "worker/heartbeat_notes.h"
#include "worker/notify.h"
#include "worker/transaction.h"

#define BATCH 1024

/* After an error, or when somebody has locked the table */
#define LATER_MS 1000

/* Those that were not noted are forgotten, the oldest first, when there are so many */
#define NOTES_MAX 100000

typedef struct Note
{
	dlist_node	node;
	HeartbeatAnswer answer;
} Note;

typedef struct Batch
{
	int			count;
	HeartbeatAnswer *answers;
	bool		done;
} Batch;

static dlist_head notes = DLIST_STATIC_INIT(notes);
static int	nnotes;
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;

static void drop_first(void);
static void notify(const HeartbeatAnswer *answer);
static void put_batch(void *arg);

void
tc_heartbeat_note(const Queue *queue, int64 id, uint64 xid, const HeartbeatReply *reply,
				  const char *error_code)
{
	Note	   *note = MemoryContextAllocZero(TopMemoryContext, sizeof(Note));

	note->answer.id = id;
	note->answer.queue = queue->number;
	note->answer.xid = xid;
	if (reply != NULL)
		note->answer.reply = *reply;
	note->answer.error_code = error_code;
	note->answer.at = GetCurrentTimestamp();
	dlist_push_tail(&notes, &note->node);
	if (++nnotes > NOTES_MAX)
		drop_first();
	tc_timer_wake(&timer, Max(not_before, tc_monotonic_ms()));
}

void
tc_heartbeat_notes_turn(void)
{
	Batch		batch = {0};
	dlist_iter	iter;

	if (nnotes == 0 || not_before > tc_monotonic_ms())
		return;
	batch.answers = palloc(Min(nnotes, BATCH) * sizeof(HeartbeatAnswer));
	dlist_foreach(iter, &notes)
	{
		if (batch.count == BATCH)
			break;
		batch.answers[batch.count++] = dlist_container(Note, node, iter.cur)->answer;
	}
	if (tc_run_transaction(put_batch, &batch) && batch.done)
		for (int i = 0; i < batch.count; i++)
		{
			notify(&batch.answers[i]);
			drop_first();
		}
	else
		not_before = tc_monotonic_ms() + LATER_MS;
	if (nnotes > 0)
		tc_timer_wake(&timer, Max(not_before, tc_monotonic_ms()));
}

static void
drop_first(void)
{
	pfree(dlist_container(Note, node, dlist_pop_head_node(&notes)));
	nnotes--;
}

static void
notify(const HeartbeatAnswer *answer)
{
	if (answer->error_code == NULL && answer->reply.cancel_requested)
		tc_notify_add(NOTIFY_ACTIVITY_CANCEL_REQUESTED, answer->id);
	else if (answer->error_code != NULL && strcmp(answer->error_code, TC_SESSION_ENDED) != 0 &&
			 strcmp(answer->error_code, TC_VERDICT_DELIVERED) != 0)
		tc_notify_add(NOTIFY_ACTIVITY_GONE, answer->id);
}

static void
put_batch(void *arg)
{
	Batch	   *batch = arg;

	batch->done = tc_heartbeat_answers_put(batch->answers, batch->count);
}
