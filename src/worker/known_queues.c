/*-------------------------------------------------------------------------
 *
 * known_queues.c
 *	  Which queues there are.
 *
 * Anybody who may name namespaces can make any number of queues, so memory
 * holds only some of them: a role has its share (share.c), and one for which
 * there is nothing to do is forgotten when another one needs the place: first
 * those of the same role.  It is found again when it has rows.
 *
 * Queues are looked for in the index of the outbox, a part of it at a time,
 * so that others are served meanwhile; and not all the time, however often
 * somebody wakes the worker for a queue for which there is no place.  One of
 * which the number is known is looked up by it, so it does not wait for that.
 *
 * Nothing here reads requests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "worker/channel_pool.h"
#include "worker/flow.h"
#include "worker/known_queues.h"
#include "worker/option_looks.h"
#include "worker/queue.h"

/* Numbers looked at in one turn */
#define LOOK_MAX 1000

/* Numbers that are looked up in one turn */
#define ASKED_MAX 64

/* Looking takes a part of the time, at most one of so many */
#define LOOK_PART 4

/* After that long it is looked for those for which there was no place, or if a table is locked */
#define LOOK_AGAIN_MS 1000

/* So many at once are forgotten where one is to be */
#define FORGET_MAX 1000

typedef struct NumberEntry
{
	int64		number;
	char		status;
	Queue	   *queue;
} NumberEntry;

/* Numbers are random */
#define SH_PREFIX numbers
#define SH_ELEMENT_TYPE NumberEntry
#define SH_KEY_TYPE int64
#define SH_KEY number
#define SH_HASH_KEY(tb, key) ((uint32) (key))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static Queue **queues;
static int	nqueues;
static int	max_queues;
static numbers_hash *queues_by_number;

/* Those before this place of the array are still to be visited; then all, if it was asked for again */
static int	nunvisited;
static bool visit_again;

/* The numbers of these and of queues whose requests are held, sorted */
static int64 *known;
static int	nknown;

/* Numbers of queues that have rows, to be looked up */
static int64 asked[ASKED_MAX];
static int	nasked;

static bool wanted;				/* look for queues */
static bool again;				/* and then once more from the beginning */
static int64 position;			/* of the last number looked at; 0 = at the
								 * beginning */
static int64 left_out;			/* before the first one for which there was no
								 * place, or -1 */
static bool from_left_out;		/* this look did not begin at the beginning */
static Oid	busy_role;			/* that has no idle queues, in this turn */
static int64 time_spent;		/* ms, since the beginning */
static int64 not_before;		/* monotonic ms */
static int64 looked_at;			/* monotonic ms: when the whole index had been */
static LoopTimer timer;
static LoopTimer again_timer;
static MemoryContext context;	/* of queues */

static void find_again(void *arg);
static bool look_up_asked(void);
static bool look_on(void);
static void look_later(int delay_ms);
static void end_look(void);
static bool take_in(const FoundQueue *found, int nfound);
static bool has_place(const QueueKey *key);
static bool forget_idle(const Account *account, bool own);
static bool is_idle(const Queue *queue);
static int	place_of_number(int64 number);
static void forget_number(int64 number);

void
tc_known_queues_init(void)
{
	context = AllocSetContextCreate(TopMemoryContext, "temporal_complete known queues",
									ALLOCSET_DEFAULT_SIZES);
	max_queues = 16;
	queues = MemoryContextAlloc(context, max_queues * sizeof(Queue *));
	queues_by_number = numbers_create(context, 64, NULL);
	known = MemoryContextAlloc(context, sizeof(int64));
	left_out = -1;
	wanted = true;
}

Queue	  **
tc_known_queues(int *count)
{
	*count = nqueues;
	return queues;
}

Queue *
tc_known_queue(int64 number)
{
	NumberEntry *entry = numbers_lookup(queues_by_number, number);

	return entry != NULL ? entry->queue : NULL;
}

void
tc_known_queues_visit(void)
{
	if (nunvisited > 0)
		visit_again = true;
	else
		nunvisited = nqueues;
}

