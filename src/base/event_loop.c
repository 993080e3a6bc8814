/*-------------------------------------------------------------------------
 *
 * event_loop.c
 *	  Waiting for the latch, sockets and timers at once.
 *
 * A WaitEventSet cannot forget a socket, so it is built anew when sockets
 * were added or removed; a mere change of the events waited for is applied
 * just before the next wait.  Hence watching, modifying and unwatching only
 * note what is wanted: they never raise errors and can be called beneath
 * libcurl and nghttp2.
 *
 * Nothing here knows what the sockets are for; no callback may wait itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "lib/ilist.h"

#include "base/event_loop.h"
#include "compat.h"

struct SocketWatch
{
	dlist_node	node;
	pgsocket	sock;
	uint32		events;			/* wanted; 0 = none for now */
	uint32		applied;		/* in the set; 0 = not in the set */
	int			position;		/* in the set */
	SocketCallback callback;
	void	   *arg;
};

/* Ready sockets looked at in one turn; the others are seen in the next one */
#define MAX_EVENTS 32

static dlist_head watches = DLIST_STATIC_INIT(watches);
static int	nwatches = 0;

/* Unwatched, and perhaps still named by an event of this turn */
static dlist_head unwatched = DLIST_STATIC_INIT(unwatched);

static WaitEventSet *wait_set = NULL;
static bool rebuild = true;		/* sockets came or went */
static bool modified = false;	/* events of a socket changed */

static pairingheap *timers = NULL;
static int	ntimers = 0;
static bool in_vain;			/* said by the callback that runs */

static void free_unwatched(void);
static void build_set(void);
static void modify_set(void);
static bool wait_once(long timeout_ms, uint32 wait_event_info, bool *nothing);
static bool dispatch(const WaitEvent *events, int nevents);
static bool run_timers(void);

/*
 * Prepare the loop of this process.  To be called once, before anything
 * else here.
 */
void
tc_event_loop_init(void)
{
	if (timers == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		timers = pairingheap_allocate(tc_due_compare, NULL);
		MemoryContextSwitchTo(old);
	}
}

/*
 * Milliseconds of a clock that only goes forward.
 */
int64
tc_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Have the callback run when the socket is ready for any of the events
 * (WL_SOCKET_READABLE, WL_SOCKET_WRITEABLE).  A socket may have one watch
 * only.  Returns NULL for lack of memory; raises no error.
 */
SocketWatch *
tc_event_loop_watch(pgsocket sock, uint32 events, SocketCallback callback, void *arg)
{
	SocketWatch *watch = malloc(sizeof(SocketWatch));

	if (watch == NULL)
		return NULL;
	watch->sock = sock;
	watch->events = events;
	watch->applied = 0;
	watch->position = -1;
	watch->callback = callback;
	watch->arg = arg;
	dlist_push_tail(&watches, &watch->node);
	nwatches++;
	rebuild = true;
	return watch;
}

/*
 * Wait for other events of a watched socket; 0 = for none at present.
 */
void
tc_event_loop_modify(SocketWatch *watch, uint32 events)
{
	if (watch->events == events)
		return;
	watch->events = events;
	modified = true;
}

/*
 * Forget a socket; its callback is not run any more, even if the socket was
 * found ready in this turn.  To be called before the socket is closed.
 */
void
tc_event_loop_unwatch(SocketWatch *watch)
{
	dlist_delete(&watch->node);
	nwatches--;
	watch->events = 0;
	dlist_push_tail(&unwatched, &watch->node);
	rebuild = true;
}

/*
 * Run the callback once, when the clock has reached due.  A timer that is
 * set already is moved.
 */
void
tc_timer_set(LoopTimer *timer, int64 due, TimerCallback callback, void *arg)
{
	tc_timer_cancel(timer);
	timer->when.due = due;
	timer->callback = callback;
	timer->arg = arg;
	timer->armed = true;
	pairingheap_add(timers, &timer->when.node);
	ntimers++;
}

void
tc_timer_wake(LoopTimer *timer, int64 due)
{
	tc_timer_set(timer, due, NULL, NULL);
}

/*
 * Unset a timer; nothing happens if it is not set.
 */
void
tc_timer_cancel(LoopTimer *timer)
{
	if (!timer->armed)
		return;
	pairingheap_remove(timers, &timer->when.node);
	ntimers--;
	timer->armed = false;
}

void
tc_timer_in_vain(void)
{
	in_vain = true;
}

/*
 * One turn of the loop, see event_loop.h.
 */
