/*-------------------------------------------------------------------------
 *
 * key_waits.c
 *	  Requests that wait until their key is recorded: when they are looked at.
 *
 *	  a request was read      a key was recorded      all may have changed
 *	  (intake.c)              (shared memory)         (wakes.c, options)
 *	          |                       |                       |
 *	          v                       |                       |
 *	       noted:                     |                       |
 *	  temporal_internal.awaited_key            |                       |
 *	          |                       |                       |
 *	          +-----> wanted <--------+               passing <+
 *	                     |                               |
 *	                     +---------------+---------------+
 *	                                     v
 *	     time is over -------> is it recorded, for whom may use it?
 *	                             |                        |
 *	                             v                        v
 *	               the outbox, to be read anew       rejected
 *	               (key_settle.c)
 *
 * No recording is missed.  Before anything is looked at, it is published that
 * keys are awaited; only then comes the snapshot that looks.  Who records
 * becomes visible first, and only then sees whether keys are awaited.  So
 * either the snapshot sees the recording, or it is told of.  What is told and
 * finds no room, and what is taken from us by an error, makes us pass over all
 * that wait.  That is also done at the start, and whenever something else than
 * a recording may let one go on: rights, a dump that is adopted, transactions
 * that were prepared.
 *
 * Nothing of this is in memory but what is to be looked at now.  Requests of a
 * queue for one key have the same answer, so they are looked at once, and of
 * those that can go on some have their turn, then others; and roles, in some
 * groups of them, have turns.  All of it takes a part of the time, but for
 * noting what was read: some in each turn, and a queue that has such requests
 * waits for that, others do not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/foreign_text.h"
#include "outbox/key_waits.h"
#include "process/worker_slots.h"
#include "worker/key_settle.h"
#include "worker/key_waits.h"
#include "worker/transaction.h"

/* Requests that are noted; groups that are to be looked at, of each share of roles */
#define NOTED_MAX 256
#define WANTED_MAX 1024

/* Groups looked at in one transaction, for how long; and of those whose time is over */
#define STEP_GROUPS 200
#define STEP_MS 5
#define DUE_STEP 64

/* A step takes one of so many parts of the time, if others follow */
#define STEP_PART 4

/* Come back after that long: after an error, where something is in the way; and look at all again */
#define LATER_MS 1000
#define LATER_PASS_MS 60000
#define PASS_AGAIN_MS 1000

/* It is looked at after that time whether any are left */
#define COUNT_AGAIN_MS 1000

/* What is to be looked at: a group, or all those of its hash, or its queue, behind it */
typedef enum WantedKind
{
	WANTED_GROUP,
	WANTED_OF_HASH,
	WANTED_OF_QUEUE
} WantedKind;

typedef struct Wanted
{
	KeyGroup	group;
	WantedKind	kind;
} Wanted;

/* Of the roles of a share (key_marks.h): a ring */
typedef struct WantedRing
{
	Wanted		wanted[WANTED_MAX];
	int			first;
	int			count;
} WantedRing;

static KeyWait *noted;
static uint8 *noted_shares;
static int	nnoted;
static int	max_noted;
static int64 note_turn = 1;		/* until what is noted was added */
static int64 note_after;		/* monotonic ms: after an error */

static WantedRing rings[TC_KEY_SHARES];
static int	nwanted;			/* in all of them */

static bool pass_wanted = true;
static bool passing;
static KeyGroup pass_position;
static int64 pass_after;		/* monotonic ms: no other one begins before */

static bool published;			/* that keys are awaited */
static TimestampTz next_due = DT_NOBEGIN;	/* nobody's time is over before */
static bool none_left;			/* in temporal_internal.awaited_key ... */
static bool removed;			/* ... unless that is to be looked at, as some
								 * were removed ... */
static int64 count_after;		/* monotonic ms: ... from then on */
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;
static LoopTimer due_timer;

static void publish(bool awaited);
static void take_told(void);
static void want(int share, int64 key_hash, int64 queue, WantedKind kind);
static WantedRing *next_ring(void);
static bool is_idle(void);
static void pass_if_wanted(void);
static void add_noted(void *arg);
static void step(void *arg);
static bool look_at_next(void);
static void look_at_due(void);
static void come_back(int64 delay_ms);
static void set_due_timer(void);

