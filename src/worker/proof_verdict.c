/*-------------------------------------------------------------------------
 *
 * proof_verdict.c
 *	  What follows for a request from what Temporal says.
 *
 * PROOF_PENDING, PROOF_NOT_OURS and PROOF_OTHER_ATTEMPT are said only where nothing can have
 * followed from the request: all places were looked at where its traces would
 * be.  A failure that Temporal retries leaves its trace only until the next
 * attempt fails, so several attempts since then leave it undecided.
 *
 * About an activity of a workflow, the first line that is so decides:
 *
 *	  our identity stands where it ended, or failed last   OURS
 *	  another run may be the one that was meant            IMPOSSIBLE
 *	  it has ended otherwise                               verdict_on_end()
 *	  it is neither pending nor has it ended               NOT_YET, see below
 *	  by ids: there is none of that id                     NOT_OURS, NOT_THERE if
 *														   the workflow runs
 *	  the workflow has ended                               verdict_on_closed()
 *	  it is not pending                                    IMPOSSIBLE
 *	  by ids: it is not the one that was meant             NOT_OURS
 *	  it is pending                                        verdict_on_pending()
 *
 * NOT_YET as long as a workflow task is in flight, until whose end events are
 * buffered; else until the last look, because what was asked one after the
 * other need not fit together.
 *
 * Nothing here asks, and nothing has a state.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/proof_verdict.h"

static ProofVerdict verdict_on_end(const SoughtRequest *sought, const SeenEnd *end, char *words);
static ProofVerdict verdict_on_closed(const SoughtRequest *sought,
									  const WorkflowDescription *workflow, char *words);
static ProofVerdict verdict_on_pending(const SoughtRequest *sought,
									   const WorkflowDescription *workflow, char *words);
static ProofVerdict verdict_on_attempts(const SoughtRequest *sought, int attempt,
										TimestampTz started_at, char *words);
static bool was_there_before(const SoughtRequest *sought, TimestampTz started_at);
static void say(char *words, const char *text);

ProofVerdict
tc_verdict_in_workflow(const SoughtRequest *sought, const HistorySearch *search,
					   const WorkflowState *workflow, bool last_look, char words[WORDS_MAX])
{
	const WorkflowDescription *description = &workflow->description;

	words[0] = '\0';
	if (search->ours || (sought->may_be_retried && workflow->last_failure_is_ours))
		return PROOF_OURS;
	if (!tc_search_is_complete(search))
	{
		say(words, "another run of the workflow has begun since the request was made");
		return PROOF_IMPOSSIBLE;
	}
	if (search->has_end)
		return verdict_on_end(sought, &search->end, words);
	Assert(workflow->is_known);
	if (!description->has_pending_activity && (search->is_scheduled || !sought->by_id))
	{
		if (description->is_running && description->has_pending_workflow_task)
		{
			say(words, "the activity has ended; how, is known when the workflow task in flight ends");
			return PROOF_NOT_YET;
		}
		if (!last_look)
		{
			say(words, "the activity has ended; how, is not known yet");
			return PROOF_NOT_YET;
		}
	}
	if (sought->by_id && !search->is_scheduled && !description->has_pending_activity)
	{
		say(words, "the workflow's run has no activity of that id");
		return description->is_running ? PROOF_NOT_THERE : PROOF_NOT_OURS;
	}
	if (!description->is_running)
		return verdict_on_closed(sought, description, words);
	if (!description->has_pending_activity)
	{
		say(words, "the activity has ended, and the workflow's history does not tell how");
		return PROOF_IMPOSSIBLE;
	}
	if (sought->by_id && !tc_search_is_same_activity(search))
	{
		say(words, "the activity was scheduled anew since the request was made");
		return PROOF_NOT_OURS;
	}
	return verdict_on_pending(sought, description, words);
}

static void
say(char *words, const char *text)
{
	strlcpy(words, text, WORDS_MAX);
}

/* The activity has ended, not by an event with our identity. */
static ProofVerdict
verdict_on_end(const SoughtRequest *sought, const SeenEnd *end, char *words)
{
	static const char *const ended[] = {
		[ACTIVITY_COMPLETED] = "completed",
		[ACTIVITY_FAILED] = "failed",
		[ACTIVITY_TIMED_OUT] = "timed out",
		[ACTIVITY_CANCELED] = "cancelled"
	};

	if (sought->may_be_retried && !was_there_before(sought, end->started_at) &&
		(end->attempt == 0 || end->attempt > tc_sought_attempt(sought) + 1))
	{
		say(words, "the activity has failed again since");
		return PROOF_IMPOSSIBLE;
	}
	if (end->identity != NULL)
		snprintf(words, WORDS_MAX, "the activity was %s by %s", ended[end->kind], end->identity);
	else
		snprintf(words, WORDS_MAX, "the activity %s", ended[end->kind]);
	return PROOF_NOT_OURS;
}

