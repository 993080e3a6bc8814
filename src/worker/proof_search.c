/*-------------------------------------------------------------------------
 *
 * proof_search.c
 *	  What a workflow's history says about a request.
 *
 * Events come with the newest first.  A task token tells which event scheduled
 * the activity, so all that matters lies above that.  Ids do not: they may be
 * used again in a loop, in the run that a workflow continues as, or after a
 * reset, and the request may have taken effect on any of those that had them
 * since it was made.  So the search goes on below the activity that has them
 * now, and into the runs before it, as far back as something that follows from
 * the request can be.
 *
 * Nothing here asks or decides.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "worker/proof_search.h"

/* Ends of activities kept of a history, whose own bound is 51,200 events, three for an activity */
#define ENDS_MAX 20000

/* Events that are older than the request by so much are not looked at by ids */
#define OLDER_MAX (60 * CLOCK_MARGIN_USECS)

#define IDENTITY_SHOWN_MAX 200

static char *copy_text(const HistorySearch *search, ProtoSpan span);
static bool take_scheduled(HistorySearch *search, const ActivityEvent *event);
static bool take_started(HistorySearch *search, const ActivityEvent *event);
static bool take_end(HistorySearch *search, const ActivityEvent *event);
static bool take_run(HistorySearch *search, const ActivityEvent *event);
static bool is_too_old(const HistorySearch *search, const ActivityEvent *event);

void
tc_sought_init(SoughtRequest *sought)
{
	const char *former = sought->former_identities;

	sought->by_id = tc_method_by_id(sought->method);
	sought->event_is_known = !sought->by_id && sought->target.scheduled_event_id != 0;
	sought->is_failure = sought->method == METHOD_FAIL || sought->method == METHOD_FAIL_BY_ID;
	sought->first_made_at = sought->identity.requested_at;
	while (former != NULL && *former != '\0')
	{
		TimestampTz made_at = tc_former_identity_time(former);

		sought->first_made_at = Min(sought->first_made_at, made_at);
		former += strcspn(former, " ");
		former += strspn(former, " ");
	}
}

bool
tc_sought_has_identity(const SoughtRequest *sought, ProtoSpan identity)
{
	return identity.bytes != NULL &&
		tc_identity_matches((const char *) identity.bytes, identity.len, &sought->identity,
							sought->former_identities);
}

int
tc_sought_attempt(const SoughtRequest *sought)
{
	return Max(sought->target.attempt, 1);
}

void
tc_search_begin(HistorySearch *search, MemoryContext context, const SoughtRequest *sought,
				bool is_pending)
{
	MemoryContextReset(context);
	memset(search, 0, sizeof(HistorySearch));
	search->context = context;
	search->sought = sought;
	search->is_pending = is_pending;
}

bool
tc_search_take(void *arg, const ActivityEvent *event)
{
	HistorySearch *search = arg;
	const SoughtRequest *sought = search->sought;
	bool		more;

	if (!search->is_former_run && event->event_id <= search->seen_events)
		more = false;
	else if (!sought->event_is_known && is_too_old(search, event))
		more = false;
	else if (tc_sought_has_identity(sought, event->identity) ||
			 (sought->may_be_retried && tc_sought_has_identity(sought, event->last_failure_source)))
	{
		search->ours = true;
		more = false;
	}
	else
	{
		switch (event->kind)
		{
			case ACTIVITY_SCHEDULED:
				more = take_scheduled(search, event);
				break;
			case ACTIVITY_STARTED:
				more = take_started(search, event);
				break;
			case RUN_STARTED:
			case RUN_RESET:
				more = take_run(search, event);
				break;
			default:
				more = take_end(search, event);
				break;
		}
	}
	search->is_over |= !more;
	return more;
}

/* Can nothing of the request be found there any more, nor anything about the activity that matters? */
static bool
is_too_old(const HistorySearch *search, const ActivityEvent *event)
{
	return (search->is_former_run || search->is_scheduled || search->is_pending) &&
		event->time != 0 && event->time < search->sought->first_made_at - OLDER_MAX;
}

static char *
copy_text(const HistorySearch *search, ProtoSpan span)
{
	char	   *text = MemoryContextAlloc(search->context, span.len + 1);

	if (span.len > 0)
		memcpy(text, span.bytes, span.len);
	text[		span.len] = '\0';
	return text;
}

