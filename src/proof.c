/*-------------------------------------------------------------------------
 *
 * proof.c
 *	  Was it an earlier attempt of ours that ended the activity?
 *
 * Temporal knows no request ids: a request that was applied, but whose answer
 * was lost, gets NOT_FOUND when it is sent again.  That is not believed.  The
 * identity that is sent is unique for each request and stands in the event
 * that closed the activity, so the workflow's history is read from its end
 * until that event, or the one that scheduled the activity, is found.
 *
 * Two things are not in the history.  While a workflow task is in flight,
 * events are buffered: the activity is no longer pending, but has no closing
 * event either; that is looked at again until it can be decided.  And a
 * failure that the server retries leaves no event: it is known by its source,
 * which we set to the identity, and which stands in the pending activity's
 * last failure, or once the activity has ended in its last started event.
 * Standalone activities have no history: they are described.
 *
 * Bounded: so many calls at once, so many pages a request; nothing here keeps
 * others waiting, because each proof is a chain of calls like any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "event_loop.h"
#include "proof.h"
#include "proof_replies.h"
#include "proof_turns.h"
#include "temporal.pb-c.h"

#define WORKFLOW_SERVICE "/temporal.api.workflowservice.v1.WorkflowService/"

/*
 * Size of a page, which Temporal counts in batches of events; less is asked
 * for when a page could not be had, maybe for its size.  And how far a history
 * is searched; Temporal's own bound is 51,200 events.
 */
#define PAGE_SIZE 200
#define SEARCHED_MAX (500 * PAGE_SIZE)

/* A page that is larger is asked for in pieces */
#define MAX_REPLY (8 * 1024 * 1024)

/* Ends of activities kept of a history */
#define ENDS_MAX 65536

/* Looks after which an activity that is neither pending nor closed is given up */
#define INCONSISTENT_LOOKS_MAX 5

/* Delay between looks, doubling */
#define LOOK_DELAY_MS 100
#define LOOK_DELAY_MAX_MS 10000

typedef enum ProofStage
{
	READ_HISTORY,
	DESCRIBE_WORKFLOW,
	DESCRIBE_ACTIVITY
} ProofStage;

/* An activity's end that was seen before it was known which activity it is */
typedef struct SeenEnd
{
	int64		scheduled_event_id;
	ActivityEventKind kind;
	char	   *identity;
	int			attempt;		/* that it ended; 0 = none had started */
} SeenEnd;

typedef struct Proof
{
	MemoryContext context;		/* of everything here */
	MemoryContext look_context; /* reset before each look at the history */
	dlist_node	node;			/* among those to be asked, or in answered list */
	pairingheap_node delay_node;
	int64		due;			/* monotonic ms, while delayed */
	Request    *request;
	Queue	   *queue;
	RequestTarget target;		/* whom it is about */
	bool		may_be_retried; /* another attempt may have followed it */
	RequestIdentity identity;
	ProofStage	stage;
	int			looks;
	int			failures;		/* calls in a row that were not answered */
	bool		was_pending;	/* the activity, before this look at the history */
	PooledChannel *channel;		/* during a call */
	uint8	   *message;		/* of the call */

	/* a look at the history */
	int			page_size;
	int			searched;
	uint8	   *page_token;
	size_t		page_token_len;
	SeenEnd    *ends;
	int			nends;
	int			max_ends;
	bool		ours;
	bool		reached_start;	/* of the activity */
	bool		has_end;
	SeenEnd		end;

	/* an answer */
	CallFate	fate;
	int			status;
	Verdict		verdict;
	const char *code;
	uint8	   *reply;			/* NULL although it was OK: too large */
	size_t		reply_len;
} Proof;

static ProofFound proof_found;
static MemoryContext proofs_context;

/* Those that wait, those whose call is over; see proof_turns.c for those to be called */
static pairingheap *delayed;
static dlist_head answered = DLIST_STATIC_INIT(answered);
static LoopTimer delay_timer;

