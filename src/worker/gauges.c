/*-------------------------------------------------------------------------
 *
 * gauges.c
 *	  What a worker says of what is so now.
 *
 * It is gathered once a second, if the worker had a turn, from its memory; only
 * what was not read yet, because a queue cannot send, has to be counted in the
 * outbox, COUNT_MAX in all at a time.  Each takes a fiftieth of the time at most.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "process/statistics.h"
#include "process/worker_slots.h"
#include "worker/counting.h"
#include "worker/gauges.h"
#include "worker/known_queues.h"
#include "worker/queue.h"
#include "worker/rate.h"
#include "worker/transaction.h"
#include "worker/waiting.h"
#include "worker/wants.h"

#define GAUGES_EVERY_MS 1000
#define SWEEP_EVERY_MS 60000

/* Rows that are counted in the outbox at once */
#define COUNT_MAX 10000
#define COUNT_MIN 100

/* What part of the time that may take, and what part looking at what is in memory */
#define COUNT_PART 50

/* Requests of a queue that are looked at for the oldest one: they are about in their order */
#define OLDEST_LOOK 16

static const char *const activities[] = {
	[ACTIVITY_STARTING] = "starting",
	[ACTIVITY_IDLE] = "waiting for requests",
	[ACTIVITY_READING] = "reading requests",
	[ACTIVITY_SENDING] = "sending requests",
	[ACTIVITY_RECORDING] = "recording outcomes",
	[ACTIVITY_WAITING] = "waiting for Temporal",
	[ACTIVITY_BACKING_OFF] = "backing off",
	[ACTIVITY_PAUSED] = "paused",
	[ACTIVITY_LEAVING] = "leaving",
};

static TimestampTz started_at;
static int64 gauges_after;		/* monotonic ms: they are not gathered before */
static int64 count_after;		/* monotonic ms: rows are not counted before */
static int64 sweep_after;		/* monotonic ms */
static bool counting;			/* not all were counted yet */
static bool leaving;
static LoopTimer timer;

static void gather(void);
static void count_if_unread(void);
static void add_expiry(TimestampTz *gauge, int64 seconds);
static void add_gauges(StatGauges *gauges, const Queue *queue);
static int	count_on(Queue *queue, int max);
static void count_unread(void *arg);
static void sweep(void *arg);
static bool is_needed(const StatKey *key);

void
tc_gauges_init(void)
{
	started_at = GetCurrentTimestamp();
	sweep(NULL);
}

void
tc_report_activity(WorkerActivity activity)
{
	static WorkerActivity reported = -1;

	if (activity == reported)
		return;
	reported = activity;
	pgstat_report_activity(activity == ACTIVITY_IDLE ? STATE_IDLE : STATE_RUNNING,
						   activities[activity]);
}

void
tc_gauges_leave(bool leaves)
{
	leaving = leaves;
	if (leaves)
		tc_gauges_turn(true);
}

void
tc_gauges_turn(bool now)
{
	int64		time = tc_monotonic_ms();
	int64		begun;

	tc_counting_flush();
	if (!now && time < gauges_after)
	{
		/* a turn of its own, if there is no other */
		if (!timer.armed)
			tc_timer_wake(&timer, gauges_after);
		return;
	}
	tc_timer_cancel(&timer);
	if (sweep_after <= time && tc_stat_lacks_room())
		(void) tc_run_transaction(sweep, NULL);
	count_if_unread();
	begun = tc_monotonic_ms();
	gather();
	gauges_after = time + Max(GAUGES_EVERY_MS, (tc_monotonic_ms() - begun) * COUNT_PART);
	if (counting && !leaving)
		tc_timer_wake(&timer, gauges_after);
}

static void
gather(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	StatWorker	worker = {
		.started_at = started_at,.queues = nqueues,.requests = tc_requests_in_memory()
	};
	int			slot = tc_slot_of(MyDatabaseId);

	tc_counting_clear_gauges();
	for (int i = 0; i < nqueues; i++)
	{
		StatGauges *gauges;

		/* one that has never had anything to send is not worth an entry */
		if (queues[i]->stat_entry == 0 && dlist_is_empty(&queues[i]->requests) &&
			queues[i]->error_code == NULL)
			continue;
		gauges = tc_counting_gauges(queues[i]);
		if (gauges != NULL)
			add_gauges(gauges, queues[i]);
	}
	tc_counting_publish_gauges();
	if (slot != TC_SLOT_NONE)
		tc_stat_set_worker(slot, &worker);
}

static void
count_if_unread(void)
{
	int64		begun = tc_monotonic_ms();
	int64		now;

	counting &= tc_queues_unread() > 0;
	if (tc_queues_unread() == 0 || count_after > begun || leaving)
		return;
	(void) tc_run_transaction(count_unread, NULL);
	now = tc_monotonic_ms();
	count_after = now + (now - begun) * COUNT_PART;
}