bool
tc_known_queues_visit_goes_on(void)
{
	return nunvisited > 0;
}

/* Backwards: what is forgotten is of those that were visited, and so is what takes its place. */
Queue *
tc_known_queues_next_visit(void)
{
	Queue	   *queue;

	if (nunvisited == 0)
		return NULL;
	queue = queues[--nunvisited];
	if (nunvisited == 0 && visit_again)
	{
		nunvisited = nqueues;
		visit_again = false;
	}
	return queue;
}

void
tc_known_queues_find_number(int64 number)
{
	int			n = place_of_number(number);

	/* its requests are held */
	if (n < nknown && known[n] == number)
		return;
	for (int i = 0; i < nasked; i++)
		if (asked[i] == number)
			return;
	if (nasked < ASKED_MAX)
		asked[nasked++] = number;
	else
		tc_known_queues_find_soon();
}

void
tc_known_queues_find(void)
{
	if (wanted && position > 0)
		again = true;
	wanted = true;
}

void
tc_known_queues_find_soon(void)
{
	if (tc_monotonic_ms() - looked_at >= LOOK_AGAIN_MS)
		tc_known_queues_find();
	else if (!again_timer.armed)
		tc_timer_set(&again_timer, looked_at + LOOK_AGAIN_MS, find_again, NULL);
}

static void
find_again(void *arg)
{
	tc_known_queues_find();
}

bool
tc_known_queues_wanted(void)
{
	return wanted || nasked > 0;
}

bool
tc_known_queues_due(void)
{
	return nasked > 0 || (wanted && not_before <= tc_monotonic_ms());
}

static void
look_later(int delay_ms)
{
	not_before = tc_monotonic_ms() + delay_ms;
	tc_timer_wake(&timer, not_before);
}

bool
tc_known_queues_look(void)
{
	bool		are_new = look_up_asked();

	if (wanted && not_before <= tc_monotonic_ms())
		are_new |= look_on();
	return are_new;
}

/* For those that have no place, and if a table is locked, all are looked for, in time. */
static bool
look_up_asked(void)
{
	bool		are_new = false;

	while (nasked > 0)
	{
		/* an error, as when the outbox is locked, leaves it asked for */
		int64		number = asked[nasked - 1];
		int64		position = number - 1;
		int			nfound;
		FoundQueue *found = tc_outbox_find_queues(known, nknown, &position, 1, &nfound);

		if (found == NULL)
		{
			nasked = 0;
			tc_known_queues_find();
			look_later(LOOK_AGAIN_MS);
			break;
		}
		nasked--;
		if (nfound == 0 || found[0].number != number)
			continue;
		if (take_in(found, nfound))
			are_new = true;
		else
			tc_known_queues_find_soon();
	}
	return are_new;
}

/* Look at a part of the index. */
static bool
look_on(void)
{
	int64		begin = tc_monotonic_ms();
	int64		next = position;
	int			nfound;
	FoundQueue *found = tc_outbox_find_queues(known, nknown, &next, LOOK_MAX, &nfound);
	bool		are_new = false;

	if (found == NULL)
	{
		look_later(LOOK_AGAIN_MS);
		return false;
	}
	busy_role = InvalidOid;
	if (nfound > 0)
		are_new = take_in(found, nfound);
	position = next;
	time_spent += tc_monotonic_ms() - begin;
	if (position == 0)
		end_look();
	return are_new;
}

/* The whole index was looked at: is there a reason to do so again, and when? */
static void
end_look(void)
{
	int			delay = (int) Min(time_spent * (LOOK_PART - 1), 2 * LOOK_AGAIN_MS);

	time_spent = 0;
	looked_at = tc_monotonic_ms();
	wanted = again || left_out >= 0;
	again = false;
	if (left_out >= 0)
		delay = Max(delay, LOOK_AGAIN_MS);

	/*
	 * the next look begins with those that had no place, and the one after it
	 * at the beginning
	 */
	from_left_out = left_out >= 0 && !from_left_out;
	if (from_left_out)
	{
		position = left_out;
		again = true;
	}
	left_out = -1;
	if (delay > 0)
		look_later(delay);
}