void
tc_key_wait_note(Queue *queue, const OutboxRow *row)
{
	KeyWait    *wait;

	if (nnoted == max_noted)
	{
		max_noted = Max(64, 2 * max_noted);
		noted = noted == NULL ? MemoryContextAlloc(TopMemoryContext, max_noted * sizeof(KeyWait)) :
			repalloc(noted, max_noted * sizeof(KeyWait));
		noted_shares = noted_shares == NULL ? MemoryContextAlloc(TopMemoryContext, max_noted) :
			repalloc(noted_shares, max_noted);
	}
	noted_shares[nnoted] = TC_KEY_SHARE_OF(queue->row.key.role);
	wait = &noted[nnoted++];
	wait->key_hash = (int64) tc_key_hash(row->awaited_key, strlen(row->awaited_key));
	wait->queue = queue->number;
	wait->id = row->id;
	wait->awaited_until = tc_key_wait_until(row->awaited_until, row->expires_at);
	queue->note_turn = note_turn;
}

bool
tc_key_waits_are_many(const Queue *queue)
{
	return nnoted >= NOTED_MAX && queue->note_turn == note_turn;
}

void
tc_key_waits_look(void)
{
	pass_wanted = true;
	/* one may be given up earlier than was known */
	next_due = DT_NOBEGIN;
}

bool
tc_key_waits_want_turn(void)
{
	int64		now = tc_monotonic_ms();

	if (tc_key_settle_has_given())
		return true;
	return nnoted > 0 ? note_after <= now : !is_idle() && not_before <= now;
}

bool
tc_key_waits_are_none(void)
{
	return none_left && is_idle() && !pass_wanted;
}

/* Is there nothing to look at now? */
static bool
is_idle(void)
{
	return nnoted == 0 && nwanted == 0 && !passing &&
		!(pass_wanted && pass_after <= tc_monotonic_ms()) &&
		!(removed && count_after <= tc_monotonic_ms()) && next_due > GetCurrentTimestamp();
}

void
tc_key_waits_turn(void)
{
	int64		begin;
	bool		is_due;
	bool		ok;

	tc_key_settle_give_back();
	if (published)
		take_told();
	if (is_idle())
	{
		if (pass_wanted)
			set_due_timer();
		return;
	}
	begin = tc_monotonic_ms();
	is_due = not_before <= begin;
	if (note_after > begin || (!is_due && nnoted == 0))
		return;
	if (is_due)
		pass_if_wanted();

	publish(true);
	tc_key_settle_begin();
	ok = nnoted == 0 || tc_run_transaction(add_noted, NULL);
	if (ok)
	{
		for (int i = 0; i < nnoted; i++)
		{
			want(noted_shares[i], noted[i].key_hash, noted[i].queue, WANTED_GROUP);
			next_due = Min(next_due, noted[i].awaited_until);
		}
		none_left &= nnoted == 0;
		nnoted = 0;
		note_turn++;
		if (!is_due)
			return;
		ok = tc_run_transaction(step, NULL);
	}
	if (ok)
	{
		tc_key_settle_give_back();
		if (none_left && is_idle())
			publish(false);
	}
	if (!ok)
	{
		next_due = DT_NOBEGIN;
		none_left = false;
	}
	if (tc_key_settle_removed_some())
	{
		if (!removed)
			count_after = tc_monotonic_ms() + COUNT_AGAIN_MS;
		removed = true;
	}
	if (!ok || tc_key_settle_is_hindered())
	{
		/* what was to be looked at may have been taken from the list */
		pass_wanted = true;
		pass_after = tc_monotonic_ms() + (ok || tc_transaction_error_is_transient() ? LATER_MS : LATER_PASS_MS);
	}
	if (!ok)
	{
		come_back(LATER_MS);
		note_after = not_before;
	}
	/* others need not wait for what is in the way of some */
	else if (nwanted > 0 || passing)
		come_back((tc_monotonic_ms() - begin) * (STEP_PART - 1));
	set_due_timer();
}

static void
come_back(int64 delay_ms)
{
	not_before = tc_monotonic_ms() + delay_ms;
	tc_timer_wake(&timer, not_before);
}

static void
set_due_timer(void)
{
	int64		due = TC_NEVER;

	if (next_due != DT_NOEND)
		due = tc_monotonic_ms() + TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_due);
	if (removed)
		due = Min(due, count_after);
	if (pass_wanted)
		due = Min(due, pass_after);
	if (due != TC_NEVER)
		tc_timer_wake(&due_timer, Max(due, not_before));
}

static void
publish(bool awaited)
{
	if (published != awaited)
		tc_worker_await_keys(awaited);
	published = awaited;
}