static bool
take_scheduled(HistorySearch *search, const ActivityEvent *event)
{
	const RequestTarget *target = &search->sought->target;
	bool		this_one = search->sought->event_is_known ?
		event->event_id == target->scheduled_event_id :
		target->activity_id != NULL &&
		tc_span_is(event->activity_id, target->activity_id, strlen(target->activity_id));

	if (!this_one)
		return true;
	if (search->is_former_run || search->is_scheduled)
	{
		search->scheduled_before = true;
		return true;
	}
	search->is_scheduled = true;
	search->scheduled_at = event->time;
	if (target->activity_id == NULL)
		search->activity_id = copy_text(search, event->activity_id);
	for (int i = 0; i < search->nends; i++)
	{
		if (search->ends[i].scheduled_event_id == event->event_id)
		{
			search->has_end = true;
			search->end = search->ends[i];
		}
	}
	return !search->sought->event_is_known;
}

/*
 * A failure may be one that another attempt followed, of which only the
 * started event tells, between the activity's end and where it was scheduled.
 */
static bool
take_started(HistorySearch *search, const ActivityEvent *event)
{
	const SoughtRequest *sought = search->sought;

	if (sought->event_is_known && event->scheduled_event_id != sought->target.scheduled_event_id)
		return true;
	for (int i = 0; i < search->nends; i++)
	{
		if (search->ends[i].scheduled_event_id != event->scheduled_event_id)
			continue;
		search->ends[i].attempt = event->attempt;
		search->ends[i].started_at = event->time;
		if (sought->event_is_known)
		{
			search->has_end = true;
			search->end = search->ends[i];
			return false;
		}
	}
	return true;
}

/* By ids it is only known below which activity ended so: all are kept until then. */
static bool
take_end(HistorySearch *search, const ActivityEvent *event)
{
	const SoughtRequest *sought = search->sought;
	SeenEnd		end = {0};

	if (search->is_former_run || search->is_scheduled ||
		(sought->event_is_known && event->scheduled_event_id != sought->target.scheduled_event_id))
		return true;
	end.scheduled_event_id = event->scheduled_event_id;
	end.kind = event->kind;
	if (event->identity.bytes != NULL)
	{
		ProtoSpan	shown = event->identity;

		shown.len = Min(shown.len, IDENTITY_SHOWN_MAX);
		end.identity = copy_text(search, shown);
	}
	if (sought->event_is_known && !sought->may_be_retried)
	{
		search->has_end = true;
		search->end = end;
		return false;
	}
	if (search->nends == ENDS_MAX)
	{
		search->too_many = true;
		return false;
	}
	if (search->nends == search->max_ends)
	{
		int			max = Max(16, search->max_ends * 2);

		search->ends = search->ends == NULL ?
			MemoryContextAlloc(search->context, max * sizeof(SeenEnd)) :
			repalloc(search->ends, max * sizeof(SeenEnd));
		search->max_ends = max;
	}
	search->ends[search->nends++] = end;
	return true;
}

/*
 * Where a run begins, or goes on after a reset: what came before it is another
 * run's, whose history tells of it.  It matters if it may have been the current
 * run after the request was made.
 */
static bool
take_run(HistorySearch *search, const ActivityEvent *event)
{
	const SoughtRequest *sought = search->sought;
	char	   *run;

	if (event->kind == RUN_STARTED)
	{
		search->at_start = true;
		search->started_at = event->time;
	}
	if (!sought->by_id || sought->target.run_id != NULL || event->former_run.len == 0 ||
		event->time < sought->first_made_at - CLOCK_MARGIN_USECS)
		return true;

	run = copy_text(search, event->former_run);
	for (int i = 0; i < search->nruns; i++)
		if (strcmp(search->runs[i], run) == 0)
			return true;
	if (search->nruns == SEARCHED_RUNS_MAX)
		search->too_many_runs = true;
	else
		search->runs[search->nruns++] = run;
	return true;
}

const char *
tc_search_next_run(HistorySearch *search)
{
	if (search->next_run == search->nruns)
		return NULL;
	search->is_former_run = true;
	search->is_over = false;
	search->at_start = false;
	return search->runs[search->next_run++];
}

bool
tc_search_is_complete(const HistorySearch *search)
{
	const SoughtRequest *sought = search->sought;

	if (!sought->by_id || sought->target.run_id != NULL || sought->was_never_sent)
		return true;
	/* what stopped the search at what is too old, has gone back far enough */
	return !search->too_many_runs &&
		(!search->at_start || search->started_at <= sought->first_made_at);
}

bool
tc_search_is_same_activity(const HistorySearch *search)
{
	TimestampTz made_at = search->sought->identity.requested_at;

	/* so long before the request that the search did not get there */
	if (!search->is_scheduled)
		return true;
	if (search->scheduled_before)
		return search->scheduled_at <= made_at;
	/* the first one of that id is the one that is waited for */
	if (search->sought->is_awaited)
		return true;
	return search->scheduled_at <= made_at + CLOCK_MARGIN_USECS;
}