static int	compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg);
static void timer_due(void *arg);
static void begin_look(Proof *proof);
static void delay(Proof *proof, int delay_ms);
static void ask(Proof *proof);
static uint8 *encode_question(Proof *proof, size_t *len);
static void call_done(void *arg, const CallResult *result);
static void evaluate(Proof *proof);
static void evaluate_history(Proof *proof);
static bool note_event(void *arg, const ActivityEvent *event);
static void evaluate_workflow(Proof *proof);
static void evaluate_activity(Proof *proof);
static void not_answered(Proof *proof);
static void ask_again(Proof *proof, const char *words);
static void look_again(Proof *proof, const char *words);
static void put_off(Proof *proof, int times, const char *words);
static void end_proof(Proof *proof, ProofVerdict verdict, const char *words);
static bool is_ours(const Proof *proof, ProtoSpan identity);
static int	attempt_asked_for(const Proof *proof);

void
tc_proofs_init(ProofFound found)
{
	proof_found = found;
	proofs_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete proofs",
										   ALLOCSET_SMALL_SIZES);
	delayed = MemoryContextAllocZero(proofs_context, sizeof(pairingheap));
	delayed->ph_compare = compare_due;
}

static int
compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		x = pairingheap_const_container(Proof, delay_node, a)->due;
	int64		y = pairingheap_const_container(Proof, delay_node, b)->due;

	return (x < y) - (x > y);
}

/* It only wakes the loop: tc_proofs_turn() sees what is due. */
static void
timer_due(void *arg)
{
}

