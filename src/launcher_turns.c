/*-------------------------------------------------------------------------
 *
 * launcher_turns.c
 *	  Places for workers, and whose turn it is if there are too few.
 *
 * Too few because of temporal_complete.max_workers, or because all of
 * max_worker_processes are taken.  Then databases take turns, in the order in
 * which they began to wait.  No database can keep the others from theirs: a
 * worker that does not leave when it is asked to, because it waits for
 * somebody's lock, is ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "event_loop.h"
#include "launcher_state.h"
#include "launcher_turns.h"
#include "temporal_complete.h"

/* How often to try again while no worker can be started */
#define RETRY_MS 1000

/* So long that must have lasted before it is reported */
#define REPORT_MS 2000

/* While others wait: turn of a worker, and of one with nothing in flight */
#define TURN_MS 10000
#define IDLE_TURN_MS 1000

/* A worker that was asked to leave is ended after that */
#define STUCK_MS 10000

/* Times are monotonic ms, 0 = no shortage */
static int64 retry_at = 0;
static int64 since = 0;
static Shortage last_shortage = SHORTAGE_NONE;
static bool reported = false;

bool
tc_shortage_lasts(Shortage *shortage)
{
	if (retry_at <= tc_monotonic_ms())
		return false;
	*shortage = last_shortage;
	return true;
}

int64
tc_shortage_retry_at(void)
{
	return retry_at;
}

void
tc_shortage_retry_later(Shortage shortage)
{
	int64		now = tc_monotonic_ms();

	last_shortage = shortage;
	if (retry_at <= now)
		retry_at = now + RETRY_MS;
}

void
tc_shortage_retry_now(void)
{
	retry_at = 0;
}

/* There is one message until all have been served. */
void
tc_shortage_of_places(Shortage shortage, int nwaiting, dlist_head *databases)
{
	int64		now = tc_monotonic_ms();

	tc_shortage_retry_later(shortage);
	if (since == 0)
		since = now;
	if (!reported && now - since >= REPORT_MS)
	{
		reported = true;
		tc_launcher_set_starved(true);
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 shortage == SHORTAGE_PROCESSES ?
				 errmsg("out of background worker slots for temporal_complete") :
				 errmsg("all %d workers of temporal_complete are at work", tc_max_workers),
				 errdetail_plural("%d database waits for a worker.",
								  "%d databases wait for a worker.",
								  nwaiting, nwaiting),
				 shortage == SHORTAGE_PROCESSES ?
				 errhint("Consider increasing max_worker_processes; until then databases take turns.") :
				 errhint("Consider increasing temporal_complete.max_workers; until then databases take turns.")));
	}
	tc_end_a_turn(databases);
}

void
tc_shortage_over(void)
{
	if (reported)
		tc_launcher_set_starved(false);
	retry_at = 0;
	since = 0;
	reported = false;
	last_shortage = SHORTAGE_NONE;
}

/* One at a time; but one that does not leave keeps nobody from asking the next. */
void
tc_end_a_turn(dlist_head *databases)
{
	int64		now = tc_monotonic_ms();
	DatabaseEntry *longest = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, databases)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		SlotView	view;
		bool		idle;

		if (entry->slot < 0)
			continue;
		tc_slot_view(entry->slot, &view);
		if (view.leave != LEAVE_NOT)
		{
			if (now - view.leave_since < STUCK_MS)
				return;
			continue;
		}
		idle = view.state == SLOT_RUNNING && view.working && view.in_flight == 0;
		if (now - entry->started_at >= (idle ? IDLE_TURN_MS : TURN_MS) &&
			(longest == NULL || entry->started_at < longest->started_at))
			longest = entry;
	}
	if (longest != NULL)
		tc_slot_ask_to_leave(longest->slot, LEAVE_FOR_OTHERS);
}

int64
tc_end_if_stuck(const DatabaseEntry *entry, const SlotView *view)
{
	int64		now = tc_monotonic_ms();

	if (now - view->leave_since < STUCK_MS)
		return view->leave_since + STUCK_MS;
	if (entry->handle != NULL)
		TerminateBackgroundWorker(entry->handle);
	else if (view->pid != 0)
		kill(view->pid, SIGTERM);
	return now + STUCK_MS;
}
