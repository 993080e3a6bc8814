/*-------------------------------------------------------------------------
 *
 * proof_look.c
 *	  One look at what Temporal knows about a request.
 *
 * Which question comes next, how it is asked, and what its answer leads to.
 * Events of a history go to proof_search.c, and what follows from all that was
 * found is decided in proof_verdict.c.
 *
 * Nothing here calls or waits: that is proof.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "request/description.h"
#include "request/method.h"
#include "worker/proof_look.h"
#include "temporal.pb-c.h"

/*
 * Size of a page, which Temporal counts in batches of events; less is asked
 * for when a page could not be had, maybe for its size.  And how far a history
 * is searched; Temporal's own bound is 51,200 events.
 */
#define PAGE_SIZE 200
#define SEARCHED_MAX (500 * PAGE_SIZE)

/* Longest token of a page, and ends or events of activities that are kept while the next page cannot be had */
#define PAGE_TOKEN_MAX (16 * 1024)
#define KEPT_ENDS_MAX 64

static void begin_search(ProofLook *look);
static void read_run(ProofLook *look, const char *run);
static void next_page(ProofLook *look, ProtoSpan token);
static bool take_history(ProofLook *look, const uint8 *reply, size_t len);
static bool take_workflow(ProofLook *look, const uint8 *reply, size_t len);
static bool take_activity(ProofLook *look, const uint8 *reply, size_t len);
static void note_seen(ProofLook *look);
static bool cannot_tell(ProofLook *look, const char *problem);

void
tc_proof_look_init(ProofLook *look, const SoughtRequest *sought, MemoryContext history_context)
{
	memset(look, 0, sizeof(ProofLook));
	look->sought = sought;
	look->history_context = history_context;
	look->page.size = PAGE_SIZE;
	tc_proof_look_begin(look, false);
}

void
tc_proof_look_begin(ProofLook *look, bool is_last)
{
	look->is_last = is_last;
	look->problem = NULL;
	memset(&look->workflow, 0, sizeof(WorkflowState));
	/* not kept for as long as the look is put off */
	if (look->forwards)
		tc_kept_begin(&look->kept, MemoryContextGetParent(look->history_context));
	if (look->sought->target.workflow_id == NULL)
		look->stage = DESCRIBE_ACTIVITY;
	else if (look->sought->by_id)
		look->stage = DESCRIBE_WORKFLOW;
	else
	{
		begin_search(look);
		read_run(look, NULL);
	}
}

/* Forget what was read of histories. */
static void
begin_search(ProofLook *look)
{
	tc_search_begin(&look->search, look->history_context, look->sought,
					look->workflow.is_known &&
					look->workflow.description.has_pending_activity);
	look->page.searched = 0;
}

/* Read the history of a run. */
static void
read_run(ProofLook *look, const char *run)
{
	look->stage = READ_HISTORY;
	look->page.run = run;
	look->page.token = NULL;
	look->page.token_len = 0;
	if (look->forwards)
		tc_kept_begin(&look->kept, MemoryContextGetParent(look->history_context));
}

/*---- questions ----*/

const char *
tc_proof_look_path(const ProofLook *look)
{
	static const char *const paths[] = {
		[READ_HISTORY] = WORKFLOW_SERVICE "GetWorkflowExecutionHistoryReverse",
		[DESCRIBE_WORKFLOW] = DESCRIBE_WORKFLOW_PATH,
		[DESCRIBE_ACTIVITY] = DESCRIBE_ACTIVITY_PATH,
	};

	if (look->stage == READ_HISTORY && look->forwards)
		return WORKFLOW_SERVICE "GetWorkflowExecutionHistory";
	return paths[look->stage];
}

