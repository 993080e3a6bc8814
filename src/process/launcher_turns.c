/*-------------------------------------------------------------------------
 *
 * launcher_turns.c
 *	  Places for workers, and whose turn it is if there are too few.
 *
 * Too few because of temporal_complete.max_workers, or because all of
 * max_worker_processes are taken.  Then owners of databases take turns, and
 * the databases of an owner those of his, in the order in which they began to
 * wait.  So who has many databases has no more places for it than others who
 * want some.  No database can keep the others from theirs: a worker that does
 * not leave when it is asked to, because it waits for somebody's lock, is
 * ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "base/event_loop.h"
#include "base/settings.h"
#include "process/launcher_databases.h"
#include "process/launcher_state.h"
#include "process/launcher_turns.h"

/* How often to try again while no worker can be started */
#define RETRY_MS 1000

/* So long that must have lasted before it is reported */
#define REPORT_MS 2000

/*
 * While others wait: turn of a worker, and of one with nothing in flight, or
 * whose owner has more than his share
 */
#define TURN_MS 10000
#define SHORT_TURN_MS 1000

/* A worker that was asked to leave is ended after that */
#define STUCK_MS 10000

/* An owner of databases that have workers, or are to have some */
typedef struct Owner
{
	Oid			owner;
	int			workers;
	int			places;			/* with those for which his databases wait */
	int64		last;			/* when his last worker was started */
	bool		waits;
} Owner;

/* A database among those that wait */
typedef struct Turn
{
	DatabaseEntry *entry;
	int			place;			/* of its owner, which number */
	int64		last;
	int			position;
} Turn;

/* Times are monotonic ms, 0 = no shortage */
static int64 retry_at = 0;
static int64 since = 0;
static Shortage last_shortage = SHORTAGE_NONE;
static bool reported = false;

static int	compare_turns(const void *a, const void *b);
static List *owners_of_databases(void);
static Owner *find_owner(List *owners, Oid oid);
static void retry_later(Shortage shortage);
static void places_are_short(Shortage shortage);

/* Everybody's first place comes before anybody's second one. */
void
tc_order_by_turns(const List *infos)
{
	List	   *owners;
	Turn	   *turns;
	int			n = 0;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		const DatabaseInfo *info = tc_find_database(infos, entry->database);

		if (info != NULL)
			entry->owner = info->owner;
		n++;
	}
	owners = owners_of_databases();
	turns = palloc(Max(n, 1) * sizeof(Turn));
	n = 0;
	dlist_foreach_modify(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		Owner	   *owner = find_owner(owners, entry->owner);

		if (!tc_database_waits(entry))
			continue;
		turns[n].entry = entry;
		turns[n].place = owner->places++;
		turns[n].last = owner->last;
		turns[n].position = n;
		n++;
		dlist_delete(&entry->node);
	}
	qsort(turns, n, sizeof(Turn), compare_turns);
	for (int i = 0; i < n; i++)
		dlist_push_tail(&tc_launcher_list, &turns[i].entry->node);
	pfree(turns);
	list_free_deep(owners);
}

static int
compare_turns(const void *a, const void *b)
{
	const Turn *one = a;
	const Turn *other = b;

	if (one->place != other->place)
		return one->place < other->place ? -1 : 1;
	if (one->last != other->last)
		return one->last < other->last ? -1 : 1;
	return one->position < other->position ? -1 : 1;
}

static List *
owners_of_databases(void)
{
	List	   *owners = NIL;
	dlist_iter	iter;

	dlist_foreach(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		Owner	   *owner = find_owner(owners, entry->owner);

		if (owner == NULL)
		{
			owner = palloc0(sizeof(Owner));
			owner->owner = entry->owner;
			owners = lappend(owners, owner);
		}
		if (entry->slot >= 0)
			owner->workers++;
		owner->places = owner->workers;
		owner->last = Max(owner->last, entry->started_at);
		owner->waits |= tc_database_waits(entry);
	}
	return owners;
}

static Owner *
find_owner(List *owners, Oid oid)
{
	ListCell   *lc;

	foreach(lc, owners)
	{
		Owner	   *owner = lfirst(lc);

		if (owner->owner == oid)
			return owner;
	}
	return NULL;
}

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
tc_shortage_retry_now(void)
{
	retry_at = 0;
}

void
tc_shortage_found(Shortage shortage, bool place_is_coming)
{
	switch (shortage)
	{
		case SHORTAGE_NONE:
			tc_shortage_over();
			break;
		case SHORTAGE_STARTS:
			tc_shortage_retry_now();	/* the end of a start wakes us */
			break;
		case SHORTAGE_MAX_WORKERS:
		case SHORTAGE_PROCESSES:
			retry_later(shortage);
			if (!place_is_coming)
				places_are_short(shortage);
			break;
	}
}

static void
retry_later(Shortage shortage)
{
	int64		now = tc_monotonic_ms();

	last_shortage = shortage;
	if (retry_at <= now)
		retry_at = now + RETRY_MS;
}

/* There is one message until all have been served. */
static void
places_are_short(Shortage shortage)
{
	int64		now = tc_monotonic_ms();
	int			nwaiting = tc_count_waiting();

	if (since == 0)
		since = now;
	if (!reported && now - since >= REPORT_MS)
	{
		reported = true;
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
	if (reported)
		tc_launcher_set_starved(shortage == SHORTAGE_PROCESSES ? STARVED_OF_PROCESSES : STARVED_OF_WORKERS);
	tc_end_a_turn();
}

void
tc_shortage_over(void)
{
	if (reported)
		tc_launcher_set_starved(STARVED_OF_NOTHING);
	retry_at = 0;
	since = 0;
	reported = false;
	last_shortage = SHORTAGE_NONE;
}

/* One at a time; but one that does not leave keeps nobody from asking the next. */
void
tc_end_a_turn(void)
{
	int64		now = tc_monotonic_ms();
	List	   *owners = owners_of_databases();
	DatabaseEntry *longest = NULL;
	int			most = 0;
	int			least = PG_INT32_MAX;
	ListCell   *lc;
	dlist_iter	iter;

	foreach(lc, owners)
	{
		Owner	   *owner = lfirst(lc);

		most = Max(most, owner->workers);
		if (owner->waits)
			least = Min(least, owner->workers);
	}

	dlist_foreach(iter, &tc_launcher_list)
	{
		DatabaseEntry *entry = dlist_container(DatabaseEntry, node, iter.cur);
		SlotView	view;
		bool		short_turn;

		if (entry->slot < 0)
			continue;
		tc_slot_view(entry->slot, &view);
		if (view.leave != LEAVE_NOT)
		{
			if (now - view.leave_since >= STUCK_MS)
				continue;
			longest = NULL;
			break;
		}
		if (find_owner(owners, entry->owner)->workers < most)
			continue;
		/* who has more than his share gives it to who has less at once */
		short_turn = (least < PG_INT32_MAX && most - least > 1) ||
			(view.state == SLOT_RUNNING && view.working && view.in_flight == 0);
		if (now - entry->started_at >= (short_turn ? SHORT_TURN_MS : TURN_MS) &&
			(longest == NULL || entry->started_at < longest->started_at))
			longest = entry;
	}
	list_free_deep(owners);
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
