/*-------------------------------------------------------------------------
 *
 * tidying.c
 *	  When temporal_internal.queue is tidied up, and temporal_internal.recorded_activity.
 *
 * Whenever another segment of temporal_internal.delivery was begun, unused queues are
 * retired, and those removed to which nothing refers any more; a new worker
 * goes on with what was retired before.  Not more often, because whoever uses
 * a queue again that was retired makes a new one.  A table of few pages is let
 * alone.  Before that, recorded activities that have expired are removed,
 * what was answered to heartbeats of those that are gone, and what is told of
 * how such ended, and of the last heartbeats of activities, when outcomes of
 * that time are gone.
 *
 * queue_tidying.c says what must hold between the two passes: all transactions
 * have ended that had an id when the first one was committed.  Each pass is
 * done in short steps, which take a small part of the time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/memutils.h"

#include "base/event_loop.h"
#include "compat.h"
#include "outbox/ended_activity.h"
#include "outbox/heartbeats.h"
#include "outbox/last_heartbeats.h"
#include "outbox/outbox.h"
#include "outbox/recorded_activity.h"
#include "worker/tidying.h"
#include "worker/transaction.h"

/* Steps take at most one of so many parts of the time */
#define STEP_PART 10

/* Come back after that long when a table was locked, or there was an error, doubling */
#define LATER_MIN_MS 1000
#define LATER_MAX_MS 3600000

/* How often it is asked whether transactions have ended, doubling */
#define WAIT_MIN_MS 100
#define WAIT_MAX_MS 60000

typedef enum Stage
{
	STAGE_NONE,
	STAGE_FORGET,
	STAGE_FORGET_ANSWERS,
	STAGE_FORGET_ENDED,
	STAGE_FORGET_LAST,
	STAGE_BEGIN,
	STAGE_RETIRE,
	STAGE_WAIT,
	STAGE_REMOVE
} Stage;

static Stage stage = STAGE_BEGIN;
static bool segment_begun;		/* since unused queues were retired */
static bool are_many;
static int64 position;			/* of the pass: the last number looked at */
static int64 next_position;		/* when the step is committed */
static BlockNumber block;		/* STAGE_FORGET, _ANSWERS, _ENDED, _LAST: the
								 * same */
static BlockNumber next_block;
static int	later_ms = LATER_MIN_MS;
static uint64 wait_for_xid;		/* STAGE_WAIT: those before it have to end */
static int	wait_ms;
static bool step_done;			/* else a table was locked */
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;
static MemoryContext context;	/* reset after each step */

static void come_back(int64 delay_ms);
static void wait_for_transactions(void);
static void wait_longer(void);
static bool try_step(void);
static void do_step(void *arg);
static void next_stage(void);

void
tc_tidying_segment_begun(void)
{
	segment_begun = true;
	if (stage == STAGE_NONE || stage == STAGE_BEGIN)
		stage = STAGE_FORGET;
}

void
tc_tidying_turn(void)
{
	int64		begin;

	if (stage == STAGE_NONE)
		return;
	begin = tc_monotonic_ms();
	if (not_before > begin)
		return;
	/* this takes no transaction */
	if (stage == STAGE_WAIT && tc_latest_completed_xid() + 1 < wait_for_xid)
	{
		wait_longer();
		return;
	}
	if (!try_step())
	{
		come_back(later_ms);
		later_ms = Min(2 * later_ms, LATER_MAX_MS);
		return;
	}
	later_ms = LATER_MIN_MS;
	position = next_position;
	block = next_block;
	next_stage();
	if (stage != STAGE_NONE && not_before <= begin)
		come_back((tc_monotonic_ms() - begin) * (STEP_PART - 1));
}

static void
come_back(int64 delay_ms)
{
	not_before = tc_monotonic_ms() + delay_ms;
	tc_timer_wake(&timer, not_before);
}

/* Those that have an id now: what is committed is seen by all that get theirs later. */
static void
wait_for_transactions(void)
{
	wait_for_xid = U64FromFullTransactionId(ReadNextFullTransactionId());
	wait_ms = WAIT_MIN_MS;
	stage = STAGE_WAIT;
}

static void
wait_longer(void)
{
	come_back(wait_ms);
	wait_ms = Min(2 * wait_ms, WAIT_MAX_MS);
}

/* One transaction.  False if nothing was done: it failed, or a table was locked. */
static bool
try_step(void)
{
	MemoryContext old;
	bool		ok;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "temporal_complete tidying",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	step_done = true;
	next_position = position;
	next_block = block;
	ok = tc_run_transaction(do_step, NULL);
	MemoryContextSwitchTo(old);
	MemoryContextReset(context);
	return ok && step_done;
}

/* Within the transaction: nothing that is only true when it is committed. */
static void
do_step(void *arg)
{
	ReadSnapshot *snapshot;

	switch (stage)
	{
		case STAGE_NONE:
			break;
		case STAGE_FORGET:
			step_done = tc_activities_tidy(&next_block);
			break;
		case STAGE_FORGET_ANSWERS:
			step_done = tc_heartbeat_answers_tidy(&next_block);
			break;
		case STAGE_FORGET_ENDED:
			step_done = tc_ended_activities_tidy(&next_block);
			break;
		case STAGE_FORGET_LAST:
			step_done = tc_last_heartbeats_tidy(&next_block);
			break;
		case STAGE_BEGIN:
			are_many = tc_queues_are_many();
			break;
		case STAGE_RETIRE:
			step_done = tc_queues_retire(&next_position);
			break;
		case STAGE_WAIT:
			snapshot = tc_snapshot_take();
			if ((snapshot->nxip > 0 ? snapshot->xip[0] : snapshot->xmax) >= wait_for_xid)
				wait_for_xid = 0;
			break;
		case STAGE_REMOVE:
			step_done = tc_queues_remove(&next_position);
			break;
	}
}

/* After the commit */
static void
next_stage(void)
{
	switch (stage)
	{
		case STAGE_NONE:
			break;
		case STAGE_FORGET:
			if (block == 0)
				stage = STAGE_FORGET_ANSWERS;
			break;
		case STAGE_FORGET_ANSWERS:
			if (block == 0)
				stage = STAGE_FORGET_ENDED;
			break;
		case STAGE_FORGET_ENDED:
			if (block == 0)
				stage = STAGE_FORGET_LAST;
			break;
		case STAGE_FORGET_LAST:
			if (block == 0)
				stage = STAGE_BEGIN;
			break;
		case STAGE_BEGIN:
			if (!are_many)
				stage = STAGE_NONE;
			else if (segment_begun)
				stage = STAGE_RETIRE;
			else
				wait_for_transactions();
			segment_begun = false;
			break;
		case STAGE_RETIRE:
			if (position == 0)
				wait_for_transactions();
			break;
		case STAGE_WAIT:
			if (wait_for_xid == 0)
				stage = STAGE_REMOVE;
			else
				wait_longer();
			break;
		case STAGE_REMOVE:
			if (position == 0)
				stage = segment_begun ? STAGE_FORGET : STAGE_NONE;
			break;
	}
}
