/*-------------------------------------------------------------------------
 *
 * proof_turns.h
 *	  Whose proof is asked next.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_TURNS_H
#define TC_PROOF_TURNS_H

#include "worker/in_memory.h"

/* A proof, by its node, is to be asked: before the others of its queue, or behind them. */
extern void tc_proof_turn_add(Queue *queue, dlist_node *proof, bool before_others);

/* The next one that can be asked now, no longer waiting then; NULL if there is none. */
extern dlist_node *tc_proof_turn_next(void);

/* A call for a proof of that queue has begun, or is over. */
extern void tc_proof_turn_asked(Queue *queue);
extern void tc_proof_turn_answered(Queue *queue);

#endif							/* TC_PROOF_TURNS_H */