bool
tc_event_loop_wait(long timeout_ms, uint32 wait_event_info)
{
	bool		latch_set;
	bool		nothing;

	do
	{
		latch_set = wait_once(timeout_ms, wait_event_info, &nothing);
	} while (nothing && timeout_ms < 0);
	return latch_set;
}

/* *nothing: timers were due, all of them in vain, and that is all that happened. */
static bool
wait_once(long timeout_ms, uint32 wait_event_info, bool *nothing)
{
	WaitEvent	events[MAX_EVENTS];
	int			nevents;
	bool		latch_set;

	if (rebuild)
		build_set();
	else if (modified)
		modify_set();

	if (!pairingheap_is_empty(timers))
	{
		LoopTimer  *first = pairingheap_container(LoopTimer, when.node, pairingheap_first(timers));
		int64		left = Max(first->when.due - tc_monotonic_ms(), 0);

		if (timeout_ms < 0 || left < timeout_ms)
			timeout_ms = (long) Min(left, PG_INT32_MAX);
	}

	nevents = WaitEventSetWait(wait_set, timeout_ms, events, lengthof(events), wait_event_info);
	latch_set = dispatch(events, nevents);

	/*
	 * Before version 16 a set latch hides all sockets: with many commits
	 * going on, they would hardly ever be looked at.
	 */
	if (latch_set && nevents == 1 && nwatches > 0)
	{
		nevents = WaitEventSetWait(wait_set, 0, events, lengthof(events), wait_event_info);
		latch_set = dispatch(events, nevents) || latch_set;
	}

	*nothing = run_timers() && nevents == 0 && !latch_set;
	return latch_set;
}

static void
free_unwatched(void)
{
	while (!dlist_is_empty(&unwatched))
		free(dlist_container(SocketWatch, node, dlist_pop_head_node(&unwatched)));
}

/*
 * Build the set anew from the sockets that are watched now.
 */
static void
build_set(void)
{
	dlist_iter	iter;

	if (wait_set != NULL)
	{
		WaitEventSet *old = wait_set;

		wait_set = NULL;
		FreeWaitEventSet(old);
	}
	free_unwatched();

	rebuild = true;				/* should an error end this half way */
	wait_set = tc_create_wait_event_set(nwatches + 2);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);

	dlist_foreach(iter, &watches)
	{
		SocketWatch *watch = dlist_container(SocketWatch, node, iter.cur);

		watch->applied = 0;
		if (watch->events == 0)
			continue;
		watch->position = AddWaitEventToSet(wait_set, watch->events, watch->sock, NULL, watch);
		watch->applied = watch->events;
	}
	rebuild = false;
	modified = false;
}

/*
 * Apply changed events to the set.
 */
static void
modify_set(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &watches)
	{
		SocketWatch *watch = dlist_container(SocketWatch, node, iter.cur);

		if (watch->events == watch->applied)
			continue;
		if (watch->events == 0 || watch->applied == 0)
		{
			/* A set can neither hold a socket without events nor drop it. */
			build_set();
			return;
		}
		ModifyWaitEvent(wait_set, watch->position, watch->events, NULL);
		watch->applied = watch->events;
	}
	modified = false;
}

/*
 * Run the callbacks of ready sockets.  True if the latch was set.
 */
static bool
dispatch(const WaitEvent *events, int nevents)
{
	bool		latch_set = false;

	/* Before the callbacks: what they make known must not be forgotten. */
	for (int i = 0; i < nevents; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			latch_set = true;
		}
	}

	for (int i = 0; i < nevents; i++)
	{
		SocketWatch *watch = events[i].user_data;
		uint32		ready;

		if (watch == NULL)
			continue;

		/* Not what an earlier callback of this turn gave up waiting for */
		ready = events[i].events & watch->events;
		if (ready != 0)
			watch->callback(watch->arg, ready);
	}
	return latch_set;
}

/*
 * Run the callbacks of timers that are due.  The number of them is bounded,
 * lest a timer that is set to the past in its callback keeps us here.  True if
 * some were due, and all in vain.
 */
static bool
run_timers(void)
{
	int64		now;
	bool		some = false;
	bool		all_in_vain = true;

	if (ntimers == 0)
		return false;

	now = tc_monotonic_ms();
	for (int n = ntimers; n > 0 && !pairingheap_is_empty(timers); n--)
	{
		LoopTimer  *timer = pairingheap_container(LoopTimer, when.node, pairingheap_first(timers));

		if (timer->when.due > now)
			break;
		tc_timer_cancel(timer);
		in_vain = false;
		if (timer->callback != NULL)
			timer->callback(timer->arg);
		some = true;
		all_in_vain &= in_vain;
	}
	return some && all_in_vain;
}