/* The workflow ended before the activity, which it may list as pending all the same. */
static ProofVerdict
verdict_on_closed(const SoughtRequest *sought, const WorkflowDescription *workflow, char *words)
{
	const char *how = "has ended";

	switch (workflow->status)
	{
		case RUN_STATUS_COMPLETED:
			how = "was completed";
			break;
		case RUN_STATUS_FAILED:
			how = "failed";
			break;
		case RUN_STATUS_CANCELED:
			how = "was cancelled";
			break;
		case RUN_STATUS_TERMINATED:
			how = workflow->was_reset ? "was reset" : "was terminated";
			break;
		case RUN_STATUS_CONTINUED_AS_NEW:
			how = "continued as new";
			break;
		case RUN_STATUS_TIMED_OUT:
			how = "timed out";
			break;
		case RUN_STATUS_RUNNING:
		case RUN_STATUS_PAUSED:
			break;
	}
	snprintf(words, WORDS_MAX, "the workflow %s before the activity ended", how);

	/* its attempt may have ended by it, and the workflow before the next one */
	if (sought->may_be_retried &&
		(!workflow->has_pending_activity ||
		 (workflow->attempt > tc_sought_attempt(sought) &&
		  !(sought->target.attempt != 0 && workflow->attempt == sought->target.attempt + 1))))
		return PROOF_IMPOSSIBLE;
	return PROOF_NOT_OURS;
}

/* The activity is there, and nothing of the request has happened to it, but for former attempts. */
static ProofVerdict
verdict_on_pending(const SoughtRequest *sought, const WorkflowDescription *workflow, char *words)
{
	int			meant = sought->target.attempt;

	if (workflow->is_paused && !workflow->is_started)
		snprintf(words, WORDS_MAX, "the activity is paused before attempt %d", workflow->attempt);
	else if (!workflow->is_started)
		snprintf(words, WORDS_MAX, "the activity waits for attempt %d", workflow->attempt);
	else
		snprintf(words, WORDS_MAX, "the activity is on attempt %d", workflow->attempt);

	if (sought->may_be_retried)
		return verdict_on_attempts(sought, workflow->attempt, workflow->started_at, words);
	if (sought->by_id || workflow->attempt == meant)
		return PROOF_PENDING;
	return sought->target.run_id != NULL ? PROOF_OTHER_ATTEMPT : PROOF_NOT_OURS;
}

/*
 * Had the attempt begun when the request was made?  By ids it is the one that
 * was meant, and none before it can have ended by the request.
 */
static bool
was_there_before(const SoughtRequest *sought, TimestampTz started_at)
{
	return sought->target.attempt == 0 && started_at != 0 &&
		started_at <= sought->first_made_at;
}

/* Can the attempt that a failure was meant for have ended by it? */
static ProofVerdict
verdict_on_attempts(const SoughtRequest *sought, int attempt, TimestampTz started_at, char *words)
{
	if (attempt <= tc_sought_attempt(sought))
		return PROOF_PENDING;

	if (was_there_before(sought, started_at))
		return PROOF_PENDING;

	/* the failure that was last is not ours */
	if (attempt == tc_sought_attempt(sought) + 1)
	{
		say(words, "the activity's attempt was ended by another failure");
		return PROOF_NOT_OURS;
	}
	say(words, "the activity has failed again since");
	return PROOF_IMPOSSIBLE;
}

ProofVerdict
tc_verdict_standalone(const SoughtRequest *sought, const ActivityDescription *activity,
					  char words[WORDS_MAX])
{
	bool		ours;

	words[0] = '\0';
	if (sought->is_failure)
		ours = tc_sought_has_identity(sought, activity->end_source) ||
			tc_sought_has_identity(sought, activity->last_failure_source);
	else
		ours = !activity->is_running && tc_sought_has_identity(sought, activity->last_identity);
	if (ours)
		return PROOF_OURS;

	if (!activity->is_running && !activity->has_ended)
	{
		say(words, "the activity's description does not say whether it has ended");
		return PROOF_IMPOSSIBLE;
	}
	if (sought->by_id && sought->target.run_id == NULL && !sought->was_never_sent &&
		(activity->scheduled_at == 0 || activity->scheduled_at > sought->first_made_at))
	{
		say(words, "another run of the activity has begun since the request was made");
		return PROOF_IMPOSSIBLE;
	}
	if (activity->is_canceled && (sought->method == METHOD_REPORT_CANCELLATION ||
								  sought->method == METHOD_REPORT_CANCELLATION_BY_ID))
	{
		/* Temporal keeps who asked for the cancellation, not who reported it */
		say(words, "the activity is cancelled, but not known by whose report");
		return PROOF_IMPOSSIBLE;
	}
	if (activity->is_running)
	{
		snprintf(words, WORDS_MAX, activity->started_at != 0 ? "the activity is on attempt %d" :
				 "the activity waits for attempt %d", activity->attempt);
		if (sought->may_be_retried)
			return verdict_on_attempts(sought, activity->attempt, activity->started_at, words);
		if (sought->by_id || activity->attempt == sought->target.attempt)
			return PROOF_PENDING;
		return sought->target.run_id != NULL ? PROOF_OTHER_ATTEMPT : PROOF_NOT_OURS;
	}
	if (sought->may_be_retried && activity->attempt > tc_sought_attempt(sought) +
		(activity->has_failed ? 0 : 1))
	{
		say(words, "the activity has failed again since");
		return PROOF_IMPOSSIBLE;
	}
	say(words, activity->is_terminated ? "the activity was terminated" :
		activity->is_timed_out ? "the activity timed out" :
		activity->is_canceled ? "the activity is cancelled" :
		"the activity was ended by another request");
	return PROOF_NOT_OURS;
}
