/*-------------------------------------------------------------------------
 *
 * answers.c
 *	  What becomes of a request whose call is over, or whose fate was found out.
 *
 *	  answer              what follows
 *	  ------------------------------------------------------------------------
 *	  delivered           delivered
 *	  refused for good    rejected, if no earlier attempt may have been applied;
 *	                      else it is found out (proof.c)
 *	  not there           it is found out; if it was never there, it may be
 *						  waited for
 *	  not processed       sent again, at once; after three times it is a failure
 *	  any other failure   tried again later; by ids not before it is found out
 *	                      that it was not applied.  Too old: rejected, if it was
 *	                      certainly not applied, else it is found out
 *
 * Where the call was one to a codec server (request_encoding.c) nothing can have
 * been applied, and nothing is said about Temporal: what was encoded is ready
 * to be sent, what was refused for good is rejected as above, what failed is
 * tried again later.
 *
 * A heartbeat leaves no trace at Temporal, so about one nothing is found out:
 * where it may have been taken it is unconfirmed.  Flow (flow.c) hears of each
 * answer.
 *
 * Nothing is sent or recorded here: recording.c is told what there is to be
 * recorded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "compat.h"
#include "wire/classify.h"
#include "worker/answers.h"
#include "worker/coalesce.h"
#include "worker/counting.h"
#include "worker/flow.h"
#include "worker/queue.h"
#include "worker/recording.h"

/* A stream that was refused so often, unprocessed, counts as a failure */
#define REFUSALS_MAX 3

/* Delay between looks for an activity that is waited for, doubling */
#define WAIT_DELAY_MS 100
#define WAIT_DELAY_MAX_MS 4000

static void settle_encoding(Request *request);
static void refused(Request *request);
static void try_later(Request *request, CallMeaning meaning);
static bool go_by_ids(Request *request);
static bool is_expired(const Request *request);
static void go_on(Request *request);
static bool wait_for_activity(Request *request, const ProofFinding *finding);

void
tc_answer_settle(Request *request)
{
	Queue	   *queue = request->queue;
	CallMeaning meaning = request->meaning;

	tc_queue_activate(queue);
	if (request->is_being_encoded)
	{
		settle_encoding(request);
		tc_channels_end_call(request->channel);
		request->channel = NULL;
		return;
	}
	/* what was certainly not applied need not be looked up again */
	request->looked_up = !request->may_have_taken_effect;

	if (meaning == MEANING_SEND_AGAIN && request->refusals++ >= REFUSALS_MAX)
		meaning = MEANING_RETRY;
	if (meaning != MEANING_SEND_AGAIN)
	{
		request->refusals = 0;
		request->attempts++;
	}
	switch (meaning)
	{
		case MEANING_DELIVERED:
			tc_flow_success(queue);
			tc_request_finish(request, OUTCOME_DELIVERED);
			break;
		case MEANING_REJECTED:
		case MEANING_GONE:
			tc_flow_success(queue);
			refused(request);
			break;
		case MEANING_SEND_AGAIN:
			tc_request_send_again(request);
			break;
		case MEANING_RETRY:
		case MEANING_THROTTLED:
		case MEANING_NEEDS_OPERATOR:
			try_later(request, meaning);
			break;
	}
	tc_channels_end_call(request->channel);
	request->channel = NULL;

	/*
	 * what waits for an operator, or behind such, must not keep others' room;
	 * it may be gone now
	 */
	if ((meaning == MEANING_NEEDS_OPERATOR || meaning == MEANING_SEND_AGAIN) &&
		tc_flow_is_paused(queue))
		queue->to_unload = true;
}

static void
settle_encoding(Request *request)
{
	request->is_being_encoded = false;
	switch (request->meaning)
	{
		case MEANING_REJECTED:
			request->attempts++;
			refused(request);
			break;
		case MEANING_RETRY:
			request->attempts++;
			try_later(request, MEANING_RETRY);
			break;
		default:
			/* what can be sent comes before what has to be encoded */
			if (request->encoded_by != 0)
				tc_request_send_again(request);
			else
				tc_request_set_state(request, REQUEST_READY);
	}
}

