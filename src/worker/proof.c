/*-------------------------------------------------------------------------
 *
 * proof.c
 *	  Did an earlier attempt of a request take effect?
 *
 * Temporal knows no request ids: a request that was applied, but whose answer
 * was lost, gets NOT_FOUND when it is sent again, or if it names the activity
 * by ids, may be applied to another one that has them now.  So NOT_FOUND is not
 * believed, and by ids nothing is sent again before it is looked up.  The
 * identity that is sent is unique for each request and stands in the event that
 * closed the activity: see proof_search.c for where it is looked for.
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
 * others waiting, because each proof is a chain of calls like any other.  What
 * follows from what was found is decided in proof_verdict.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/event_loop.h"
#include "worker/proof.h"
#include "worker/proof_turns.h"
#include "worker/proof_verdict.h"
#include "worker/queue.h"
#include "temporal.pb-c.h"

/*
 * Size of a page, which Temporal counts in batches of events; less is asked
 * for when a page could not be had, maybe for its size.  And how far a history
 * is searched; Temporal's own bound is 51,200 events.
 */
#define PAGE_SIZE 200
#define SEARCHED_MAX (500 * PAGE_SIZE)

/* Longest token of a page, and ends of activities that are kept while the next page cannot be had */
#define PAGE_TOKEN_MAX (16 * 1024)
#define KEPT_ENDS_MAX 64

/* A page that is larger is asked for in pieces */
#define MAX_REPLY (8 * 1024 * 1024)

/* Looks after which an activity that is neither pending nor closed is given up */
#define INCONSISTENT_LOOKS_MAX 5

/* Delay between looks, doubling */
#define LOOK_DELAY_MS 100
#define LOOK_DELAY_MAX_MS 10000

/* Calls in a row that are not answered before it is given up, if that is asked for */
#define GIVE_UP_FAILURES 5

typedef enum ProofStage
{
	READ_HISTORY,
	DESCRIBE_WORKFLOW,
	DESCRIBE_ACTIVITY
} ProofStage;

typedef struct Proof
{
	MemoryContext context;		/* of everything here */
	MemoryContext look_context; /* reset before each look at the history */
	dlist_node	node;			/* among those to be asked, or in answered
								 * list */
	DueNode		delay;			/* while delayed */
	Request    *request;
	Queue	   *queue;
	SoughtRequest sought;
	bool		give_up;
	ProofStage	stage;
	int			looks;
	int			failures;		/* calls in a row that were not answered */
	WorkflowState workflow;
	const char *run;			/* whose history is read; NULL = the target's */
	PooledChannel *channel;		/* during a call */
	uint8	   *message;		/* of the call */

	/* a look at the history */
	int			page_size;
	int			searched;
	uint8	   *page_token;
	size_t		page_token_len;
	HistorySearch search;

	/* an answer */
	CallFate	fate;
	int			status;
	CallMeaning meaning;
	const char *code;
	uint8	   *reply;			/* NULL although it was OK: too large */
	size_t		reply_len;
} Proof;

/* What tc_proofs_next() tells of; request NULL = nothing */
static ProofFinding found;

static MemoryContext proofs_context;

/* Those that wait, those whose call is over; see proof_turns.c for those to be called */
static pairingheap *delayed;
static dlist_head answered = DLIST_STATIC_INIT(answered);
static LoopTimer delay_timer;

static void begin_look(Proof *proof);
static void begin_search(Proof *proof);
static void delay(Proof *proof, int delay_ms);
static void ask(Proof *proof);
static uint8 *encode_question(Proof *proof, size_t *len);
static void call_done(void *arg, const CallResult *result);
static void evaluate(Proof *proof);
static void evaluate_history(Proof *proof);
static void search_run(Proof *proof, const char *run);
static void conclude(Proof *proof);
static void evaluate_workflow(Proof *proof);
static void evaluate_activity(Proof *proof);
static void not_answered(Proof *proof);
static void ask_again(Proof *proof, const char *words);
static void look_again(Proof *proof, const char *words);
static void put_off(Proof *proof, int times, const char *words);
static void end_proof(Proof *proof, ProofVerdict verdict, const char *words);
static void tell(Proof *proof, ProofVerdict verdict, const char *words);

void
tc_proofs_init(void)
{
	proofs_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete proofs",
										   ALLOCSET_SMALL_SIZES);
	delayed = MemoryContextAllocZero(proofs_context, sizeof(pairingheap));
	delayed->ph_compare = tc_due_compare;
}

