/*-------------------------------------------------------------------------
 *
 * recording.c
 *	  Requests whose state is to be recorded.
 *
 * They are recorded in batches: when there are enough of them, or a few
 * milliseconds after the first.  An error while recording loses nothing: what
 * happened is kept and recorded later.  The batches are then halved, so that
 * if only one of the rows is the cause, that one is found and put aside, and
 * the others go on; a cause that concerns all, such as a full disk, is met
 * once a second until it is gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/foreign_text.h"
#include "process/in_flight.h"
#include "worker/counting.h"
#include "worker/heartbeats.h"
#include "worker/notify.h"
#include "worker/queue.h"
#include "worker/recording.h"
#include "worker/story.h"
#include "worker/transaction.h"

/* A batch is recorded when it is so large, or its first request so old */
#define BATCH 1024
#define DELAY_MS 5

/* After an error; for a row that another transaction is changing; for one that is the cause */
#define ERROR_DELAY_MS 1000
#define BUSY_DELAY_MS 1000
#define CULPRIT_DELAY_MS 60000

/* What waits for its turn, and what was put aside, until aside_until */
static dlist_head waiting = DLIST_STATIC_INIT(waiting);
static dlist_head aside = DLIST_STATIC_INIT(aside);
static int	nwaiting;
static int	naside;
static int64 first_at;			/* monotonic ms: when the first began to wait */
static int64 not_before;		/* monotonic ms: after an error */
static int64 aside_until;		/* monotonic ms */
static int	batch_limit = BATCH;
static LoopTimer timer;
static KeyFinisher before_finish;
static MemoryContext batch_context; /* reset after each batch */

typedef struct Batch
{
	int			count;
	bool		summarize;		/* the index of what was recorded */
	Outcome    *outcomes;
	Request   **requests;
} Batch;

static void set_timer(void);
static void fill_batch(Batch *batch);
static void record_batch(void *arg);
static void summarize(void *arg);
static void settle_batch(const Batch *batch);
static void tell(const Outcome *outcome);
static void put_aside(Request *request, int64 until);
static void take_back(void);

void
tc_recording_init(KeyFinisher key_finisher)
{
	before_finish = key_finisher;
	batch_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete outcomes",
										  ALLOCSET_DEFAULT_SIZES);
}

void
tc_request_finish(Request *request, OutcomeKind kind)
{
	request->outcome = kind;
	request->outcome_at = GetCurrentTimestamp();
	if (kind == OUTCOME_DELIVERED && !tc_method_is_heartbeat(request->method))
		tc_heartbeats_end(request);
	tc_request_end(request);
	tc_recording_add(request);
}

bool
tc_request_has_expired(const Request *request, const ServerConfig *config)
{
	if (request->expires_at != 0 && GetCurrentTimestamp() >= request->expires_at)
		return true;
	return config->expire_after_s > 0 &&
		GetCurrentTimestamp() - request->requested_at > config->expire_after_s * USECS_PER_SEC &&
		GetCurrentTimestamp() > request->awaited_until;
}

bool
tc_request_expire(Request *request)
{
	if (request->maybe_sent && !tc_method_is_heartbeat(request->method))
	{
		request->refusal = TC_EXPIRED;
		return true;
	}
	request->error_code = TC_EXPIRED;
	tc_request_finish(request, request->maybe_sent ? OUTCOME_UNCONFIRMED : OUTCOME_REJECTED);
	return false;
}

void
tc_recording_add(Request *request)
{
	if (request->unrecorded)
		return;
	request->unrecorded = true;
	request->put_aside = false;
	dlist_push_tail(&waiting, &request->record_node);
	if (nwaiting++ == 0)
	{
		first_at = tc_monotonic_ms();
		set_timer();
	}
}

void
tc_recording_remove(Request *request)
{
	if (!request->unrecorded)
		return;
	dlist_delete(&request->record_node);
	request->unrecorded = false;
	if (request->put_aside)
		naside--;
	else
		nwaiting--;
}

int
tc_recording_count(void)
{
	return nwaiting + naside;
}

bool
tc_recording_turn(bool now)
{
	MemoryContext old;
	Batch		batch;
	bool		recorded;
	int64		time;

	if (nwaiting + naside == 0)
		return false;
	time = tc_monotonic_ms();
	if (naside > 0 && aside_until <= time)
		take_back();
	if (nwaiting == 0 || not_before > time ||
		(!now && nwaiting < BATCH && time - first_at < DELAY_MS))
		return false;

	old = MemoryContextSwitchTo(batch_context);
	fill_batch(&batch);
	tc_outcomes_begin();
	recorded = tc_run_transaction(record_batch, &batch);
	tc_outcomes_end();
	if (recorded)
	{
		settle_batch(&batch);
		if (batch.summarize)
			(void) tc_run_transaction(summarize, NULL);
		batch_limit = Min(BATCH, batch_limit * 2);
		first_at = time;
	}
	else if (!tc_extension_is_gone())
	{
		not_before = time + ERROR_DELAY_MS;
		if (batch.count == 1)
			put_aside(batch.requests[0], time + CULPRIT_DELAY_MS);
		batch_limit = Max(1, batch.count / 2);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch_context);
	if (nwaiting + naside > 0)
		set_timer();
	return nwaiting > 0 && not_before <= time && (now || nwaiting >= BATCH);
}