static void
refused(Request *request)
{
	bool		is_gone = request->meaning == MEANING_GONE;

	request->refusal = request->error_code;
	if (tc_method_is_heartbeat(request->method) && !(is_gone && request->awaited_until != 0))
		tc_request_finish(request, request->maybe_sent ? OUTCOME_UNCONFIRMED : OUTCOME_REJECTED);
	else if (is_gone || request->maybe_sent)
		tc_proof_begin(request, false);
	else
		tc_request_finish(request, OUTCOME_REJECTED);
}

static void
try_later(Request *request, CallMeaning meaning)
{
	Queue	   *queue = request->queue;
	const ServerConfig *config = request->channel->config;
	int64		delay = meaning == MEANING_NEEDS_OPERATOR ?
		config->retry_max_interval_ms : tc_backoff_ms(config, request->attempts - 1);
	bool		expired = tc_request_has_expired(request, config);

	delay = Max(delay, tc_flow_pace(queue, request));
	tc_flow_failure(queue, request);
	request->maybe_sent |= request->may_have_taken_effect;
	tc_count_failure(request, !expired, request->may_have_taken_effect);
	if (expired && !tc_request_expire(request))
		return;
	if (tc_is_overtaken(request))
	{
		tc_request_finish(request, OUTCOME_SUPERSEDED);
		return;
	}
	/* it is looked up, when what was sent can no longer be applied */
	if (tc_request_must_be_looked_up(request))
		delay = Max(delay, request->doubt_until - tc_monotonic_ms());
	request->next_attempt_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
	tc_request_retry_at(request, tc_monotonic_ms() + delay);
	tc_recording_add(request);
	/* other roles need not wait for this one */
	if (meaning == MEANING_NEEDS_OPERATOR)
		tc_request_let_others_go_first(request, tc_monotonic_ms() + delay);
}

/*
 * What became of an earlier attempt of a request that was refused, is to be
 * sent again, or has expired.  Also a first attempt that is refused can have
 * been one that was applied: the server retries within itself.  Where nothing
 * can be proved, the refusal counts if there was no doubt about it.
 */
void
tc_finding_settle(const ProofFinding *finding)
{
	Request    *request = finding->request;
	OutcomeKind kind = OUTCOME_REJECTED;
	bool		in_doubt = request->maybe_sent ||
		(request->error_code != NULL && strcmp(request->error_code, "CONFIRMING") == 0);
	const char *refusal = request->refusal;

	/* other refusals than NOT_FOUND say themselves what is wrong */
	if ((refusal == NULL || strcmp(refusal, "NOT_FOUND") == 0 || is_expired(request)) &&
		(finding->verdict != PROOF_IMPOSSIBLE || in_doubt))
		tc_request_set_message(request, finding->words);

	switch (finding->verdict)
	{
		case PROOF_NOT_YET:
			request->error_code = "CONFIRMING";
			request->next_attempt_at =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											finding->next_look - tc_monotonic_ms());
			tc_recording_add(request);
			return;
		case PROOF_OURS:
			kind = OUTCOME_DELIVERED;
			request->error_code = NULL;
			tc_request_set_message(request, NULL);
			break;
		case PROOF_PENDING:
			if (refusal == NULL && tc_is_overtaken(request))
			{
				kind = OUTCOME_SUPERSEDED;
				break;
			}
			if (refusal == NULL)
			{
				go_on(request);
				return;
			}
			if (wait_for_activity(request, finding))
				return;
			request->error_code = refusal;
			break;
		case PROOF_OTHER_ATTEMPT:
		case PROOF_NOT_THERE:
		case PROOF_NOT_OURS:
			if (finding->verdict == PROOF_OTHER_ATTEMPT && go_by_ids(request))
				return;
			if (finding->verdict == PROOF_NOT_THERE)
			{
				if (wait_for_activity(request, finding))
					return;
				if (request->awaited_until != 0 && !is_expired(request))
				{
					char		words[WORDS_MAX + 64];

					snprintf(words, sizeof(words), "%s, and the time to wait for it is over",
							 finding->words);
					tc_request_set_message(request, words);
					refusal = TC_ACTIVITY_NOT_FOUND;
				}
			}
			request->error_code = refusal != NULL ? refusal : "NOT_FOUND";
			/* it may have been taken all the same: it leaves no trace */
			if (tc_method_is_heartbeat(request->method) && request->maybe_sent)
				kind = OUTCOME_UNCONFIRMED;
			break;
		case PROOF_IMPOSSIBLE:
			request->error_code = refusal != NULL ? refusal :
				request->maybe_sent ? "NO_ANSWER" : "NOT_FOUND";
			if (request->maybe_sent)
				kind = OUTCOME_UNCONFIRMED;
			break;
	}
	tc_request_finish(request, kind);
	tc_queue_activate(request->queue);
}

