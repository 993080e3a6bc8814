/*-------------------------------------------------------------------------
 *
 * key_waits.c
 *	  Requests that wait until their key is recorded.
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
#include "worker/doubt.h"
#include "worker/key_waits.h"
#include "worker/known_queues.h"
#include "worker/queue.h"
#include "worker/recording.h"
#include "worker/transaction.h"

/* Requests that are noted; groups that are to be looked at, of each share of roles */
#define NOTED_MAX 256
#define WANTED_MAX 1024

/* Groups looked at in one transaction, for how long; requests of a group at once */
#define STEP_GROUPS 200
#define STEP_MS 5
#define GROUP_STEP 64

/* A step takes one of so many parts of the time, if others follow */
#define STEP_PART 4

/* Come back after that long: after an error, where something is in the way; and look at all again */
#define LATER_MS 1000
#define LATER_PASS_MS 60000
#define PASS_AGAIN_MS 1000

/* It is looked at after that time whether any are left */
#define COUNT_AGAIN_MS 1000

/* Nothing is rejected while so many outcomes cannot be recorded */
#define UNRECORDED_MAX 20000

#define WORDS_MAX 400

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
static bool removed;			/* ... unless that is to be looked at ... */
static int64 count_after;		/* monotonic ms: ... from then on */
static bool in_the_way;			/* something was, in this step */
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;
static LoopTimer due_timer;
static MemoryContext look_context;	/* reset after each group */

/* Queues that requests were given back to in a step */
static int64 *touched;
static int	ntouched;
static int	max_touched;

/* What is known of a request that waits; see look_at() */
typedef struct WaitRow
{
	char	   *key;
	TimestampTz awaited_until;
	bool		maybe_sent;
} WaitRow;

/* What is recorded under a key */
typedef struct Finding
{
	const char *key;			/* NULL: nothing was looked for */
	bool		found;
	RecordedActivity activity;
	Oid			owner;
	Oid			second;			/* of another role, which may be meant, too */
} Finding;

/* For take_rejected() */
typedef struct Rejection
{
	Queue	   *queue;
	const char *code;
	const char *words;
} Rejection;

static void publish(bool awaited);
static void take_told(void);
static void want(int share, int64 key_hash, int64 queue, WantedKind kind);
static WantedRing *next_ring(void);
static bool is_idle(void);
static void pass_if_wanted(void);
static void add_noted(void *arg);
static void step(void *arg);
static bool look_at_next(void);
static bool look_at_group(const KeyGroup *group, Oid *role);
static void look_at_due(void);
static bool find(Finding *finding, const QueueKey *queue_key, const char *key);
static void look_at_over(const KeyWait *wait);
static bool settle(const KeyWait *wait, const WaitRow *row, const Finding *finding);
static bool read_wait(const KeyWait *wait, WaitRow *row);
static bool take_wait(void *arg, const OutboxRow *row);
static bool reject(const KeyWait *wait, const char *code, const char *words);
static bool take_rejected(void *arg, const OutboxRow *row);
static void remove_wait(const KeyWait *wait);
static void touch(int64 queue);
static void give_back(void);
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
	wait->awaited_until = row->awaited_until;
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
}

bool
tc_key_waits_want_turn(void)
{
	int64		now = tc_monotonic_ms();

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

	if (look_context == NULL)
		look_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete keys",
											 ALLOCSET_DEFAULT_SIZES);
	publish(true);
	in_the_way = false;
	ntouched = 0;
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
		give_back();
		if (none_left && is_idle())
			publish(false);
	}
	if (!ok)
	{
		next_due = DT_NOBEGIN;
		none_left = false;
	}
	if (!ok || in_the_way)
	{
		/* what was to be looked at may have been taken from the list */
		pass_wanted = true;
		pass_after = tc_monotonic_ms() + (ok || tc_transaction_error_is_transient() ? LATER_MS : LATER_PASS_MS);
		come_back(LATER_MS);
		if (!ok)
			note_after = not_before;
	}
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
		if (passing && look_at_group(&pass_position, &role))
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
	if (look_at_group(&next.group, &role))
		want(TC_KEY_SHARE_OF(role), next.group.key_hash, next.group.queue, WANTED_GROUP);
	if (next.kind != WANTED_GROUP)
		want(share, next.group.key_hash, next.group.queue, next.kind);
	return true;
}

/* True if it should be looked at again; *role: for whom. */
static bool
look_at_group(const KeyGroup *group, Oid *role)
{
	MemoryContext old = MemoryContextSwitchTo(look_context);
	KeyWait    *waits = palloc(GROUP_STEP * sizeof(KeyWait));
	int			count = tc_key_group_waits(group, waits, GROUP_STEP);
	QueueRow	queue;
	bool		made_here;
	WaitRow		row;
	Finding		finding = {NULL};
	int			nremoved = 0;

	if (count > 0 && !tc_queue_find(group->queue, &queue, &made_here))
	{
		in_the_way = true;
		count = 0;
	}
	*role = count > 0 && made_here ? queue.key.role : InvalidOid;
	for (int i = 0; i < count; i++)
	{
		if (!made_here || !read_wait(&waits[i], &row))
			remove_wait(&waits[i]);
		else if (!find(&finding, &queue.key, row.key))
			break;
		/* if it was recorded too late its time is over */
		else if (finding.activity.recorded_at > row.awaited_until ||
				 !settle(&waits[i], &row, &finding))
			continue;
		nremoved++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(look_context);
	if (nremoved > 0)
	{
		/* what was done here is not to be seen again */
		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
	}
	return count == GROUP_STEP && nremoved > 0;
}

/* The same as for the key before it, if it is the same. */
static bool
find(Finding *finding, const QueueKey *queue_key, const char *key)
{
	if (finding->key == NULL || strcmp(finding->key, key) != 0)
	{
		finding->key = key;
		finding->found = tc_activity_find(queue_key, key, &finding->activity, &finding->owner,
										  &finding->second);
	}
	return finding->found;
}

/*
 * Those whose time is over, and whether there are others.
 */
static void
look_at_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz from = next_due;
	MemoryContext old;
	KeyWait    *waits;
	int			count;

	if (next_due > now && !(removed && count_after <= tc_monotonic_ms()))
		return;
	old = MemoryContextSwitchTo(look_context);
	waits = palloc(GROUP_STEP * sizeof(KeyWait));
	count = tc_key_waits_due(from, now, waits, GROUP_STEP, &next_due);
	none_left = count == 0 && next_due == DT_NOEND;
	removed = false;
	for (int i = 0; i < count; i++)
		look_at_over(&waits[i]);
	/* then there may be more of that time */
	if (in_the_way)
		next_due = from;
	else if (count == GROUP_STEP)
		next_due = waits[count - 1].awaited_until;
	MemoryContextSwitchTo(old);
	MemoryContextReset(look_context);
	if (count > 0)
	{
		CommandCounterIncrement();
		UpdateActiveSnapshotCommandId();
	}
}

