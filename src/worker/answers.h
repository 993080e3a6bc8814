/*-------------------------------------------------------------------------
 *
 * answers.h
 *	  What becomes of a request whose call is over, or whose fate was found out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ANSWERS_H
#define TC_ANSWERS_H

#include "worker/in_memory.h"
#include "worker/proof.h"

/* Its call is over: the request leaves the state ANSWERED. */
extern void tc_answer_settle(Request *request);

/* Something was found out about a request that is CONFIRMING. */
extern void tc_finding_settle(const ProofFinding *finding);

/*
 * Must it be found out, before it is sent, whether an earlier attempt was
 * applied?
 */
extern bool tc_request_must_be_looked_up(const Request *request);

/*
 * Find it out, or wait until it is certain that what was sent is not applied
 * later.
 */
extern void tc_request_look_up(Request *request);

#endif							/* TC_ANSWERS_H */
