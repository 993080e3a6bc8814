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

typedef enum ProofVerdict
{
	PROOF_OURS,					/* the request took effect */
	PROOF_PENDING,				/* it did not, and the activity waits: it may be sent */
	PROOF_NOT_OURS,				/* it did not, and never will */
	PROOF_IMPOSSIBLE,			/* nobody can tell any more */
	PROOF_NOT_YET				/* cannot be decided yet: another look follows */
} ProofVerdict;

/*
 * Told what was found, in words (UTF-8), from tc_proofs_turn(); may raise
 * errors.  After PROOF_NOT_YET it is told again; next_look is monotonic ms.
 */
typedef void (*ProofFound) (Request *request, ProofVerdict verdict, const char *words,
							int64 next_look);

extern void tc_proofs_init(ProofFound found);

/*
 * Find out about a request that was refused, or about one that may have been
 * applied and is to be sent again or given up.  Its bytes are given up.  With
 * give_up it is not waited long for a server that does not answer.
 */
extern void tc_proof_begin(Request *request, bool give_up);

/* Evaluate what was answered, ask what is to be asked.  Calls are flushed. */
extern void tc_proofs_turn(void);

#endif							/* TC_PROOF_H */