uint8 *
tc_proof_look_question(const ProofLook *look, const char *namespace_utf8, size_t *len)
{
	const RequestTarget *target = &look->sought->target;
	const HistoryPage *page = &look->page;
	const char *workflow_id = target->workflow_id != NULL ? target->workflow_id : "";
	const char *run_id = target->run_id != NULL ? target->run_id : "";
	Temporal__WorkflowExecution execution = TEMPORAL__WORKFLOW_EXECUTION__INIT;
	Temporal__GetWorkflowExecutionHistoryReverseRequest history =
		TEMPORAL__GET_WORKFLOW_EXECUTION_HISTORY_REVERSE_REQUEST__INIT;
	uint8	   *bytes;

	if (look->stage == DESCRIBE_WORKFLOW)
		return tc_describe_workflow_encode(namespace_utf8, workflow_id, run_id, len);
	if (look->stage == DESCRIBE_ACTIVITY)
		return tc_describe_activity_encode(namespace_utf8, target->activity_id != NULL ?
										   target->activity_id : "", run_id, true, len);

	execution.workflow_id = unconstify(char *, workflow_id);
	execution.run_id = unconstify(char *, page->run != NULL ? page->run : run_id);
	history.namespace_ = unconstify(char *, namespace_utf8);
	history.execution = &execution;
	history.maximum_page_size = page->size;
	history.next_page_token.data = page->token;
	history.next_page_token.len = page->token_len;
	*len = protobuf_c_message_get_packed_size(&history.base);
	bytes = palloc(*len + 1);
	protobuf_c_message_pack(&history.base, bytes);
	return bytes;
}

/*---- answers ----*/

bool
tc_proof_look_take(ProofLook *look, const uint8 *reply, size_t len)
{
	bool		more = false;

	switch (look->stage)
	{
		case READ_HISTORY:
			more = take_history(look, reply, len);
			break;
		case DESCRIBE_WORKFLOW:
			more = take_workflow(look, reply, len);
			break;
		case DESCRIBE_ACTIVITY:
			more = take_activity(look, reply, len);
			break;
	}
	return more;
}

static bool
take_history(ProofLook *look, const uint8 *reply, size_t len)
{
	HistorySearch *search = &look->search;
	HistoryPage *page = &look->page;
	ProtoSpan	token;
	const char *run;

	if (!tc_history_read(reply, len, look->forwards ? tc_kept_take : tc_search_take,
						 look->forwards ? (void *) &look->kept : search, &token) ||
		token.len > PAGE_TOKEN_MAX)
		return cannot_tell(look, "the workflow's history cannot be decoded");
	page->searched += page->size;
	page->size = Min(PAGE_SIZE, page->size * 2);
	if (look->forwards && token.len == 0)
		tc_kept_give(&look->kept, tc_search_take, search);
	if (search->too_many || look->kept.too_many || (page->searched >= SEARCHED_MAX && !search->is_over))
		return cannot_tell(look, "the workflow's history is too long to be searched");
	if (!search->is_over && !search->at_start && token.len == 0)
		return cannot_tell(look, "the workflow's history is not complete");

	/* more of this run */
	if (!search->is_over && token.len > 0)
	{
		next_page(look, token);
		return true;
	}

	if (search->activity_id != NULL && look->activity_id == NULL)
		look->activity_id = MemoryContextStrdup(MemoryContextGetParent(look->history_context),
												search->activity_id);

	/* is that enough? */
	if (search->ours || (search->has_end && !look->sought->by_id))
		return false;

	/* what else there is to be read */
	if ((run = tc_search_next_run(search)) != NULL)
	{
		read_run(look, run);
		return true;
	}
	if (!look->workflow.is_known)
	{
		look->stage = DESCRIBE_WORKFLOW;
		return true;
	}
	return false;
}

static void
next_page(ProofLook *look, ProtoSpan token)
{
	HistoryPage *page = &look->page;

	if (page->token != NULL)
		pfree(page->token);
	page->token = MemoryContextAlloc(look->history_context, token.len);
	memcpy(page->token, token.bytes, token.len);
	page->token_len = token.len;
}

static bool
take_workflow(ProofLook *look, const uint8 *reply, size_t len)
{
	const RequestTarget *target = &look->sought->target;
	const char *activity_id = target->activity_id != NULL ? target->activity_id : look->activity_id;
	WorkflowDescription *description = &look->workflow.description;
	char	   *run = NULL;

	if (activity_id == NULL ||
		!tc_workflow_description_read(reply, len, activity_id, description))
		return cannot_tell(look, "the workflow's description cannot be decoded");
	look->workflow.is_known = true;
	look->workflow.last_failure_is_ours =
		tc_sought_has_identity(look->sought, description->last_failure_source);

	begin_search(look);
	note_seen(look);
	if (target->run_id == NULL && description->run_id.len > 0)
	{
		run = MemoryContextAlloc(look->history_context, description->run_id.len + 1);
		memcpy(run, description->run_id.bytes, description->run_id.len);
		run[description->run_id.len] = '\0';
	}
	read_run(look, run);

	/* they lie in the reply, which goes now */
	memset(&description->run_id, 0, sizeof(ProtoSpan));
	memset(&description->last_failure_source, 0, sizeof(ProtoSpan));

	/* nothing has happened since the last look */
	return description->has_pending_activity || look->search.seen_events == 0 ||
		look->search.seen_events < description->events;
}