static void
add_gauges(StatGauges *gauges, const Queue *queue)
{
	int			in_flight = tc_queue_in_flight(queue);
	int			left = OLDEST_LOOK;
	TimestampTz oldest = 0;
	dlist_iter	iter;

	gauges->in_flight += leaving ? 0 : in_flight;
	gauges->backlog += leaving ? in_flight : 0;
	gauges->backlog += queue->count[REQUEST_READY] + queue->count[REQUEST_RETRYING] +
		queue->count[REQUEST_BLOCKED] + queue->count[REQUEST_CONFIRMING];
	tc_waiting_add(gauges, queue, leaving);
	gauges->connected |= !leaving && tc_queue_is_connected(queue);
	if (queue->channel != NULL)
	{
		gauges->max_requests_per_second = queue->channel->config->max_requests_per_second;
		gauges->rate_limited |= !leaving && queue->count[REQUEST_READY] > 0 && queue->channel->rate != NULL &&
			tc_rate_waits(queue->channel->rate, queue->row.key.role);
	}
	if (queue->unread)
	{
		gauges->backlog += queue->unread_rows;
		oldest = queue->unread_since;
	}
	dlist_foreach(iter, unconstify(dlist_head *, &queue->requests))
	{
		const Request *request = dlist_container(Request, queue_node, iter.cur);

		if (left-- == 0)
			break;
		if (request->state != REQUEST_FINISHED && (oldest == 0 || request->requested_at < oldest))
			oldest = request->requested_at;
	}
	if (oldest != 0 && (gauges->oldest_request_at == 0 || oldest < gauges->oldest_request_at))
		gauges->oldest_request_at = oldest;
	if (queue->channel != NULL)
	{
		const ChannelExpiry *expiry = &queue->channel->expiry;
		ChannelClock clock = tc_channel_clock(queue->channel->channel);

		add_expiry(&gauges->server_certificate_expires_at, expiry->server_certificate);
		add_expiry(&gauges->client_certificate_expires_at, expiry->client_certificate);
		add_expiry(&gauges->api_key_expires_at, expiry->api_key);
		if (clock.known)
		{
			gauges->clock_known = true;
			gauges->clock_ahead = clock.ahead;
		}
	}
	if (queue->error_code != NULL &&
		(gauges->error_since == 0 || queue->error_since < gauges->error_since))
	{
		gauges->error_since = queue->error_since;
		strlcpy(gauges->error_code, queue->error_code, sizeof(gauges->error_code));
		strlcpy(gauges->error_message, queue->error_message, sizeof(gauges->error_message));
	}
}

/* The first of those of an entry counts. */
static void
add_expiry(TimestampTz *gauge, int64 seconds)
{
	if (seconds != 0 && (*gauge == 0 || time_t_to_timestamptz(seconds) < *gauge))
		*gauge = time_t_to_timestamptz(seconds);
}

/* It may take several times to count all: until then as many are known of as before, or as were counted so far. */
static int
count_on(Queue *queue, int max)
{
	RowCount   *count = &queue->unread_count;
	int64		before = count->rows;
	bool		is_last = tc_outbox_count_on(queue->number, &queue->position, max, count);
	int			counted = count->rows - before;

	if (before == 0)
		queue->unread_since = count->since;
	queue->unread_rows = is_last ? count->rows : Max(queue->unread_rows, count->rows);
	if (is_last)
		memset(count, 0, sizeof(*count));
	counting |= !is_last;
	return counted;
}

/* Of many queues some, and the next ones the next time. */
static void
count_unread(void *arg)
{
	static int	next = 0;
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	int			max = Max(COUNT_MIN, COUNT_MAX / tc_queues_unread());
	int			counted = 0;

	counting = false;
	for (int i = 0; i < nqueues && counted < COUNT_MAX; i++)
	{
		Queue	   *queue = queues[next++ % nqueues];

		if (!queue->unread)
			continue;
		/* one without rows costs something, too */
		counted += count_on(queue, max) + 1;
	}
	next = nqueues > 0 ? next % nqueues : 0;
}

/*---- what is not needed any more ----*/

/* Needs a transaction. */
static void
sweep(void *arg)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	sweep_after = tc_monotonic_ms() + SWEEP_EVERY_MS;
	tc_counting_begin_anew();
	tc_stat_sweep(is_needed);
	tc_stat_clear_gauges();
	for (int i = 0; i < nqueues; i++)
		tc_counting_forget(queues[i]);
}

static bool
is_needed(const StatKey *key)
{
	if (key->database != MyDatabaseId)
		return SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(key->database));
	return !OidIsValid(key->role) ||
		(SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(key->role)) &&
		 SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(key->server)));
}
