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
 * A proof is in one of these places:
 *
 *	  waiting --1--> asked --2--> answered --5--> ended
 *	   ^   ^                       |   |
 *	   |   +---------- 3 ----------+   |
 *	   |                               |
 *	   +------ 6 ------ put off <--4---+
 *
 *	  1	its queue has the turn, has room, and a connection: see proof_turns.c
 *	  2	the call is over; what came is kept
 *	  3	there is another question, which goes before those of other proofs
 *	  4	it cannot be decided yet, or there was no answer: that is told
 *	  5	it is decided, or never can be: that is told, and the proof is freed
 *	  6	its time has come
 *
 * So it is in a queue's list, in the hands of the wire, in the list of those
 * answered, or in the heap of those put off, and never in two of them.  Each
 * answer leads to one finding at most, and a request has one proof at most: it
 * is CONFIRMING as long.  Three stages are apart: what is asked and what comes
 * next (proof_look.c), what was found in a history (proof_search.c), and what
 * follows from all that (proof_verdict.c).
 *
 * Bounded: so many calls at once, so many pages a request; nothing here keeps
 * others waiting, because each proof is a chain of calls like any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/event_loop.h"
#include "worker/proof.h"
#include "worker/proof_look.h"
#include "worker/proof_turns.h"
#include "worker/queue.h"
#include "worker/recording.h"

/* A reply that is larger is not taken: a page is then asked for in pieces */
#define MAX_REPLY (8 * 1024 * 1024)

/* Looks after which an activity that is neither pending nor closed is given up */
#define INCONSISTENT_LOOKS_MAX 5

/* Delay between looks, doubling */
#define LOOK_DELAY_MS 100
#define LOOK_DELAY_MAX_MS 10000

/* Calls in a row that are not answered before it is given up, if that is asked for */
#define GIVE_UP_FAILURES 5

/* From asking a question until its answer was looked at */
typedef struct ProofCall
{
	PooledChannel *channel;
	uint8	   *message;

	/* its result */
	CallFate	fate;
	CallMeaning meaning;
	const char *code;			/* constant */
	uint8	   *reply;			/* NULL: there was none, or no memory for it */
	size_t		reply_len;
} ProofCall;

typedef struct Proof
{
	MemoryContext context;		/* of everything here */
	dlist_node	node;			/* while waiting, or answered */
	DueNode		delay;			/* while put off */

	/* about what */
	Request    *request;
	Queue	   *queue;
	SoughtRequest sought;
	bool		give_up;		/* soon, if there are no answers */

	/* how far it is */
	int			looks;			/* that decided nothing */
	int			failures;		/* calls in a row that were not answered */
	ProofLook	look;
	ProofCall	call;
} Proof;

static MemoryContext proofs_context;

/* Those that are put off */
static pairingheap *delayed;
static LoopTimer delay_timer;

static dlist_head answered = DLIST_STATIC_INIT(answered);

static void wake_for(const Proof *proof);
static void ask(Proof *proof);
static void call_done(void *arg, const CallResult *result);
static bool evaluate(Proof *proof, ProofFinding *finding);
static bool evaluate_reply(Proof *proof, ProofFinding *finding);
static bool evaluate_refusal(Proof *proof, ProofFinding *finding);
static bool gives_up(Proof *proof);
static void put_off(Proof *proof, int times, ProofFinding *finding);

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
	proof->request = request;
	proof->queue = request->queue;
	proof->give_up = give_up;
	sought->method = request->method;
	sought->identity = tc_identity_of(request);
	sought->former_identities = request->former_identities;
	if (!tc_request_decode(request->method, request->bytes, request->len, &sought->target))
		elog(ERROR, "request cannot be decoded");
	sought->may_be_retried =
		tc_request_may_be_retried(request->method, request->bytes, request->len);
	sought->target.task_token = NULL;	/* it lies in the request's bytes */
	sought->is_awaited = request->awaited_until != 0;
	sought->was_never_sent = sought->is_awaited && !request->maybe_sent;
	sought->seen = request->seen;
	tc_sought_init(sought);
	tc_proof_look_init(&proof->look, sought,
					   AllocSetContextCreate(context, "temporal_complete look",
											 ALLOCSET_SMALL_SIZES));
	MemoryContextSwitchTo(old);

	tc_request_confirm(request);
	tc_proof_turn_add(proof->queue, &proof->node, false);
}

bool
tc_proofs_next(ProofFinding *finding)
{
	while (!dlist_is_empty(&answered))
		if (evaluate(dlist_container(Proof, node, dlist_pop_head_node(&answered)), finding))
			return true;
	return false;
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
			wake_for(proof);
			break;
		}
		pairingheap_remove_first(delayed);
		tc_proof_turn_add(proof->queue, &proof->node, false);
	}
	while ((node = tc_proof_turn_next()) != NULL)
		ask(dlist_container(Proof, node, node));
}

/* Have the loop go round when it is due. */
static void
wake_for(const Proof *proof)
{
	if (!delay_timer.armed || delay_timer.when.due > proof->delay.due)
		tc_timer_wake(&delay_timer, proof->delay.due);
}