static bool
take_activity(ProofLook *look, const uint8 *reply, size_t len)
{
	if (!tc_activity_description_read(reply, len, &look->activity))
		return cannot_tell(look, "the activity's description cannot be decoded");
	return false;
}

/*
 * What waits for its activity is looked for again and again: not in events in
 * which there was no such activity, and no trace of the request, before.
 */
static void
note_seen(ProofLook *look)
{
	const WorkflowDescription *description = &look->workflow.description;
	const SoughtRequest *sought = look->sought;

	look->seen.run = hash_bytes_extended(description->run_id.bytes, description->run_id.len, 0);
	look->seen.events = description->events;
	if (sought->was_never_sent && sought->seen.run == look->seen.run &&
		sought->seen.events <= description->events)
		look->search.seen_events = sought->seen.events;
}

/* The look is over, and has led to nothing. */
static bool
cannot_tell(ProofLook *look, const char *problem)
{
	look->problem = problem;
	return false;
}

ProofVerdict
tc_proof_look_verdict(const ProofLook *look, char words[WORDS_MAX])
{
	if (look->problem != NULL)
	{
		strlcpy(words, look->problem, WORDS_MAX);
		return PROOF_IMPOSSIBLE;
	}
	if (look->stage == DESCRIBE_ACTIVITY)
		return tc_verdict_standalone(look->sought, &look->activity, words);
	return tc_verdict_in_workflow(look->sought, &look->search, &look->workflow,
								  look->is_last, words);
}

/*---- no answer ----*/

bool
tc_proof_look_other_way(ProofLook *look, const char *code)
{
	if (look->stage != READ_HISTORY || look->forwards || strcmp(code, "UNIMPLEMENTED") != 0)
		return false;
	look->forwards = true;
	read_run(look, look->page.run);
	return true;
}

bool
tc_proof_look_refused(ProofLook *look, CallMeaning meaning, const char *code,
					  char words[WORDS_MAX])
{
	const char *subject = look->stage == READ_HISTORY ?
		"the workflow's history" : "the activity's state";

	switch (meaning)
	{
		case MEANING_GONE:
			look->is_missing = look->stage != READ_HISTORY && look->sought->was_never_sent &&
				look->sought->target.run_id == NULL;
			if (look->is_missing)
			{
				snprintf(words, WORDS_MAX, "there is no %s of that id",
						 look->stage == DESCRIBE_ACTIVITY ? "standalone activity" : "workflow");
				return true;
			}
			snprintf(words, WORDS_MAX, "%s is no longer known to Temporal",
					 look->stage == DESCRIBE_ACTIVITY ? "the activity" :
					 look->stage == READ_HISTORY && look->search.is_former_run ?
					 "a former run of the workflow" : "the workflow");
			return true;
		case MEANING_REJECTED:
		case MEANING_NEEDS_OPERATOR:
			/* reading was refused, though the request itself was not */
			snprintf(words, WORDS_MAX, "%s cannot be read: %s", subject, code);
			return true;
		default:
			snprintf(words, WORDS_MAX, "%s cannot be read at the moment: %s", subject, code);
			return false;
	}
}

/*
 * A page with large payloads may not get through.  It is asked for again, and
 * then those after it: what was seen stays true.  But not too much of it is
 * kept for that long.
 */
void
tc_proof_look_retry(ProofLook *look, bool was_too_much)
{
	if (look->stage == READ_HISTORY && was_too_much)
		look->page.size = Max(1, look->page.size / 8);
	if (look->stage != READ_HISTORY || look->search.nends > KEPT_ENDS_MAX ||
		look->kept.n > KEPT_ENDS_MAX)
		tc_proof_look_begin(look, look->is_last);
}