static void
take_told(void)
{
	RecordedKey keys[TC_KEYS_MAX];
	bool		unnamed;
	int			count = tc_worker_take_keys(keys, &unnamed);

	/* others may have asked for a key of that name in very many queues */
	for (int i = 0; i < count; i++)
	{
		int			share = TC_KEY_SHARE_OF(keys[i].role);

		want(share, (int64) keys[i].hash, keys[i].queue, WANTED_GROUP);
		want(share, (int64) keys[i].hash, PG_INT64_MIN, WANTED_OF_HASH);
		if (keys[i].and_others)
			want(share, PG_INT64_MIN, keys[i].queue, WANTED_OF_QUEUE);
	}
	pass_wanted |= unnamed;
}

static void
want(int share, int64 key_hash, int64 queue, WantedKind kind)
{
	WantedRing *ring = &rings[share];
	Wanted	   *last;

	if (ring->count == WANTED_MAX)
	{
		pass_wanted = true;
		return;
	}
	nwanted++;
	last = &ring->wanted[(ring->first + ring->count++) % WANTED_MAX];
	last->group.key_hash = key_hash;
	last->group.queue = queue;
	last->kind = kind;
}

/* That of the next share that has something; there must be one. */
static WantedRing *
next_ring(void)
{
	static int	turn;

	do
		turn = (turn + 1) % TC_KEY_SHARES;
	while (rings[turn].count == 0);
	return &rings[turn];
}

/* One pass at a time: what is wanted meanwhile is seen by the next one. */
static void
pass_if_wanted(void)
{
	if (!pass_wanted || passing)
		return;
	if (pass_after > tc_monotonic_ms())
		return;
	pass_wanted = false;
	passing = true;
	pass_position.key_hash = pass_position.queue = PG_INT64_MIN;
	pass_after = tc_monotonic_ms() + PASS_AGAIN_MS;
}

/*---- in a transaction ----*/

static void
add_noted(void *arg)
{
	tc_key_waits_add(noted, nnoted);
}

static void
step(void *arg)
{
	int64		begin = tc_monotonic_ms();

	tc_key_waits_begin();
	look_at_due();
	for (int n = 0; n < STEP_GROUPS && look_at_next(); n++)
		if (tc_monotonic_ms() - begin >= STEP_MS)
			break;
}

/* False if there is nothing to look at. */
static bool
look_at_next(void)
{
	static bool turn_of_pass;
	WantedRing *ring;
	Wanted		next;
	int			share;
	Oid			role;

	turn_of_pass = passing && (nwanted == 0 || !turn_of_pass);
	if (turn_of_pass)
	{
		passing = tc_key_group_next(&pass_position, false);
		if (passing && tc_key_group_settle(&pass_position, &role))
			want(TC_KEY_SHARE_OF(role), pass_position.key_hash, pass_position.queue, WANTED_GROUP);
		return true;
	}
	if (nwanted == 0)
		return false;
	ring = next_ring();
	share = (int) (ring - rings);
	next = ring->wanted[ring->first];
	ring->first = (ring->first + 1) % WANTED_MAX;
	ring->count--;
	nwanted--;
	if (next.kind == WANTED_OF_HASH ? !tc_key_group_next(&next.group, true) :
		next.kind == WANTED_OF_QUEUE && !tc_key_group_next_of_queue(&next.group))
		return true;
	if (tc_key_group_settle(&next.group, &role))
		want(TC_KEY_SHARE_OF(role), next.group.key_hash, next.group.queue, WANTED_GROUP);
	if (next.kind != WANTED_GROUP)
		want(share, next.group.key_hash, next.group.queue, next.kind);
	return true;
}

/*
 * Those whose time is over, and whether there are others.
 */
static void
look_at_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz from = next_due;
	KeyWait    *waits;
	int			count;

	if (next_due > now && !(removed && count_after <= tc_monotonic_ms()))
		return;
	waits = palloc(DUE_STEP * sizeof(KeyWait));
	count = tc_key_waits_due(from, now, waits, DUE_STEP, &next_due);
	none_left = count == 0 && next_due == DT_NOEND;
	removed = false;
	for (int i = 0; i < count; i++)
		tc_key_wait_settle_over(&waits[i]);
	/* then there may be more of that time */
	if (count == DUE_STEP)
		next_due = waits[count - 1].awaited_until;
	/* what is in the way is noted anew */
	else if (count > 0)
		next_due = Min(next_due, TimestampTzPlusMilliseconds(now, LATER_MS));
	pfree(waits);
}
