/*-------------------------------------------------------------------------
 *
 * proof.h
 *	  Did an earlier attempt of a request take effect?
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_H
#define TC_PROOF_H

#include "worker/in_memory.h"
#include "worker/proof_verdict.h"

/* What was found out about a request, in words, too (UTF-8) */
typedef struct ProofFinding
{
	Request    *request;
	ProofVerdict verdict;
	char		words[WORDS_MAX];
	int64		next_look;		/* monotonic ms, after PROOF_NOT_YET */
	SeenHistory seen;			/* after PROOF_NOT_THERE */
} ProofFinding;

extern void tc_proofs_init(void);

/*
 * Find out about a request that was refused, or about one that may have been
 * applied and is to be sent again or given up.  Its bytes are given up.  With
 * give_up it is not waited long for a server that does not answer.
 */
extern void tc_proof_begin(Request *request, bool give_up);

/*
 * Evaluate what was answered.  False if nothing else is to be told of.  After
 * PROOF_NOT_YET there will be another finding about the request.
 */
extern bool tc_proofs_next(ProofFinding *finding);

/* Ask what is to be asked.  Calls are flushed. */
extern void tc_proofs_ask(void);

#endif							/* TC_PROOF_H */