/*
 * A key means the activity, whichever attempt it is on.  What may have been
 * sent by ids before is looked up once more, when that can no longer be
 * applied.  The row stays as it is: a worker that reads it begins with the
 * token again, and finds out the same.
 */
static bool
go_by_ids(Request *request)
{
	if (request->recorded_activity == 0 || is_expired(request))
		return false;
	if (request->method == METHOD_COMPLETE)
		request->method = METHOD_COMPLETE_BY_ID;
	else if (request->method == METHOD_REPORT_CANCELLATION)
		request->method = METHOD_REPORT_CANCELLATION_BY_ID;
	else
		return false;
	request->refusal = NULL;
	request->error_code = NULL;
	tc_request_set_message(request, NULL);
	request->looked_up = !request->maybe_sent;
	tc_request_was_not_applied(request, 0);
	return true;
}

/* It was not applied, and its activity waits for it. */
static void
go_on(Request *request)
{
	request->looked_up = true;
	if (request->is_absent)
	{
		request->is_absent = false;
		request->error_code = NULL;
		tc_request_set_message(request, NULL);
		request->next_attempt_at = 0;
		tc_recording_add(request);
	}
	tc_request_was_not_applied(request, 0);
}

/*
 * There is no activity yet, or none that can be ended at present: is it waited
 * for, and not for too long?
 */
static bool
wait_for_activity(Request *request, const ProofFinding *finding)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		delay = Min(WAIT_DELAY_MS << Min(request->waits, 10), WAIT_DELAY_MAX_MS);

	if (now >= request->awaited_until ||
		(request->refusal != NULL && strcmp(request->refusal, "NOT_FOUND") != 0))
		return false;
	request->waits++;
	request->is_absent = finding->verdict == PROOF_NOT_THERE;
	request->looked_up = !request->is_absent;
	request->error_code = request->is_absent ? TC_ACTIVITY_NOT_FOUND : request->refusal;
	request->refusal = NULL;
	request->seen = finding->seen;

	delay = delay * (0.8 + 0.4 * tc_random_fraction());
	if (request->awaited_until - now < delay * 1000)
		delay = (request->awaited_until - now) / 1000 + 1;
	request->next_attempt_at = TimestampTzPlusMilliseconds(now, delay);
	tc_recording_add(request);
	tc_request_was_not_applied(request, tc_monotonic_ms() + delay);
	return true;
}

/* Does its expiry wait for its being looked up? */
static bool
is_expired(const Request *request)
{
	return request->refusal != NULL && strcmp(request->refusal, TC_EXPIRED) == 0;
}

/*
 * A task token names one attempt, of which Temporal takes one end.  By ids a
 * request that was applied could be applied once more, to another activity
 * that has the ids since.  And what has expired is not sent any more.
 */
bool
tc_request_must_be_looked_up(const Request *request)
{
	return (request->maybe_sent || request->is_absent) &&
		(is_expired(request) || (tc_method_by_id(request->method) && !request->looked_up));
}

/* Not before it is certain that what was sent is not applied later. */
void
tc_request_look_up(Request *request)
{
	if (request->maybe_sent && tc_monotonic_ms() < request->doubt_until)
		tc_request_retry_at(request, request->doubt_until);
	else
		tc_proof_begin(request, is_expired(request));
}
