/*-------------------------------------------------------------------------
 *
 * proof_look.h
 *	  One look at what Temporal knows about a request.
 *
 * A look is a series of questions, each of which depends on the answers
 * before it:
 *
 *	     by ids                by task token           standalone
 *	        |                        |                     |
 *	        v                        v                     v
 *	  DESCRIBE_WORKFLOW --1--> READ_HISTORY --+     DESCRIBE_ACTIVITY
 *	        ^                     |  |  ^     |            |
 *	        +---------- 3 --------+  |  +--2--+            |
 *	                                 4                     4
 *	                                 v                     v
 *	                             the verdict           the verdict
 *
 *	  1	always, also if the history was read before: see below
 *	  2	the next page; or by ids, a run that came before
 *	  3	the history does not suffice, and the workflow is not known yet
 *	  4	all was read that has to be, or something that suffices, or what was
 *		answered cannot be used
 *
 * What is not in the history when the verdict is spoken must not have happened
 * before the workflow was described.  So the history is read after that, once
 * more if need be.  By ids the description comes first, as it also says which
 * run is the current one; by task token the history alone will mostly do.
 *
 * Histories are read from their end.  A server that cannot do that, as
 * Temporal's test server for Java, is asked for them from their beginning.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_LOOK_H
#define TC_PROOF_LOOK_H

#include "wire/classify.h"
#include "worker/proof_kept.h"
#include "worker/proof_verdict.h"

typedef enum LookStage
{
	READ_HISTORY,
	DESCRIBE_WORKFLOW,
	DESCRIBE_ACTIVITY
} LookStage;

/* Which page of a history is to be read */
typedef struct HistoryPage
{
	const char *run;			/* NULL = the target's */
	int			size;			/* in batches of events; outlives the look */
	int			searched;		/* in batches: pages before it, of all runs */
	uint8	   *token;			/* NULL = the first one, from the end or the
								 * beginning */
	size_t		token_len;
} HistoryPage;

typedef struct ProofLook
{
	const SoughtRequest *sought;
	bool		is_last;		/* see tc_verdict_in_workflow() */
	LookStage	stage;			/* what is to be asked */
	const char *problem;		/* why there is no verdict, or NULL */
	bool		is_missing;		/* workflow or standalone activity; may yet
								 * come */

	char	   *activity_id;	/* as the history has it, for a task token
								 * that does not */
	WorkflowState workflow;		/* of DESCRIBE_WORKFLOW */
	SeenHistory seen;			/* what there was of its history then */

	bool		forwards;		/* the server reads no history from its end */
	KeptEvents	kept;			/* if so: of the run that is read */

	MemoryContext history_context;	/* of what follows */
	HistoryPage page;			/* of READ_HISTORY */
	HistorySearch search;

	ActivityDescription activity;	/* of DESCRIBE_ACTIVITY */
} ProofLook;

/*
 * Prepare for looks, and begin one.  The context is reset whenever a history is
 * read from its end; sought must live as long as the looks do.
 */
extern void tc_proof_look_init(ProofLook *look, const SoughtRequest *sought,
							   MemoryContext history_context);
extern void tc_proof_look_begin(ProofLook *look, bool is_last);

/* The question: the method that is called, and the encoded request, palloc'd. */
extern const char *tc_proof_look_path(const ProofLook *look);
extern uint8 *tc_proof_look_question(const ProofLook *look, const char *namespace_utf8,
									 size_t *len);

/*
 * Take what was answered.  True: there is another question.  False: there is a
 * verdict, to be had as long as the reply is there.
 */
extern bool tc_proof_look_take(ProofLook *look, const uint8 *reply, size_t len);
extern ProofVerdict tc_proof_look_verdict(const ProofLook *look, char words[WORDS_MAX]);

/*
 * The question was refused.  Can it be put in another way?  Then it is to be
 * asked again.
 */
extern bool tc_proof_look_other_way(ProofLook *look, const char *code);

/*
 * The question was refused: words for that.  True if there is no hope that it
 * will be answered some time.
 */
extern bool tc_proof_look_refused(ProofLook *look, CallMeaning meaning,
								  const char *code, char words[WORDS_MAX]);

/*
 * Prepare to ask again what was not answered: for less if it may have been too
 * much, and from the beginning if too much would have to be kept until then.
 */
extern void tc_proof_look_retry(ProofLook *look, bool was_too_much);

#endif							/* TC_PROOF_LOOK_H */