void
tc_proof_begin(Request *request)
{
	MemoryContext context = AllocSetContextCreate(proofs_context, "temporal_complete proof",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Proof	   *proof = palloc0(sizeof(Proof));

	proof->context = context;
	proof->look_context = AllocSetContextCreate(context, "temporal_complete look",
												ALLOCSET_SMALL_SIZES);
	proof->request = request;
	proof->queue = request->queue;
	proof->identity = tc_identity_of(request);
	proof->page_size = PAGE_SIZE;
	if (!tc_request_decode(request->method, request->bytes, request->len, &proof->target))
		elog(ERROR, "request cannot be decoded");
	proof->may_be_retried =
		tc_request_may_be_retried(request->method, request->bytes, request->len);
	proof->target.task_token = NULL;	/* it lies in the request's bytes */
	MemoryContextSwitchTo(old);

	tc_queue_confirming(request);
	begin_look(proof);
	tc_proof_turn_add(proof->queue, &proof->node, false);
}

static void
begin_look(Proof *proof)
{
	MemoryContextReset(proof->look_context);
	proof->stage = proof->target.workflow_id != NULL ? READ_HISTORY : DESCRIBE_ACTIVITY;
	proof->searched = 0;
	proof->page_token = NULL;
	proof->page_token_len = 0;
	proof->ends = NULL;
	proof->nends = proof->max_ends = 0;
	proof->ours = proof->reached_start = proof->has_end = false;
}

void
tc_proofs_turn(void)
{
	int64		now = tc_monotonic_ms();
	dlist_node *node;

	while (!dlist_is_empty(&answered))
		evaluate(dlist_container(Proof, node, dlist_pop_head_node(&answered)));

	while (!pairingheap_is_empty(delayed))
	{
		Proof	   *proof = pairingheap_container(Proof, delay_node, pairingheap_first(delayed));

		if (proof->due > now)
		{
			if (!delay_timer.armed || delay_timer.due > proof->due)
				tc_timer_set(&delay_timer, proof->due, timer_due, NULL);
			break;
		}
		pairingheap_remove_first(delayed);
		tc_proof_turn_add(proof->queue, &proof->node, false);
	}
	while ((node = tc_proof_turn_next()) != NULL)
		ask(dlist_container(Proof, node, node));
}

static void
delay(Proof *proof, int delay_ms)
{
	proof->due = tc_monotonic_ms() + delay_ms;
	pairingheap_add(delayed, &proof->delay_node);
	if (!delay_timer.armed || delay_timer.due > proof->due)
		tc_timer_set(&delay_timer, proof->due, timer_due, NULL);
}

/*---- asking ----*/

static void
ask(Proof *proof)
{
	static const char *const paths[] = {
		[READ_HISTORY] = WORKFLOW_SERVICE "GetWorkflowExecutionHistoryReverse",
		[DESCRIBE_WORKFLOW] = WORKFLOW_SERVICE "DescribeWorkflowExecution",
		[DESCRIBE_ACTIVITY] = WORKFLOW_SERVICE "DescribeActivityExecution",
	};
	PooledChannel *channel = proof->queue->channel;
	Call		call = {0};

	proof->message = encode_question(proof, &call.message_len);
	proof->channel = channel;
	tc_channels_begin_call(channel);
	tc_proof_turn_begin(proof->queue);
	call.message = proof->message;
	call.path = paths[proof->stage];
	call.namespace_name = proof->queue->namespace_utf8;
	call.timeout_ms = channel->config->request_timeout_ms;
	call.max_reply = MAX_REPLY;
	call.done = call_done;
	call.arg = proof;
	tc_channel_call(channel->channel, &call);
	tc_channel_flush(channel->channel);
}

/* palloc'd in the proof's context */
static uint8 *
encode_question(Proof *proof, size_t *len)
{
	char	   *empty = "";
	char	   *namespace_utf8 = unconstify(char *, proof->queue->namespace_utf8);
	Temporal__WorkflowExecution execution = TEMPORAL__WORKFLOW_EXECUTION__INIT;
	Temporal__GetWorkflowExecutionHistoryReverseRequest history =
		TEMPORAL__GET_WORKFLOW_EXECUTION_HISTORY_REVERSE_REQUEST__INIT;
	Temporal__DescribeWorkflowExecutionRequest workflow =
		TEMPORAL__DESCRIBE_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__DescribeActivityExecutionRequest activity =
		TEMPORAL__DESCRIBE_ACTIVITY_EXECUTION_REQUEST__INIT;
	const ProtobufCMessage *message;
	const RequestTarget *target = &proof->target;
	uint8	   *bytes;

	execution.workflow_id = target->workflow_id ? target->workflow_id : empty;
	execution.run_id = target->run_id ? target->run_id : empty;
	switch (proof->stage)
	{
		case READ_HISTORY:
			history.namespace_ = namespace_utf8;
			history.execution = &execution;
			history.maximum_page_size = proof->page_size;
			history.next_page_token.data = proof->page_token;
			history.next_page_token.len = proof->page_token_len;
			message = &history.base;
			break;
		case DESCRIBE_WORKFLOW:
			workflow.namespace_ = namespace_utf8;
			workflow.execution = &execution;
			message = &workflow.base;
			break;
		default:
			activity.namespace_ = namespace_utf8;
			activity.activity_id = target->activity_id ? target->activity_id : empty;
			activity.run_id = execution.run_id;
			activity.include_outcome = true;
			activity.include_last_failure = true;
			message = &activity.base;
			break;
	}
	*len = protobuf_c_message_get_packed_size(message);
	bytes = MemoryContextAlloc(proof->context, *len + 1);
	protobuf_c_message_pack(message, bytes);
	return bytes;
}

/* Runs beneath the wire: must not raise errors, so the reply is only kept. */
static void
call_done(void *arg, const CallResult *result)
{
	Proof	   *proof = arg;

	proof->fate = result->fate;
	proof->status = result->grpc_status;
	proof->verdict = tc_classify(result);
	proof->code = tc_error_code(result);
	proof->reply = NULL;
	proof->reply_len = 0;
	if (proof->verdict == VERDICT_DELIVERED)
	{
		proof->reply = MemoryContextAllocExtended(proof->context, result->reply_len + 1,
												  MCXT_ALLOC_NO_OOM);
		if (proof->reply != NULL && result->reply_len > 0)
		{
			memcpy(proof->reply, result->reply, result->reply_len);
			proof->reply_len = result->reply_len;
		}
	}
	dlist_push_tail(&answered, &proof->node);
}

/*---- answers ----*/

static void
evaluate(Proof *proof)
{
	tc_proof_turn_end(proof->queue);
	tc_channels_end_call(proof->channel);
	proof->channel = NULL;
	pfree(proof->message);
	proof->message = NULL;

	if (proof->reply == NULL)
	{
		not_answered(proof);
		return;
	}
	proof->failures = 0;
	switch (proof->stage)
	{
		case READ_HISTORY:
			evaluate_history(proof);
			break;
		case DESCRIBE_WORKFLOW:
			evaluate_workflow(proof);
			break;
		case DESCRIBE_ACTIVITY:
			evaluate_activity(proof);
			break;
	}
}

/* No reply: is there hope for one? */
static void
not_answered(Proof *proof)
{
	char		words[200];

	switch (proof->verdict)
	{
		case VERDICT_GONE:
			end_proof(proof, PROOF_IMPOSSIBLE, proof->stage == DESCRIBE_ACTIVITY ?
					  "the activity is no longer known to Temporal" :
					  "the workflow is no longer known to Temporal");
			return;
		case VERDICT_REJECTED:
		case VERDICT_NEEDS_OPERATOR:
			/* reading was refused, though the request itself was not */
			snprintf(words, sizeof(words), "%s cannot be read: %s",
					 proof->stage == READ_HISTORY ? "the workflow's history" : "the activity's state",
					 proof->code);
			end_proof(proof, PROOF_IMPOSSIBLE, words);
			return;
		default:
			break;
	}

	/* a page with large payloads may not get through */
	if (proof->stage == READ_HISTORY && proof->fate != CALL_NOT_PROCESSED)
		proof->page_size = Max(1, proof->page_size / 8);
	snprintf(words, sizeof(words), "%s cannot be read at the moment: %s",
			 proof->stage == READ_HISTORY ? "the workflow's history" : "the activity's state",
			 proof->code);
	ask_again(proof, words);
}

static bool
is_ours(const Proof *proof, ProtoSpan identity)
{
	return identity.bytes != NULL &&
		tc_identity_matches((const char *) identity.bytes, identity.len, &proof->identity,
							proof->request->former_identities);
}

/* By ids it may have been a later one, too. */
static int
attempt_asked_for(const Proof *proof)
{
	return Max(proof->target.attempt, 1);
}

/*
 * Events come with the newest first.  By task token the scheduled event is
 * known; by ids it is found below the activity's end, so all ends that are
 * seen before are kept.  A failure may be one that another attempt followed,
 * of which only the started event tells, between the two.
 */
static bool
note_event(void *arg, const ActivityEvent *event)
{
	Proof	   *proof = arg;
	SeenEnd		end;

	if (event->kind == ACTIVITY_SCHEDULED)
	{
		const RequestTarget *target = &proof->target;
		bool		this_one = target->scheduled_event_id != 0 ?
			event->event_id == target->scheduled_event_id :
			target->activity_id != NULL &&
			event->activity_id.len == strlen(target->activity_id) &&
			memcmp(event->activity_id.bytes, target->activity_id, event->activity_id.len) == 0;

		if (!this_one)
			return true;
		proof->reached_start = true;
		for (int i = 0; i < proof->nends; i++)
		{
			if (proof->ends[i].scheduled_event_id == event->event_id)
			{
				proof->has_end = true;
				proof->end = proof->ends[i];
			}
		}
		return false;
	}

	if (is_ours(proof, event->identity) ||
		(proof->may_be_retried && is_ours(proof, event->last_failure_source)))
	{
		proof->ours = true;
		return false;
	}
	if (proof->target.scheduled_event_id != 0 &&
		event->scheduled_event_id != proof->target.scheduled_event_id)
		return true;
	if (event->kind == ACTIVITY_STARTED)
	{
		for (int i = 0; i < proof->nends; i++)
		{
			if (proof->ends[i].scheduled_event_id != event->scheduled_event_id)
				continue;
			proof->ends[i].attempt = event->attempt;
			if (proof->target.scheduled_event_id != 0)
			{
				proof->has_end = true;
				proof->end = proof->ends[i];
				return false;
			}
		}
		return true;
	}
	end.attempt = 0;
	end.scheduled_event_id = event->scheduled_event_id;
	end.kind = event->kind;
	end.identity = NULL;
	if (event->identity.bytes != NULL)
	{
		size_t		len = Min(event->identity.len, 200);

		end.identity = MemoryContextAlloc(proof->look_context, len + 1);
		memcpy(end.identity, event->identity.bytes, len);
		end.identity[len] = '\0';
	}
	if (proof->target.scheduled_event_id != 0 && !proof->may_be_retried)
	{
		proof->has_end = true;
		proof->end = end;
		return false;
	}
	if (proof->nends == ENDS_MAX)
	{
		proof->searched = SEARCHED_MAX;
		return false;
	}
	if (proof->nends == proof->max_ends)
	{
		int			max = Max(16, proof->max_ends * 2);

		proof->ends = proof->ends == NULL ?
			MemoryContextAlloc(proof->look_context, max * sizeof(SeenEnd)) :
			repalloc(proof->ends, max * sizeof(SeenEnd));
		proof->max_ends = max;
	}
	proof->ends[proof->nends++] = end;
	return true;
}

static void
evaluate_history(Proof *proof)
{
	static const char *const ended[] = {
		[ACTIVITY_SCHEDULED] = "scheduled",
		[ACTIVITY_STARTED] = "started",
		[ACTIVITY_COMPLETED] = "completed",
		[ACTIVITY_FAILED] = "failed",
		[ACTIVITY_TIMED_OUT] = "timed out",
		[ACTIVITY_CANCELED] = "cancelled"
	};
	ProtoSpan	token;
	char		words[400];

	if (!tc_history_read(proof->reply, proof->reply_len, note_event, proof, &token))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's history cannot be decoded");
		return;
	}
	if (proof->ours)
	{
		end_proof(proof, PROOF_OURS, "");
		return;
	}
	if (proof->has_end && proof->may_be_retried &&
		(proof->end.attempt == 0 || proof->end.attempt > attempt_asked_for(proof) + 1))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the activity has failed again since");
		return;
	}
	if (proof->has_end)
	{
		if (proof->end.identity != NULL)
			snprintf(words, sizeof(words), "the activity was %s by %s",
					 ended[proof->end.kind], proof->end.identity);
		else
			snprintf(words, sizeof(words), "the activity %s", ended[proof->end.kind]);
		end_proof(proof, PROOF_NOT_OURS, words);
		return;
	}

	proof->searched += proof->page_size;
	proof->page_size = Min(PAGE_SIZE, proof->page_size * 2);
	if (proof->searched >= SEARCHED_MAX && !proof->reached_start)
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's history is too long to be searched");
		return;
	}
	if (!proof->reached_start && token.len > 0)
	{
		if (proof->page_token != NULL)
			pfree(proof->page_token);
		proof->page_token = MemoryContextAlloc(proof->look_context, token.len);
		memcpy(proof->page_token, token.bytes, token.len);
		proof->page_token_len = token.len;
	}
	else
		proof->stage = DESCRIBE_WORKFLOW;
	pfree(proof->reply);
	tc_proof_turn_add(proof->queue, &proof->node, true);
}

