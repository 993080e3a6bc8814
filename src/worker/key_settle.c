/*-------------------------------------------------------------------------
 *
 * key_settle.c
 *	  What becomes of requests that wait until their key is recorded.
 *
 * In a transaction of the worker: those whose key is recorded go back to the
 * outbox, as requests for that activity; where that cannot be, or their time is
 * over, they are rejected.  When that is looked at is decided by key_waits.c;
 * and before a recording is removed because its activity has ended, those that
 * were committed until then get it first: they were made in time, and would
 * wait for another one.
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

#include "base/foreign_text.h"
#include "outbox/outbox.h"
#include "worker/doubt.h"
#include "worker/key_settle.h"
#include "worker/known_queues.h"
#include "worker/queue.h"
#include "worker/recording.h"

/* Requests of a group that are looked at at once */
#define GROUP_STEP 64

/* So many requests get what is removed in one transaction; so many queues of others are looked at for a key */
#define FINISH_MAX 1024
#define FINISH_GROUPS 256

/* Nothing is rejected while so many outcomes cannot be recorded */
#define UNRECORDED_MAX 20000

/* What is in the way when a time is over is looked at again after that long; without its queue */
#define LATER_MS 1000
#define LATER_QUEUE_MS 60000

static bool hindered;			/* something was in the way */
static bool busy;				/* somebody was changing a request */
static bool removed_some;		/* of temporal_internal.awaited_key */
static int	nsettled;			/* in the transaction settled_in, for
								 * tc_key_settle_before_finish() */
static uint64 settled_in;
static MemoryContext look_context;	/* reset after each group */

/* Queues that requests were given back to */
static int64 *touched;
static int	ntouched;
static int	max_touched;

/* What is known of a request that waits */
typedef struct WaitRow
{
	char	   *key;
	TimestampTz awaited_until;
	TimestampTz expires_at;		/* 0 = never */
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

static MemoryContext context(void);
static bool settle_group(const KeyGroup *group, Oid recorder, Oid *role);
static bool find(Finding *finding, const QueueKey *queue_key, const char *key);
static bool settle(const KeyWait *wait, const WaitRow *row, const Finding *finding);
static bool read_wait(const KeyWait *wait, WaitRow *row);
static bool take_wait(void *arg, const OutboxRow *row);
static void note_again(const KeyWait *wait, TimestampTz until);
static bool reject_late(const KeyWait *wait, const Finding *finding);
static bool reject(const KeyWait *wait, const char *code, const char *words);
static bool take_rejected(void *arg, const OutboxRow *row);
static void remove_wait(const KeyWait *wait);
static void touch(int64 queue);

void
tc_key_settle_begin(void)
{
	hindered = false;
}

bool
tc_key_settle_is_hindered(void)
{
	return hindered;
}

bool
tc_key_settle_removed_some(void)
{
	bool		result = removed_some;

	removed_some = false;
	return result;
}

bool
tc_key_settle_has_given(void)
{
	return ntouched > 0;
}

static MemoryContext
context(void)
{
	if (look_context == NULL)
		look_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete keys",
											 ALLOCSET_DEFAULT_SIZES);
	return look_context;
}

bool
tc_key_settle_before_finish(int64 queue, const char *key)
{
	uint64		hash = tc_key_hash(key, strlen(key));
	uint64		xid = U64FromFullTransactionId(GetTopFullTransactionId());
	KeyGroup	group = {(int64) hash, PG_INT64_MIN};
	bool		is_awaited;
	QueueRow	row;
	QueueRow	other;
	bool		made_here;
	OwnQueue   *own;
	int			nown;
	Oid			role;

	if (!tc_key_is_awaited(hash, &is_awaited))
		return false;
	if (!is_awaited)
		return true;
	if (xid != settled_in)
	{
		settled_in = xid;
		nsettled = 0;
	}
	if (nsettled >= FINISH_MAX || !tc_key_waits_try_begin())
		return false;
	if (!tc_queue_find(queue, &row, &made_here) || !made_here)
		return true;
	busy = false;

	/*
	 * first the role's own: others may have asked for a key of that name in
	 * very many queues
	 */
	own = tc_own_queues(&row.key, &nown);
	for (int i = 0; i < nown; i++)
	{
		group.queue = own[i].number;
		while (nsettled < FINISH_MAX && settle_group(&group, row.key.role, &role))
			;
	}
	group.queue = PG_INT64_MIN;
	for (int i = 0; i < FINISH_GROUPS && nsettled < FINISH_MAX && tc_key_group_next(&group, true); i++)
		if (tc_queue_find(group.queue, &other, &made_here) && made_here &&
			tc_queue_keys_go_together(&other.key, &row.key))
			while (nsettled < FINISH_MAX && settle_group(&group, row.key.role, &role))
				;
	return !busy && nsettled < FINISH_MAX;
}

