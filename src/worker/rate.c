/*-------------------------------------------------------------------------
 *
 * rate.c
 *	  How many requests may be sent to a server in a second.
 *
 * A bucket of tokens for each server that has the option
 * max_requests_per_second, one token a request, and another one for heartbeats
 * of recorded activities, with max_heartbeats_per_second.  It holds what comes in
 * BURST_US, so that a worker that sleeps for a moment loses nothing.  Requests
 * that find none stay ready, and wait for the timer.
 *
 * Roles that wait take turns, each for some tokens, whichever has more queues.
 * One that does not ask when its turn has come has nothing to send any more,
 * and leaves the line.
 *
 * Nothing here knows of requests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/event_loop.h"
#include "worker/rate.h"

#define BURST_US 100000

/* The loop goes round for tokens not more often than that */
#define TURN_MS 10

typedef struct RateKey
{
	Oid			server;
	RateKind	kind;
} RateKey;

struct Rate
{
	RateKey		key;
	int			users;
	int			interval_us;	/* between two tokens */
	int64		next;			/* monotonic us: when there is another token */
	dlist_head	line;			/* roles that wait, the first of which has its
								 * turn */
	int			left;			/* tokens in its turn */
	bool		asked;			/* it has asked since tc_rates_turn() */
	bool		waits;			/* somebody does ... */
	dlist_node	node;			/* ... then among such */
	LoopTimer	timer;
};

/* A role in line */
typedef struct RateLine
{
	Oid			role;
	dlist_node	node;
} RateLine;

static HTAB *rates;
static dlist_head waiting = DLIST_STATIC_INIT(waiting);

static int64 now_us(void);
static RateLine *first_in_line(Rate *rate);
static void wait_in_line(Rate *rate, Oid role);
static void next_turn(Rate *rate);
static void leave_line(Rate *rate);

void
tc_rates_init(void)
{
	HASHCTL		info = {
		.keysize = sizeof(RateKey),
		.entrysize = sizeof(Rate),
		.hcxt = TopMemoryContext
	};

	rates = hash_create("temporal_complete rates", 16, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

Rate *
tc_rate_get(Oid server, RateKind kind)
{
	RateKey		key = {server, kind};
	bool		found;
	Rate	   *rate = hash_search(rates, &key, HASH_ENTER, &found);

	if (!found)
	{
		memset(rate, 0, sizeof(Rate));
		rate->key = key;
		dlist_init(&rate->line);
	}
	rate->users++;
	return rate;
}

void
tc_rate_release(Rate *rate)
{
	if (--rate->users > 0)
		return;
	while (!dlist_is_empty(&rate->line))
		leave_line(rate);
	tc_timer_cancel(&rate->timer);
	(void) hash_search(rates, &rate->key, HASH_REMOVE, NULL);
}

bool
tc_rate_take(Rate *rate, Oid role, int limit)
{
	int64		now = now_us();
	RateLine   *first = first_in_line(rate);

	rate->interval_us = Max(1000000 / limit, 1);
	rate->next = Max(rate->next, now - BURST_US);
	if (first != NULL && first->role == role)
		rate->asked = true;
	if (rate->next > now || (first != NULL && first->role != role))
	{
		wait_in_line(rate, role);
		return false;
	}
	rate->next += rate->interval_us;
	if (first != NULL && --rate->left <= 0)
		next_turn(rate);
	return true;
}

static int64
now_us(void)
{
	return tc_monotonic_ms() * 1000;
}

static RateLine *
first_in_line(Rate *rate)
{
	return dlist_is_empty(&rate->line) ? NULL : dlist_container(RateLine, node, dlist_head_node(&rate->line));
}

bool
tc_rate_waits(const Rate *rate, Oid role)
{
	dlist_iter	iter;

	dlist_foreach(iter, unconstify(dlist_head *, &rate->line))
		if (dlist_container(RateLine, node, iter.cur)->role == role)
		return true;
	return false;
}

static void
wait_in_line(Rate *rate, Oid role)
{
	RateLine   *line;

	if (tc_rate_waits(rate, role))
		return;
	line = MemoryContextAlloc(TopMemoryContext, sizeof(RateLine));
	line->role = role;
	if (dlist_is_empty(&rate->line))
	{
		rate->asked = true;
		rate->left = TURN_MS * 1000 / rate->interval_us;
		dlist_push_tail(&waiting, &rate->node);
	}
	dlist_push_tail(&rate->line, &line->node);
}

/* It was the first one's; it goes to the end. */
static void
next_turn(Rate *rate)
{
	dlist_push_tail(&rate->line, dlist_pop_head_node(&rate->line));
	rate->left = TURN_MS * 1000 / rate->interval_us;
	/* who had his turn before asked already, or does in the next one */
	rate->asked = true;
}

/* The first one has nothing to send. */
static void
leave_line(Rate *rate)
{
	pfree(dlist_container(RateLine, node, dlist_pop_head_node(&rate->line)));
	rate->left = TURN_MS * 1000 / rate->interval_us;
	rate->asked = true;
	if (dlist_is_empty(&rate->line))
		dlist_delete(&rate->node);
}

int64
tc_rate_next(const Rate *rate)
{
	return Max(rate->next / 1000 + 1, tc_monotonic_ms() + TURN_MS);
}

bool
tc_rates_turn(void)
{
	int64		now = now_us();
	bool		again = false;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &waiting)
	{
		Rate	   *rate = dlist_container(Rate, node, iter.cur);

		if (rate->next <= now && !rate->asked)
			leave_line(rate);
		rate->asked = false;
		if (dlist_is_empty(&rate->line))
			continue;
		if (rate->next <= now)
			again = true;
		else
			tc_timer_wake(&rate->timer, Max(rate->next + 999, now + Min(rate->interval_us, TURN_MS * 1000)) / 1000);
	}
	return again;
}