/* Both the numbers that are known and those that are found are sorted. */
static bool
take_in(const FoundQueue *found, int nfound)
{
	int			last = nknown - 1;
	int			nnew = 0;
	int64	   *fresh = palloc(nfound * sizeof(int64));

	for (int i = 0; i < nfound; i++)
	{
		Queue	   *queue;
		bool		exists;

		if (found[i].made_here && !has_place(&found[i].row.key))
		{
			if (left_out < 0)
				left_out = found[i].number - 1;
			continue;
		}
		fresh[nnew++] = found[i].number;
		if (!found[i].made_here)
			continue;
		queue = tc_queue_create(context, found[i].number, &found[i].row);
		if (nqueues == max_queues)
		{
			max_queues *= 2;
			queues = repalloc(queues, max_queues * sizeof(Queue *));
		}
		queues[nqueues++] = queue;
		numbers_insert(queues_by_number, queue->number, &exists)->queue = queue;
		Assert(!exists);
		tc_flow_init(queue);
		tc_queue_set_unread(queue, true);
		tc_option_look_want(queue);
	}

	/* has_place() may have forgotten some */
	last = nknown - 1;
	nknown += nnew;
	known = repalloc(known, Max(nknown, 1) * sizeof(int64));
	for (int to = nknown - 1, i = nnew - 1; i >= 0; to--)
	{
		if (last >= 0 && known[last] > fresh[i])
			known[to] = known[last--];
		else
			known[to] = fresh[i--];
	}
	return nnew > 0;
}

static bool
has_place(const QueueKey *key)
{
	Account    *account = tc_account_get(key->role, key->server);
	bool		result = tc_share_has_room(account, SHARE_QUEUES);

	if (!result && key->role != busy_role)
	{
		if (!forget_idle(account, true) && !forget_idle(account, false))
			busy_role = key->role;
		result = tc_share_has_room(account, SHARE_QUEUES);
	}
	tc_account_release(account);
	return result;
}

/*
 * Forget queues for which there is nothing to do: of an account's own role, or
 * of those that have more of them.
 */
static bool
forget_idle(const Account *account, bool own)
{
	static int	hand;			/* goes round, so that none is looked at in
								 * vain too often */
	int			nforgotten = 0;

	for (int n = nqueues; n > 0 && nforgotten < FORGET_MAX; n--)
	{
		Queue	   *queue;

		if (hand >= nqueues)
			hand = 0;
		queue = queues[hand];
		if (hand < nunvisited || !is_idle(queue) ||
			!(own ? tc_share_same_role(queue->account, account) :
			  tc_share_role_has_more(queue->account, account, SHARE_QUEUES)))
		{
			hand++;
			continue;
		}
		queues[hand] = queues[--nqueues];
		forget_number(queue->number);
		numbers_delete(queues_by_number, queue->number);
		tc_queue_destroy(queue);
		nforgotten++;
	}
	return nforgotten > 0;
}

static bool
is_idle(const Queue *queue)
{
	return !queue->active && !queue->starves && !queue->unread && !queue->look_again && !queue->awaits_look &&
		!queue->heartbeats_unread && !queue->heartbeats_found && queue->heartbeats == 0 &&
		tc_queue_in_flight(queue) == 0 && queue->proofs_in_flight == 0 && queue->pauses == 0 &&
		queue->error_code == NULL && !queue->error_changed &&
		dlist_is_empty(unconstify(dlist_head *, &queue->requests));
}

/* Of the first known number that is not lower */
static int
place_of_number(int64 number)
{
	int			low = 0;
	int			high = nknown;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (known[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
forget_number(int64 number)
{
	int			n = place_of_number(number);

	Assert(n < nknown && known[n] == number);
	nknown--;
	memmove(&known[n], &known[n + 1], (nknown - n) * sizeof(int64));
}
