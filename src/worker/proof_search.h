/*-------------------------------------------------------------------------
 *
 * proof_search.h
 *	  What a workflow's history says about a request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_SEARCH_H
#define TC_PROOF_SEARCH_H

#include "request/request_fields.h"
#include "worker/proof_replies.h"

/* The request in question; what it points to must live as long as it does */
typedef struct SoughtRequest
{
	RequestMethod method;
	RequestTarget target;		/* without task_token */
	RequestIdentity identity;
	const char *former_identities;
	bool		by_id;
	bool		event_is_known; /* the one that scheduled the activity */
	bool		is_failure;
	bool		may_be_retried; /* a failure after which there may be another
								 * attempt */
	TimestampTz first_made_at;	/* nothing of it is older */
	bool		is_awaited;		/* it waits for the activity to be scheduled */
	bool		was_never_sent; /* ... and no attempt can have been applied */
	SeenHistory seen;			/* of the current run */
} SoughtRequest;

/* Fill in what follows from method, identity and former identities. */
extern void tc_sought_init(SoughtRequest *sought);

/* Is that its identity? */
extern bool tc_sought_has_identity(const SoughtRequest *sought, ProtoSpan identity);

/* The attempt that was meant; by ids the first one, though it may have been a later one, too. */
extern int	tc_sought_attempt(const SoughtRequest *sought);

/*
 * Clocks of PostgreSQL and Temporal that differ by less are reckoned with
 * where histories are searched.
 */
#define CLOCK_MARGIN_USECS (60 * USECS_PER_SEC)

/* An end of an activity */
typedef struct SeenEnd
{
	int64		scheduled_event_id;
	ActivityEventKind kind;
	char	   *identity;		/* NULL: nobody's */
	int			attempt;		/* that it ended; 0 = none had started */
	TimestampTz started_at;		/* the attempt */
} SeenEnd;

/* Runs of a workflow that are searched for one request */
#define SEARCHED_RUNS_MAX 64

/*
 * Events are taken from the newest to the oldest, in the run whose activity is
 * in question first, then in those that came before it.  So:
 *
 * - is_scheduled, scheduled_at, has_end and end are about that activity, and
 *	 no longer change once it is known which one it is, or in former runs;
 * - ends[] has those that were seen above where the activity was scheduled,
 *	 each event that scheduled one having one end at most, and is not added to
 *	 below that;
 * - runs[next_run ..] are to be searched yet, and no run is in runs[] twice;
 * - after ours or is_over no more events of this run are taken; ours is final.
 */
typedef struct HistorySearch
{
	MemoryContext context;		/* of everything here */
	const SoughtRequest *sought;
	bool		is_former_run;	/* of the one whose activity is in question */
	bool		is_pending;		/* the activity is known to be */
	int64		seen_events;	/* of the current run: up to there it was
								 * searched before */

	/* what was found */
	bool		ours;			/* the request took effect */
	bool		is_over;		/* no more events are wanted */
	bool		too_many;		/* ends of activities to be kept */
	bool		is_scheduled;	/* the activity: the last time that its id was */
	TimestampTz scheduled_at;
	char	   *activity_id;	/* as that event has it, where only the event
								 * was known */
	bool		scheduled_before;	/* the id was used before that, for
									 * another one */
	bool		has_end;
	SeenEnd		end;
	bool		at_start;		/* of the run */
	TimestampTz started_at;		/* the first of the runs that was searched to
								 * its start */

	/* runs that came before, by their ids; the next one to be searched */
	char	   *runs[SEARCHED_RUNS_MAX];
	int			nruns;
	int			next_run;
	bool		too_many_runs;

	/* ends that were seen before it was known which activity it is */
	SeenEnd    *ends;
	int			nends;
	int			max_ends;
} HistorySearch;

/* Begin a search, in a context that holds nothing else. */
extern void tc_search_begin(HistorySearch *search, MemoryContext context,
							const SoughtRequest *sought, bool is_pending);

/* Take an event, the newest first; it is an ActivityEventConsumer. */
extern bool tc_search_take(void *search, const ActivityEvent *event);

/*
 * Go on with a run that came before; its id, or NULL if all have been
 * searched.
 */
extern const char *tc_search_next_run(HistorySearch *search);

/*
 * Was all searched where the request can have had its effect?  A workflow of
 * the same id that was begun later does not tell.
 */
extern bool tc_search_is_complete(const HistorySearch *search);

/*
 * Is the activity that was found last the one that was there when the request
 * was made?  If its id was used before, for another one, that is decided by
 * the time.
 */
extern bool tc_search_is_same_activity(const HistorySearch *search);

#endif							/* TC_PROOF_SEARCH_H */