/* The history has no end of the activity: is it still pending, or its end buffered? */
static void
evaluate_workflow(Proof *proof)
{
	WorkflowDescription workflow;

	if (proof->target.activity_id == NULL ||
		!tc_workflow_description_read(proof->reply, proof->reply_len,
									  proof->target.activity_id, &workflow))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's description cannot be decoded");
		return;
	}

	if (workflow.has_pending_activity)
	{
		/*
		 * Its end may have been written, and the activity scheduled anew by
		 * the same id, after the history was read: read what there is now.
		 */
		if (!proof->was_pending)
		{
			proof->was_pending = true;
			pfree(proof->reply);
			begin_look(proof);
			tc_proof_turn_add(proof->queue, &proof->node, false);
			return;
		}
		if (!proof->may_be_retried)
			end_proof(proof, PROOF_NOT_OURS, "the activity is on another attempt");
		else if (is_ours(proof, workflow.last_failure_source))
			end_proof(proof, PROOF_OURS, "");
		else if (proof->target.attempt != 0 && workflow.attempt <= proof->target.attempt + 1)
			end_proof(proof, PROOF_NOT_OURS, "the activity's attempt was ended by another failure");
		else
			end_proof(proof, PROOF_IMPOSSIBLE, "the activity has failed again since");
		return;
	}
	if (workflow.is_running && workflow.has_pending_workflow_task)
	{
		look_again(proof, "the activity has ended; how, is known when the workflow task in flight ends");
		return;
	}
	/* its end may have been written between the two calls */
	if (proof->looks < INCONSISTENT_LOOKS_MAX)
	{
		look_again(proof, "the activity has ended; how, is not known yet");
		return;
	}
	if (proof->may_be_retried)
		/* its attempt may have ended by it, and the workflow before the next one */
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow has ended without the activity");
	else if (proof->target.scheduled_event_id != 0 || proof->reached_start)
		end_proof(proof, PROOF_NOT_OURS, "the workflow has ended without the activity");
	else
		end_proof(proof, PROOF_IMPOSSIBLE, "the activity is not in the history of the workflow's run");
}