void
tc_proof_begin(Request *request, bool give_up)
{
	MemoryContext context = AllocSetContextCreate(proofs_context, "temporal_complete proof",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Proof	   *proof = palloc0(sizeof(Proof));
	SoughtRequest *sought = &proof->sought;

	proof->context = context;
	proof->look_context = AllocSetContextCreate(context, "temporal_complete look",
												ALLOCSET_SMALL_SIZES);
	proof->request = request;
	proof->queue = request->queue;
	proof->page_size = PAGE_SIZE;
	proof->give_up = give_up;
	sought->method = request->method;
	sought->identity = tc_identity_of(request);
	sought->former_identities = request->former_identities;
	if (!tc_request_decode(request->method, request->bytes, request->len, &sought->target))
		elog(ERROR, "request cannot be decoded");
	sought->may_be_retried =
		tc_request_may_be_retried(request->method, request->bytes, request->len);
	sought->target.task_token = NULL;	/* it lies in the request's bytes */
	tc_sought_init(sought);
	MemoryContextSwitchTo(old);

	tc_request_confirm(request);
	begin_look(proof);
	tc_proof_turn_add(proof->queue, &proof->node, false);
}

/*
 * By ids the description comes first: it says which run is the current one,
 * and the history is to be read after it.  By task token the history will
 * mostly do.
 */
static void
begin_look(Proof *proof)
{
	memset(&proof->workflow, 0, sizeof(WorkflowState));
	if (proof->sought.target.workflow_id == NULL)
		proof->stage = DESCRIBE_ACTIVITY;
	else if (proof->sought.by_id)
		proof->stage = DESCRIBE_WORKFLOW;
	else
		begin_search(proof);
}

static void
begin_search(Proof *proof)
{
	tc_search_begin(&proof->search, proof->look_context, &proof->sought,
					proof->workflow.is_known &&
					proof->workflow.description.has_pending_activity);
	proof->searched = 0;
	search_run(proof, NULL);
}

/* Read the history of a run from its end. */
static void
search_run(Proof *proof, const char *run)
{
	proof->stage = READ_HISTORY;
	proof->run = run;
	proof->page_token = NULL;
	proof->page_token_len = 0;
}

bool
tc_proofs_next(ProofFinding *finding)
{
	found.request = NULL;
	while (found.request == NULL && !dlist_is_empty(&answered))
		evaluate(dlist_container(Proof, node, dlist_pop_head_node(&answered)));
	*finding = found;
	return found.request != NULL;
}

void
tc_proofs_ask(void)
{
	int64		now = tc_monotonic_ms();
	dlist_node *node;

	while (!pairingheap_is_empty(delayed))
	{
		Proof	   *proof = pairingheap_container(Proof, delay.node, pairingheap_first(delayed));

		if (proof->delay.due > now)
		{
			if (!delay_timer.armed || delay_timer.when.due > proof->delay.due)
				tc_timer_wake(&delay_timer, proof->delay.due);
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
	proof->delay.due = tc_monotonic_ms() + delay_ms;
	pairingheap_add(delayed, &proof->delay.node);
	if (!delay_timer.armed || delay_timer.when.due > proof->delay.due)
		tc_timer_wake(&delay_timer, proof->delay.due);
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
	const RequestTarget *target = &proof->sought.target;
	uint8	   *bytes;

	execution.workflow_id = target->workflow_id ? target->workflow_id : empty;
	execution.run_id = target->run_id ? target->run_id : empty;
	if (proof->stage == READ_HISTORY && proof->run != NULL)
		execution.run_id = unconstify(char *, proof->run);
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
	proof->meaning = tc_classify(result);
	proof->code = tc_error_code(result);
	proof->reply = NULL;
	proof->reply_len = 0;
	if (proof->meaning == MEANING_DELIVERED)
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

	switch (proof->meaning)
	{
		case MEANING_GONE:
			if (proof->stage == READ_HISTORY && proof->search.is_former_run)
			{
				end_proof(proof, PROOF_IMPOSSIBLE,
						  "a former run of the workflow is no longer known to Temporal");
				return;
			}
			end_proof(proof, PROOF_IMPOSSIBLE, proof->stage == DESCRIBE_ACTIVITY ?
					  "the activity is no longer known to Temporal" :
					  "the workflow is no longer known to Temporal");
			return;
		case MEANING_REJECTED:
		case MEANING_NEEDS_OPERATOR:
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
	if (proof->give_up && proof->failures == GIVE_UP_FAILURES)
		end_proof(proof, PROOF_IMPOSSIBLE, words);
	else
		ask_again(proof, words);
}

static void
evaluate_history(Proof *proof)
{
	HistorySearch *search = &proof->search;
	ProtoSpan	token;
	const char *run;

	if (!tc_history_read(proof->reply, proof->reply_len, tc_search_take, search, &token) ||
		token.len > PAGE_TOKEN_MAX)
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's history cannot be decoded");
		return;
	}
	proof->searched += proof->page_size;
	proof->page_size = Min(PAGE_SIZE, proof->page_size * 2);
	if (search->too_many || (proof->searched >= SEARCHED_MAX && !search->is_over))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's history is too long to be searched");
		return;
	}
	if (!search->is_over && !search->at_start && token.len == 0)
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's history is not complete");
		return;
	}
	if (!search->is_over && token.len > 0)
	{
		if (proof->page_token != NULL)
			pfree(proof->page_token);
		proof->page_token = MemoryContextAlloc(proof->look_context, token.len);
		memcpy(proof->page_token, token.bytes, token.len);
		proof->page_token_len = token.len;
	}
	else if (search->ours || (search->has_end && !proof->sought.by_id))
	{
		conclude(proof);
		return;
	}
	else if ((run = tc_search_next_run(search)) != NULL)
		search_run(proof, run);
	else if (!proof->workflow.is_known)
		proof->stage = DESCRIBE_WORKFLOW;
	else
	{
		conclude(proof);
		return;
	}
	pfree(proof->reply);
	tc_proof_turn_add(proof->queue, &proof->node, true);
}

/* All was read that has to be, or something that suffices. */
static void
conclude(Proof *proof)
{
	char		words[WORDS_MAX];
	ProofVerdict verdict = tc_verdict_in_workflow(&proof->sought, &proof->search,
												  &proof->workflow,
												  proof->looks >= INCONSISTENT_LOOKS_MAX,
												  words);

	if (verdict == PROOF_NOT_YET)
		look_again(proof, words);
	else
		end_proof(proof, verdict, words);
}

/*
 * The history is read after it, if it was before, too: what has not happened
 * then, had not happened when the workflow was described.
 */
static void
evaluate_workflow(Proof *proof)
{
	WorkflowState *workflow = &proof->workflow;
	WorkflowDescription *description = &workflow->description;

	if (proof->sought.target.activity_id == NULL ||
		!tc_workflow_description_read(proof->reply, proof->reply_len,
									  proof->sought.target.activity_id, description))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the workflow's description cannot be decoded");
		return;
	}
	workflow->is_known = true;
	workflow->last_failure_is_ours =
		tc_sought_is(&proof->sought, description->last_failure_source);
	begin_search(proof);
	if (proof->sought.target.run_id == NULL && description->run_id.len > 0)
	{
		char	   *run = MemoryContextAlloc(proof->look_context, description->run_id.len + 1);

		memcpy(run, description->run_id.bytes, description->run_id.len);
		run[description->run_id.len] = '\0';
		search_run(proof, run);
	}
	memset(&description->run_id, 0, sizeof(ProtoSpan));
	memset(&description->last_failure_source, 0, sizeof(ProtoSpan));
	pfree(proof->reply);
	tc_proof_turn_add(proof->queue, &proof->node, true);
}

