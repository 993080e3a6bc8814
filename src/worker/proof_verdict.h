/*-------------------------------------------------------------------------
 *
 * proof_verdict.h
 *	  What follows for a request from what Temporal says.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_VERDICT_H
#define TC_PROOF_VERDICT_H

#include "worker/proof_search.h"

typedef enum ProofVerdict
{
	PROOF_OURS,					/* the request took effect */
	PROOF_PENDING,				/* it did not, and the activity waits: it may
								 * be sent */
	PROOF_NOT_THERE,			/* it did not, and the activity has not been
								 * scheduled */
	PROOF_NOT_OURS,				/* it did not, and never will */
	PROOF_OTHER_ATTEMPT,		/* the same, but the same activity waits, on
								 * another attempt than the token's */
	PROOF_IMPOSSIBLE,			/* nobody can tell any more */
	PROOF_NOT_YET				/* cannot be decided yet: another look follows */
} ProofVerdict;

/* What a workflow's description says; spans of it do not live as long */
typedef struct WorkflowState
{
	bool		is_known;		/* it has been described */
	WorkflowDescription description;
	bool		last_failure_is_ours;
} WorkflowState;

/* Room for words */
#define WORDS_MAX 400

/*
 * About an activity of a workflow.  The workflow must have been described
 * before the history was searched, so that what is not in the history has not
 * happened before it was described; it need not be if the search has found an
 * end.  last_look: it will not be looked again for what does not fit together.
 */
extern ProofVerdict tc_verdict_in_workflow(const SoughtRequest *sought,
										   const HistorySearch *search,
										   const WorkflowState *workflow, bool last_look,
										   char words[WORDS_MAX]);

/* About a standalone activity. */
extern ProofVerdict tc_verdict_standalone(const SoughtRequest *sought,
										  const ActivityDescription *activity,
										  char words[WORDS_MAX]);

#endif							/* TC_PROOF_VERDICT_H */