static void
evaluate_activity(Proof *proof)
{
	ActivityDescription activity;
	bool		is_failure = proof->request->method == METHOD_FAIL ||
		proof->request->method == METHOD_FAIL_BY_ID;
	bool		ours;

	if (!tc_activity_description_read(proof->reply, proof->reply_len, &activity))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the activity's description cannot be decoded");
		return;
	}
	if (is_failure)
		ours = is_ours(proof, activity.end_source) ||
			is_ours(proof, activity.last_failure_source);
	else
		ours = !activity.is_running && is_ours(proof, activity.last_identity);

	if (ours)
		end_proof(proof, PROOF_OURS, "");
	else if (activity.is_canceled && !is_failure &&
			 proof->request->method != METHOD_COMPLETE &&
			 proof->request->method != METHOD_COMPLETE_BY_ID)
		/* Temporal keeps who asked for the cancellation, not who reported it */
		end_proof(proof, PROOF_IMPOSSIBLE, "the activity is cancelled, but not known by whose report");
	else if (proof->may_be_retried &&
			 activity.attempt > attempt_asked_for(proof) + (activity.has_failed ? 0 : 1))
		end_proof(proof, PROOF_IMPOSSIBLE, "the activity has failed again since");
	else
		end_proof(proof, PROOF_NOT_OURS, activity.is_running ?
				  "the activity is on another attempt" :
				  "the activity was ended by another request");
}

/* A page is asked for again, and then those after it: what was seen stays true. */
static void
ask_again(Proof *proof, const char *words)
{
	if (proof->stage != READ_HISTORY)
		begin_look(proof);
	put_off(proof, proof->failures++, words);
}

static void
look_again(Proof *proof, const char *words)
{
	pfree(proof->reply);
	proof->was_pending = false;
	begin_look(proof);
	put_off(proof, proof->looks++, words);
}

/* The next call comes after a delay that doubles with the times that it was put off. */
static void
put_off(Proof *proof, int times, const char *words)
{
	delay(proof, Min(LOOK_DELAY_MAX_MS, LOOK_DELAY_MS << Min(times, 10)));
	proof_found(proof->request, PROOF_NOT_YET, words, proof->due);
}

static void
end_proof(Proof *proof, ProofVerdict verdict, const char *words)
{
	proof_found(proof->request, verdict, words, 0);
	MemoryContextDelete(proof->context);
}