static void
evaluate_activity(Proof *proof)
{
	ActivityDescription activity;
	ProofVerdict verdict;
	char		words[WORDS_MAX];

	if (!tc_activity_description_read(proof->reply, proof->reply_len, &activity))
	{
		end_proof(proof, PROOF_IMPOSSIBLE, "the activity's description cannot be decoded");
		return;
	}
	verdict = tc_verdict_standalone(&proof->sought, &activity, words);
	end_proof(proof, verdict, words);
}

/*
 * A page is asked for again, and then those after it: what was seen stays
 * true.  But not too much of it is kept for that long.
 */
static void
ask_again(Proof *proof, const char *words)
{
	if (proof->stage != READ_HISTORY || proof->search.nends > KEPT_ENDS_MAX)
		begin_look(proof);
	put_off(proof, proof->failures++, words);
}

static void
look_again(Proof *proof, const char *words)
{
	pfree(proof->reply);
	begin_look(proof);
	put_off(proof, proof->looks++, words);
}

/* The next call comes after a delay that doubles with the times that it was put off. */
static void
put_off(Proof *proof, int times, const char *words)
{
	delay(proof, Min(LOOK_DELAY_MAX_MS, LOOK_DELAY_MS << Min(times, 10)));
	tell(proof, PROOF_NOT_YET, words);
}

static void
end_proof(Proof *proof, ProofVerdict verdict, const char *words)
{
	tell(proof, verdict, words);
	MemoryContextDelete(proof->context);
}

/* At most once for each answer. */
static void
tell(Proof *proof, ProofVerdict verdict, const char *words)
{
	Assert(found.request == NULL);
	found.request = proof->request;
	found.verdict = verdict;
	strlcpy(found.words, words, sizeof(found.words));
	found.next_look = proof->delay.due;
}