bool
tc_key_group_settle(const KeyGroup *group, Oid *role)
{
	return settle_group(group, InvalidOid, role);
}

/*
 * For a recording that is about to be removed only what its recorder has
 * recorded is looked at: others, who need no right for what they ask, must not
 * hold it up.
 */
static bool
settle_group(const KeyGroup *group, Oid recorder, Oid *role)
{
	MemoryContext old = MemoryContextSwitchTo(context());
	KeyWait    *waits = palloc(GROUP_STEP * sizeof(KeyWait));
	int			count = tc_key_group_waits(group, waits, GROUP_STEP);
	QueueRow	queue;
	bool		made_here;
	WaitRow		row;
	Finding		finding = {NULL};
	int			nremoved = 0;
	int64		settled = 0;

	if (count > 0 && !tc_queue_find(group->queue, &queue, &made_here))
	{
		hindered = true;
		count = 0;
	}
	*role = count > 0 && made_here ? queue.key.role : InvalidOid;
	for (int i = 0; i < count; i++)
	{
		/* one that was given a time to be given up is noted twice */
		if (!made_here || waits[i].id == settled || !read_wait(&waits[i], &row))
			remove_wait(&waits[i]);
		else if (!find(&finding, &queue.key, row.key))
			break;
		else if (OidIsValid(recorder) && (finding.owner != recorder || OidIsValid(finding.second)))
			break;

		/*
		 * if it was recorded too late its time is over; it must not hide
		 * others behind it
		 */
		else if (!(finding.activity.recorded_at > row.awaited_until ? reject_late(&waits[i], &finding) :
				   settle(&waits[i], &row, &finding)))
			continue;
		settled = waits[i].id;
		nremoved++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(look_context);
	nsettled += nremoved;
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

void
tc_key_wait_settle_over(const KeyWait *wait)
{
	MemoryContext old = MemoryContextSwitchTo(context());
	QueueRow	queue;
	bool		made_here;
	WaitRow		row;
	Finding		finding = {NULL};
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz later = TimestampTzPlusMilliseconds(now, LATER_MS);
	bool		done = true;

	if (!tc_queue_find(wait->queue, &queue, &made_here))
	{
		later = TimestampTzPlusMilliseconds(now, LATER_QUEUE_MS);
		done = false;
	}
	else if (!made_here || !read_wait(wait, &row))
		remove_wait(wait);
	else if (find(&finding, &queue.key, row.key) && finding.activity.recorded_at <= row.awaited_until)
		done = settle(wait, &row, &finding);
	else if (row.awaited_until <= now)
		done = reject_late(wait, &finding);
	else if (row.expires_at != 0 && row.expires_at <= now)
		done = reject(wait, TC_EXPIRED, "no activity is recorded under the key, and the request is to be given up");
	else
	{
		/* it was to be given up at a time that has been taken back */
		later = tc_key_wait_until(row.awaited_until, row.expires_at);
		done = false;
	}
	if (!done)
		note_again(wait, later);
	MemoryContextSwitchTo(old);
	MemoryContextReset(look_context);
	/* it may be noted twice */
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
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
			hindered = busy = true;
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
	result->expires_at = row->expires_at;
	/* what was put back, or copied, may have gone on elsewhere */
	result->maybe_sent = row->maybe_sent || tc_doubt_is_of_copy(row->requested_at);
	return false;
}

/* Have it be looked at then. */
static void
note_again(const KeyWait *wait, TimestampTz until)
{
	KeyWait		anew = *wait;

	anew.awaited_until = until;
	tc_key_wait_remove(wait);
	tc_key_wait_insert(&anew);
}

/* Nothing was recorded in time. */
static bool
reject_late(const KeyWait *wait, const Finding *finding)
{
	return reject(wait, TC_KEY_NOT_RECORDED, finding->found ?
				  "an activity was recorded under the key only when the time to wait for it was over" :
				  "no activity is recorded under the key, and the time to wait for it is over");
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
		hindered = true;
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
	removed_some = true;
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

void
tc_key_settle_give_back(void)
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
	ntouched = 0;
}
