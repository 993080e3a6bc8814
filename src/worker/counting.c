/*-------------------------------------------------------------------------
 *
 * counting.c
 *	  What a worker counts.
 *
 * Counted is in the worker's own memory, and added to the entries in shared
 * memory (process/statistics.c) at the end of a turn: so a request costs some
 * additions, and a turn a spinlock for each entry.  Outcomes are counted when
 * they are recorded, therefore once: what was recorded is not read again.
 *
 * What is so now (gauges.c) is gathered in the same places.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/counting.h"

/* What was counted for an entry and not published yet, and what is so now */
typedef struct Pending
{
	int			entry;
	bool		dirty;
	dlist_node	dirty_node;
	bool		has_gauges;		/* that are not all 0 were published */
	StatCounters counters;
	StatTimes	times;
	StatGauges	gauges;
} Pending;

static MemoryContext counting_context;
static Pending **pendings;		/* by entry; NULL: nothing was counted there */
static dlist_head dirty = DLIST_STATIC_INIT(dirty);

static Pending *pending_of(Queue *queue);
static Pending *to_be_published(Queue *queue);
static void set_error(StatTimes *times, TimestampTz at, const char *code, const char *message);

void
tc_counting_init(void)
{
	counting_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete statistics",
											 ALLOCSET_DEFAULT_SIZES);
	pendings = MemoryContextAllocZero(counting_context, tc_stat_entries() * sizeof(Pending *));
}

/* NULL if there is no room for it, not even together with others. */
static Pending *
pending_of(Queue *queue)
{
	const char *namespace_name = queue->namespace_name;
	int			entry = queue->stat_entry - 1;

	if (queue->stat_entry == 0)
	{
		/* as long as it is not known what the server's own is */
		if (namespace_name == NULL)
			namespace_name = queue->row.key.namespace_name;
		entry = tc_stat_entry(queue->row.key.role, queue->row.key.server,
							  namespace_name != NULL ? namespace_name : "");
		if (entry == TC_STAT_NONE)
			return NULL;
		queue->stat_entry = entry + 1;
	}
	if (pendings[entry] == NULL)
	{
		pendings[entry] = MemoryContextAllocZero(counting_context, sizeof(Pending));
		pendings[entry]->entry = entry;
	}
	return pendings[entry];
}

static Pending *
to_be_published(Queue *queue)
{
	Pending    *pending = pending_of(queue);

	if (pending != NULL && !pending->dirty)
	{
		pending->dirty = true;
		dlist_push_tail(&dirty, &pending->dirty_node);
	}
	return pending;
}

void
tc_counting_forget(Queue *queue)
{
	queue->stat_entry = 0;
}

void
tc_count_call(Queue *queue, size_t bytes)
{
	Pending    *pending = to_be_published(queue);

	if (pending == NULL)
		return;
	pending->counters.calls++;
	pending->counters.bytes += bytes;
}

void
tc_count_heartbeat(Queue *queue)
{
	Pending    *pending = to_be_published(queue);

	if (pending != NULL)
		pending->counters.background_heartbeats++;
}

void
tc_count_failure(const Request *request, bool retried, bool ambiguous)
{
	Pending    *pending = to_be_published(request->queue);

	if (pending == NULL)
		return;
	if (retried)
		pending->counters.retries++;
	if (ambiguous)
		pending->counters.ambiguous++;
	set_error(&pending->times, GetCurrentTimestamp(), request->error_code, request->error_message);
}

void
tc_count_outcome(const Request *request, bool expired)
{
	Pending    *pending = to_be_published(request->queue);
	StatCounters *counters;

	if (pending == NULL)
		return;
	counters = &pending->counters;
	/* the one in its place counts */
	if (request->outcome == OUTCOME_SUPERSEDED)
	{
		counters->superseded++;
		return;
	}
	if (tc_method_is_heartbeat(request->method))
		counters->heartbeats++;
	if (request->outcome == OUTCOME_DELIVERED)
	{
		int64		latency = Max(request->outcome_at - request->requested_at, 0);
		int			bound = 0;

		while (bound < TC_STAT_BOUNDS && latency > tc_stat_bounds[bound])
			bound++;
		counters->delivered++;
		counters->delivery_us += latency;
		counters->latencies[bound]++;
		pending->times.delivered = Max(pending->times.delivered, request->outcome_at);
		return;
	}
	if (request->outcome == OUTCOME_UNCONFIRMED)
		counters->unconfirmed++;
	else
		counters->rejected++;
	if (expired)
		counters->expired++;
	set_error(&pending->times, request->outcome_at, request->error_code, request->error_message);
}

/* What was not counted when it ended is not taken off what was. */
void
tc_count_not_kept(const Request *request, int heartbeats, TimestampTz ended_at)
{
	Pending    *pending = to_be_published(request->queue);
	StatView	view;

	if (pending == NULL)
		return;
	if (ended_at != 0 && tc_stat_view(pending->entry, &view) && ended_at < view.reset_at)
		heartbeats--;
	pending->counters.heartbeats_not_kept += heartbeats;
}

static void
set_error(StatTimes *times, TimestampTz at, const char *code, const char *message)
{
	times->error = at;
	strlcpy(times->error_code, code != NULL ? code : "", sizeof(times->error_code));
	strlcpy(times->error_message, message != NULL ? message : "", sizeof(times->error_message));
}

/*---- publishing ----*/

void
tc_counting_flush(void)
{
	TimestampTz now = 0;

	while (!dlist_is_empty(&dirty))
	{
		Pending    *pending = dlist_container(Pending, dirty_node, dlist_pop_head_node(&dirty));

		if (pending->counters.calls > 0)
		{
			if (now == 0)
				now = GetCurrentTimestamp();
			pending->times.call = now;
		}
		tc_stat_add(pending->entry, &pending->counters, &pending->times);
		memset(&pending->counters, 0, sizeof(pending->counters));
		memset(&pending->times, 0, sizeof(pending->times));
		pending->dirty = false;
	}
}

void
tc_counting_begin_anew(void)
{
	tc_counting_flush();
	for (int i = 0; i < tc_stat_entries(); i++)
	{
		if (pendings[i] != NULL)
			pfree(pendings[i]);
		pendings[i] = NULL;
	}
}

/*---- what is so now ----*/

StatGauges *
tc_counting_gauges(Queue *queue)
{
	Pending    *pending = pending_of(queue);

	return pending != NULL ? &pending->gauges : NULL;
}

void
tc_counting_clear_gauges(void)
{
	for (int i = 0; i < tc_stat_entries(); i++)
		if (pendings[i] != NULL)
			memset(&pendings[i]->gauges, 0, sizeof(StatGauges));
}

void
tc_counting_publish_gauges(void)
{
	StatGauges	none = {0};

	for (int i = 0; i < tc_stat_entries(); i++)
	{
		Pending    *pending = pendings[i];
		bool		has_gauges;

		if (pending == NULL)
			continue;
		has_gauges = memcmp(&pending->gauges, &none, sizeof(none)) != 0;
		if (has_gauges || pending->has_gauges)
			tc_stat_set_gauges(i, &pending->gauges);
		pending->has_gauges = has_gauges;
	}
}