/*---- asking ----*/

static void
ask(Proof *proof)
{
	PooledChannel *channel = proof->queue->channel;
	MemoryContext old = MemoryContextSwitchTo(proof->context);
	Call		call = {0};

	proof->call.message = tc_proof_look_question(&proof->look, proof->queue->namespace_utf8,
												 &call.message_len);
	MemoryContextSwitchTo(old);
	proof->call.channel = channel;
	tc_channels_begin_call(channel);
	tc_proof_turn_asked(proof->queue);
	call.message = proof->call.message;
	call.path = tc_proof_look_path(&proof->look);
	call.namespace_name = proof->queue->namespace_utf8;
	call.timeout_ms = channel->config->request_timeout_ms;
	call.max_reply = MAX_REPLY;
	call.done = call_done;
	call.arg = proof;
	tc_channel_call(channel->channel, &call);
	tc_channel_flush(channel->channel);
}

/* Runs beneath the wire: must not raise errors, so the reply is only kept. */
static void
call_done(void *arg, const CallResult *result)
{
	Proof	   *proof = arg;
	ProofCall  *call = &proof->call;

	call->fate = result->fate;
	call->meaning = tc_classify(result);
	call->code = tc_error_code(result);
	call->reply = NULL;
	call->reply_len = 0;
	if (call->meaning == MEANING_DELIVERED)
	{
		call->reply = MemoryContextAllocExtended(proof->context, result->reply_len + 1,
												 MCXT_ALLOC_NO_OOM);
		if (call->reply != NULL && result->reply_len > 0)
		{
			memcpy(call->reply, result->reply, result->reply_len);
			call->reply_len = result->reply_len;
		}
	}
	dlist_push_tail(&answered, &proof->node);
}

/*---- answers ----*/

/* Is there something to be told?  If it is final, the proof is freed. */
static bool
evaluate(Proof *proof, ProofFinding *finding)
{
	ProofCall  *call = &proof->call;

	tc_proof_turn_answered(proof->queue);
	tc_channels_end_call(call->channel);
	call->channel = NULL;
	pfree(call->message);
	call->message = NULL;

	memset(finding, 0, sizeof(ProofFinding));
	finding->request = proof->request;
	if (!(call->reply == NULL ? evaluate_refusal(proof, finding) : evaluate_reply(proof, finding)))
		return false;
	if (finding->verdict != PROOF_NOT_YET)
		MemoryContextDelete(proof->context);
	return true;
}

static bool
evaluate_reply(Proof *proof, ProofFinding *finding)
{
	ProofCall  *call = &proof->call;
	bool		more = tc_proof_look_take(&proof->look, call->reply, call->reply_len);

	if (!more)
	{
		finding->verdict = tc_proof_look_verdict(&proof->look, finding->words);
		finding->seen = proof->look.seen;
	}
	pfree(call->reply);
	call->reply = NULL;
	proof->failures = 0;
	if (more)
		tc_proof_turn_add(proof->queue, &proof->node, true);
	else if (finding->verdict == PROOF_NOT_YET)
	{
		put_off(proof, proof->looks++, finding);
		tc_proof_look_begin(&proof->look, proof->looks >= INCONSISTENT_LOOKS_MAX);
	}
	return !more;
}

static bool
evaluate_refusal(Proof *proof, ProofFinding *finding)
{
	ProofCall  *call = &proof->call;

	if (call->fate == CALL_ANSWERED && tc_proof_look_other_way(&proof->look, call->code))
	{
		tc_proof_turn_add(proof->queue, &proof->node, true);
		return false;
	}
	if (tc_proof_look_refused(&proof->look, call->meaning, call->code, finding->words) ||
		(gives_up(proof) && proof->failures >= GIVE_UP_FAILURES))
		finding->verdict = proof->look.is_missing ? PROOF_NOT_THERE : PROOF_IMPOSSIBLE;
	else
	{
		finding->verdict = PROOF_NOT_YET;
		put_off(proof, proof->failures++, finding);
		tc_proof_look_retry(&proof->look, call->fate != CALL_NOT_PROCESSED);
	}
	return true;
}

/* What has become too old meanwhile is not waited for any longer. */
static bool
gives_up(Proof *proof)
{
	Request    *request = proof->request;

	if (!proof->give_up && proof->queue->channel != NULL &&
		tc_request_has_expired(request, proof->queue->channel->config))
	{
		proof->give_up = true;
		if (request->refusal == NULL)
			request->refusal = TC_EXPIRED;
	}
	return proof->give_up;
}

/* The next call comes after a delay that doubles with the times that it was put off. */
static void
put_off(Proof *proof, int times, ProofFinding *finding)
{
	proof->delay.due = tc_monotonic_ms() + Min(LOOK_DELAY_MAX_MS, LOOK_DELAY_MS << Min(times, 10));
	pairingheap_add(delayed, &proof->delay.node);
	wake_for(proof);
	finding->next_look = proof->delay.due;
}
