/*-------------------------------------------------------------------------
 *
 * chains.h
 *	  Requests for one activity, one behind the other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CHAINS_H
#define TC_CHAINS_H

#include "worker/in_memory.h"

extern void tc_chains_init(MemoryContext context);

/*
 * What activities of a namespace of a server begin with.  NULL is the server's
 * own namespace, whatever it is called: where its option is put right, what
 * waits keeps its order.
 */
extern SipHash tc_activity_seed(Oid server, const char *namespace_utf8);

/*
 * The activity that a row is about, and a hash of how it names it: by which
 * token, or by which run.  False if its bytes are no request.  The current
 * memory context is used for it.
 */
extern bool tc_activity_of(SipHash seed, const OutboxRow *row, SipHash *activity,
						   uint64 *attempt);

/* The same activity by its ids; without a workflow it is a standalone one. */
extern SipHash tc_activity_by_ids(SipHash seed, const char *workflow_id, size_t workflow_id_len,
								  const char *activity_id, size_t activity_id_len);

/* The first request for an activity; NULL if there is none. */
extern Request *tc_chain_first(SipHash activity);

/* Put a request into its activity's chain: first of all, or behind the first, in the order of ids. */
extern void tc_chain_put_first(Request *request);
extern void tc_chain_join(Request *request);

/*
 * Take a request out of its chain.  Returns the one that has become the
 * first, whose turn may have come; NULL if that was it before, or none is left.
 */
extern Request *tc_chain_leave(Request *request);

/* Is there a request in it that the same role made before that one, and that can be sent? */
extern bool tc_chain_has_before(const Request *request);

/*
 * The first one makes room for one of another role, or if its queue cannot send
 * of another queue, which is returned: it is the first now.  NULL, and nothing
 * is changed, if there is none.
 */
extern Request *tc_chain_pass_turn(Request *first);

/* Was it refused for what its role may not do?  That must not stop other roles. */
static inline bool
tc_was_refused_role(const Request *request)
{
	return request->attempts > 0 && request->meaning == MEANING_NEEDS_OPERATOR;
}

#endif							/* TC_CHAINS_H */
