/*-------------------------------------------------------------------------
 *
 * proof_turns.c
 *	  Whose proof is asked next.
 *
 * Queues that have proofs to be asked take turns, one proof each, as far as
 * their share and their channel allow.  A server that does not answer keeps
 * nobody else's proofs waiting.
 *
 * Nothing here knows what is asked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/channel_pool.h"
#include "worker/proof_turns.h"

/* Calls of a queue at once: a history that is read costs its server much */
#define QUEUE_PROOFS_MAX 8

/* Queues that have proofs to be asked, and how many */
static dlist_head waiting = DLIST_STATIC_INIT(waiting);
static int	nwaiting;

static bool may_ask(Queue *queue);

void
tc_proof_turn_add(Queue *queue, dlist_node *proof, bool before_others)
{
	if (dlist_is_empty(&queue->proofs))
	{
		dlist_push_tail(&waiting, &queue->proofs_node);
		nwaiting++;
	}
	if (before_others)
		dlist_push_head(&queue->proofs, proof);
	else
		dlist_push_tail(&queue->proofs, proof);
}

dlist_node *
tc_proof_turn_next(void)
{
	for (int n = nwaiting; n > 0; n--)
	{
		Queue	   *queue = dlist_container(Queue, proofs_node, dlist_pop_head_node(&waiting));
		dlist_node *proof = may_ask(queue) ? dlist_pop_head_node(&queue->proofs) : NULL;

		if (dlist_is_empty(&queue->proofs))
			nwaiting--;
		else
			dlist_push_tail(&waiting, &queue->proofs_node);
		if (proof != NULL)
			return proof;
	}
	return NULL;
}

static bool
may_ask(Queue *queue)
{
	return queue->proofs_in_flight < QUEUE_PROOFS_MAX &&
		tc_share_has_room(queue->account, SHARE_PROOFS) &&
		queue->channel != NULL && tc_channels_connect(queue->channel, queue->account) &&
		tc_channel_capacity(queue->channel->channel) > 0;
}

void
tc_proof_turn_asked(Queue *queue)
{
	queue->proofs_in_flight++;
	tc_share_take(queue->account, SHARE_PROOFS, 1);
}

void
tc_proof_turn_answered(Queue *queue)
{
	queue->proofs_in_flight--;
	tc_share_give(queue->account, SHARE_PROOFS, 1);
}