static void
look_at_over(const KeyWait *wait)
{
	QueueRow	queue;
	bool		made_here;
	WaitRow		row;
	Finding		finding = {NULL};

	if (!tc_queue_find(wait->queue, &queue, &made_here))
		in_the_way = true;
	else if (!made_here || !read_wait(wait, &row))
		remove_wait(wait);
	else if (find(&finding, &queue.key, row.key) && finding.activity.recorded_at <= row.awaited_until)
		(void) settle(wait, &row, &finding);
	else
		(void) reject(wait, TC_KEY_NOT_RECORDED,
					  "no activity was recorded under the key, and the time to wait for it is over");
}

/* An activity was found for a request.  False if it waits on: something is in the way. */
static bool
settle(const KeyWait *wait, const WaitRow *row, const Finding *finding)
{
	if (OidIsValid(finding->second))
	{
		char	   *name = GetUserNameFromId(finding->owner, true);
		char	   *other = GetUserNameFromId(finding->second, true);

		return reject(wait, TC_KEY_AMBIGUOUS,
					  psprintf("roles \"%s\" and \"%s\" have recorded an activity under the key",
							   name != NULL ? name : "?", other != NULL ? other : "?"));
	}
	switch (tc_key_wait_resolve(wait->id, &finding->activity, row->maybe_sent))
	{
		case KEY_RESOLVED:
			touch(wait->queue);
			remove_wait(wait);
			return true;
		case KEY_BUSY:
			in_the_way = true;
			break;
		case KEY_UNREADABLE:
			return reject(wait, "DATA_CORRUPTED", "what was recorded under the key cannot be read");
	}
	return false;
}

/* False if it does not wait any more. */
static bool
read_wait(const KeyWait *wait, WaitRow *row)
{
	row->key = NULL;
	(void) tc_outbox_read_one(wait->id, take_wait, row);
	return row->key != NULL && tc_request_by_id(wait->id) == NULL;
}

static bool
take_wait(void *arg, const OutboxRow *row)
{
	WaitRow    *result = arg;

	if (row->awaited_key == NULL)
		return false;
	result->key = pstrdup(row->awaited_key);
	result->awaited_until = row->awaited_until;
	/* what was put back, or copied, may have gone on elsewhere */
	result->maybe_sent = row->maybe_sent || tc_doubt_is_of_copy(row->requested_at);
	return false;
}

/* False if that cannot be done now. */
static bool
reject(const KeyWait *wait, const char *code, const char *words)
{
	Rejection	rejection = {tc_known_queue(wait->queue), code, tc_words_from_server(words)};

	if (rejection.queue == NULL)
		tc_known_queues_find_number(wait->queue);
	if (rejection.queue == NULL || tc_recording_count() > UNRECORDED_MAX)
	{
		in_the_way = true;
		return false;
	}
	(void) tc_outbox_read_one(wait->id, take_rejected, &rejection);
	remove_wait(wait);
	return true;
}

/* If this transaction fails, it has ended all the same. */
static bool
take_rejected(void *arg, const OutboxRow *row)
{
	Rejection  *rejection = arg;
	Request    *request = tc_queue_add_malformed(rejection->queue, row);

	request->outcome = OUTCOME_REJECTED;
	request->outcome_at = GetCurrentTimestamp();
	request->error_code = rejection->code;
	tc_request_set_message(request, rejection->words);
	tc_recording_add(request);
	return false;
}

static void
remove_wait(const KeyWait *wait)
{
	tc_key_wait_remove(wait);
	if (!removed)
		count_after = tc_monotonic_ms() + COUNT_AGAIN_MS;
	removed = true;
}

static void
touch(int64 queue)
{
	if (ntouched > 0 && touched[ntouched - 1] == queue)
		return;
	if (ntouched == max_touched)
	{
		max_touched = Max(64, 2 * max_touched);
		touched = touched == NULL ? MemoryContextAlloc(TopMemoryContext, max_touched * sizeof(int64)) :
			repalloc(touched, max_touched * sizeof(int64));
	}
	touched[ntouched++] = queue;
}

/*---- after it ----*/

/* What was made by the transaction is new in these queues. */
static void
give_back(void)
{
	for (int i = 0; i < ntouched; i++)
	{
		Queue	   *queue = tc_known_queue(touched[i]);

		if (queue == NULL)
			tc_known_queues_find_number(touched[i]);
		else
		{
			tc_queue_set_unread(queue, true);
			tc_queue_activate(queue);
		}
	}
}