static void
set_timer(void)
{
	int64		due = nwaiting > 0 ? Max(first_at + DELAY_MS, not_before) : PG_INT64_MAX;

	if (naside > 0)
		due = Min(due, aside_until);
	tc_timer_wake(&timer, due);
}

/* The first ones that wait, as they are now. */
static void
fill_batch(Batch *batch)
{
	int			max = Min(nwaiting, batch_limit);
	dlist_iter	iter;

	batch->count = 0;
	batch->outcomes = palloc0(max * sizeof(Outcome));
	batch->requests = palloc(max * sizeof(Request *));
	dlist_foreach(iter, &waiting)
	{
		Request    *request = dlist_container(Request, record_node, iter.cur);
		Outcome    *outcome = &batch->outcomes[batch->count];

		if (batch->count == max)
			break;
		batch->requests[batch->count++] = request;
		outcome->kind = request->state == REQUEST_FINISHED ? request->outcome : OUTCOME_RETRY;
		outcome->id = request->id;
		outcome->xid = request->xid;
		outcome->tid = request->tid;
		outcome->attempts = request->attempts;
		outcome->maybe_sent = request->maybe_sent;
		outcome->at = request->outcome_at;
		outcome->next_attempt_at = request->next_attempt_at;
		outcome->error_code = request->error_code;
		outcome->has_heartbeat_reply = request->has_heartbeat_reply;
		outcome->heartbeat_reply = request->heartbeat_reply;
	}
}

static void
record_batch(void *arg)
{
	Batch	   *batch = arg;

	/* looking up a conversion takes a transaction */
	for (int i = 0; i < batch->count; i++)
	{
		const char *message = batch->requests[i]->error_message;

		if (message != NULL)
			batch->outcomes[i].error_message = tc_words_to_server(message);
	}
	batch->summarize = tc_outbox_record(batch->outcomes, batch->count, before_finish);
}

static void
summarize(void *arg)
{
	tc_delivery_summarize();
}

/* After the commit: what is recorded is forgotten, if it is finished. */
static void
settle_batch(const Batch *batch)
{
	for (int i = 0; i < batch->count; i++)
	{
		Request    *request = batch->requests[i];

		if (!batch->outcomes[i].recorded)
		{
			put_aside(request, tc_monotonic_ms() + BUSY_DELAY_MS);
			continue;
		}
		tc_recording_remove(request);
		if (request->state != REQUEST_FINISHED)
			continue;
		tc_story_outcome(request->queue->row.server_name, batch->outcomes[i].kind, request->id,
						 batch->outcomes[i].error_code);
		tell(&batch->outcomes[i]);
		if (!batch->outcomes[i].gone)
			tc_count_outcome(request, request->error_code != NULL &&
							 strcmp(request->error_code, TC_EXPIRED) == 0);
		if (batch->outcomes[i].not_kept > 0)
			tc_count_not_kept(request, batch->outcomes[i].not_kept, batch->outcomes[i].replaced_at);
		tc_request_forget(request);
	}
	tc_outcomes_recorded();
}

static void
tell(const Outcome *outcome)
{
	if (outcome->kind == OUTCOME_REJECTED)
		tc_notify_add(NOTIFY_REJECTED, outcome->id);
	else if (outcome->kind == OUTCOME_UNCONFIRMED)
		tc_notify_add(NOTIFY_UNCONFIRMED, outcome->id);
	else if (outcome->has_heartbeat_reply && outcome->heartbeat_reply.cancel_requested)
		tc_notify_add(NOTIFY_CANCEL_REQUESTED, outcome->id);
}

static void
put_aside(Request *request, int64 until)
{
	dlist_delete(&request->record_node);
	dlist_push_tail(&aside, &request->record_node);
	request->put_aside = true;
	nwaiting--;
	if (naside++ == 0)
		aside_until = until;
	aside_until = Min(aside_until, until);
}

static void
take_back(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &aside)
	{
		Request    *request = dlist_container(Request, record_node, iter.cur);

		dlist_delete(&request->record_node);
		request->put_aside = false;
		dlist_push_tail(&waiting, &request->record_node);
	}
	nwaiting += naside;
	naside = 0;
}
