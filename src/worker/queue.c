/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Queues of requests in the worker's memory: in which order these may be
 *	  sent, and what is dropped when memory is short.
 *
 * Requests for one activity form a chain (chains.c), also those of different
 * queues.  This holds whenever a function here returns:
 *
 * - Only the first of a chain is READY, IN_FLIGHT, ANSWERED or RETRYING, and
 *	 if it is none of these it is CONFIRMING.  So two requests for one activity
 *	 are never in flight at once, and no chain waits for nothing.
 * - All others of a chain are BLOCKED, or CONFIRMING: that needs no turn.
 * - What comes to be the first while it is BLOCKED has its turn: it is
 *	 RETRYING then, due at once, because its bytes have to be read.
 * - A request that was dropped is read again: the position of its queue was
 *	 moved back before it, and the queue is unread.
 *
 * What is so in each state of a request is written in in_memory.h.
 * Different activities never wait for each other.  Memory is bounded by shares
 * (share.c), and by dropping what can be read again.  Nothing here reads, sends
 * or records.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/chains.h"
#include "worker/counting.h"
#include "worker/heartbeats.h"
#include "worker/queue.h"

/* Where options are not known, a request that was tried before waits so long at the most */
#define DEFAULT_RETRY_WAIT_MS 10000

/* Of what queues refer to */
static MemoryContext queue_context;

/* For decoding one request; reset after it */
static MemoryContext decode_context;

static void forget_retries(Queue *queue);
static void read_again(Queue *queue, uint64 xid);
static bool comes_first(const Request *first, const Request *request);
static void block(Request *request);
static void unblock(Request *request, int64 due);
static void leave_chain(Request *request);
static long longest_wait_ms(const Queue *queue);
static bool can_be_dropped(const Request *request);

void
tc_queues_init(void)
{
	queue_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete queues",
										  ALLOCSET_DEFAULT_SIZES);
	decode_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete decoding",
										   ALLOCSET_DEFAULT_SIZES);
	tc_requests_init();
	tc_chains_init(queue_context);
}

Queue *
tc_queue_create(MemoryContext context, int64 number, const QueueRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Queue	   *queue = palloc0(sizeof(Queue));

	queue->number = number;
	queue->account = tc_account_get(row->key.role, row->key.server);
	tc_share_take(queue->account, SHARE_QUEUES, 1);
	queue->position.context = context;
	queue->retrying = pairingheap_allocate(tc_due_compare, NULL);
	queue->heartbeat_position.context = context;
	queue->heartbeats_due = pairingheap_allocate(tc_due_compare, NULL);
	dlist_init(&queue->requests);
	dlist_init(&queue->ready);
	dlist_init(&queue->confirming);
	dlist_init(&queue->proofs);
	queue->row.key = row->key;
	if (row->key.namespace_name != NULL)
		queue->row.key.namespace_name = pstrdup(row->key.namespace_name);
	queue->row.server_name = pstrdup(row->server_name);
	queue->row.role_name = pstrdup(row->role_name);
	queue->option_hashes = tc_option_hashes(&queue->row.key);
	MemoryContextSwitchTo(old);
	return queue;
}

void
tc_queue_destroy(Queue *queue)
{
	Assert(!queue->active && !queue->starves && !queue->awaits_look && dlist_is_empty(&queue->requests) &&
		   queue->heartbeats == 0);
	tc_timer_cancel(&queue->timer);
	if (queue->channel != NULL)
	{
		dlist_delete(&queue->channel_node);
		tc_channels_release(queue->channel);
	}
	tc_share_give(queue->account, SHARE_QUEUES, 1);
	tc_account_release(queue->account);
	tc_read_position_forget(&queue->position);
	pairingheap_free(queue->retrying);
	tc_read_position_forget(&queue->heartbeat_position);
	pairingheap_free(queue->heartbeats_due);
	if (queue->row.key.namespace_name != NULL)
		pfree(unconstify(char *, queue->row.key.namespace_name));
	if (queue->namespace_utf8 != NULL)
	{
		pfree(unconstify(char *, queue->namespace_name));
		pfree(unconstify(char *, queue->namespace_utf8));
	}
	pfree(unconstify(char *, queue->row.server_name));
	pfree(unconstify(char *, queue->row.role_name));
	pfree(queue);
}

/* That happens so rarely that a former name is left where it is. */
void
tc_queue_set_server(Queue *queue, Oid server, const char *name)
{
	tc_counting_forget(queue);
	if (queue->row.key.server != server)
	{
		queue->row.key.server = server;
		queue->option_hashes = tc_option_hashes(&queue->row.key);
	}
	if (strcmp(queue->row.server_name, name) != 0)
		queue->row.server_name = MemoryContextStrdup(queue_context, name);
}

bool
tc_queue_set_namespace(Queue *queue, const char *namespace_name,
					   const char *namespace_utf8, bool is_own)
{
	SipHash		seed = tc_activity_seed(queue->row.key.server, is_own ? NULL : namespace_utf8);

	if (queue->namespace_utf8 != NULL)
	{
		bool		is_same = strcmp(queue->namespace_utf8, namespace_utf8) == 0;

		if (is_same && tc_siphash_equal(seed, queue->activity_seed))
			return false;
		tc_queue_unload(queue);
		tc_heartbeats_forget(queue);
		if (!tc_siphash_equal(seed, queue->activity_seed))
			forget_retries(queue);
		pfree(unconstify(char *, queue->namespace_name));
		pfree(unconstify(char *, queue->namespace_utf8));
	}
	tc_counting_forget(queue);
	queue->namespace_name = MemoryContextStrdup(queue_context, namespace_name);
	queue->namespace_utf8 = MemoryContextStrdup(queue_context, namespace_utf8);
	queue->activity_seed = seed;
	return true;
}

/*
 * Requests that wait for their retry are forgotten, to be read again, so that
 * they come before later ones for their activity where these are read with
 * another seed.  What is not recorded yet, in flight or being confirmed stays.
 */
static void
forget_retries(Queue *queue)
{
	uint64		first_xid = PG_UINT64_MAX;
	bool		some;

	do
	{
		dlist_mutable_iter iter;

		/* forgetting one may bring up another one that was blocked */
		some = false;
		dlist_foreach_modify(iter, &queue->requests)
		{
			Request    *request = dlist_container(Request, queue_node, iter.cur);

			if (request->state != REQUEST_RETRYING || request->unrecorded)
				continue;
			first_xid = Min(first_xid, request->xid);
			tc_request_forget(request);
			some = true;
		}
	} while (some);
	read_again(queue, first_xid);
}

/* Rows of transactions from that one on; PG_UINT64_MAX = none. */
static void
read_again(Queue *queue, uint64 xid)
{
	if (xid == PG_UINT64_MAX)
		return;
	tc_read_position_rewind(&queue->position, xid);
	tc_queue_set_unread(queue, true);
}

Request *
tc_queue_add(Queue *queue, const OutboxRow *row, bool maybe_sent, bool *malformed)
{
	MemoryContext old;
	Request    *request;
	Request    *first;
	SipHash		activity;
	uint64		attempt;
	TimestampTz now;

	*malformed = false;
	if (tc_request_by_id(row->id) != NULL)
		return NULL;
	old = MemoryContextSwitchTo(decode_context);
	*malformed = !tc_activity_of(queue->activity_seed, row, &activity, &attempt);
	MemoryContextSwitchTo(old);
	MemoryContextReset(decode_context);
	if (*malformed)
		return NULL;

	request = tc_request_create(queue, row);
	request->maybe_sent = maybe_sent;
	request->activity = activity;
	request->attempt = attempt;

	first = tc_chain_first(activity);
	if (first != NULL && !comes_first(first, request))
	{
		/* without bytes: however many wait, they must not take others' room */
		tc_chain_join(request);
		tc_request_set_state(request, REQUEST_BLOCKED);
		return request;
	}
	if (first != NULL)
		block(first);
	tc_chain_put_first(request);
	now = row->next_attempt_at != 0 ? GetCurrentTimestamp() : 0;
	if (row->next_attempt_at > now)
		tc_request_retry_at(request, tc_monotonic_ms() +
							Min(TimestampDifferenceMilliseconds(now, row->next_attempt_at),
								longest_wait_ms(queue)));
	else
	{
		/* due, and its bytes are at hand */
		tc_request_retry_at(request, 0);
		tc_request_reload(request, row);
	}
	return request;
}

/*
 * Rows are read in the order of their transactions' ids, but a transaction
 * may be older than one that committed before it made its request.  Within a
 * chain the order is that of requests' ids.  Was this one made before all
 * that are there, and has none of them been tried yet by this worker?  Or
 * does it belong to another queue than a first one that cannot be sent, or to
 * another role than one that was refused?  Then those of its own role that
 * were made before have their turn before it.
 */
static bool
comes_first(const Request *first, const Request *request)
{
	if (first->queue != request->queue && !request->queue->steps_aside)
	{
		if (first->state == REQUEST_RETRYING &&
			(first->queue->steps_aside ||
			 (tc_was_refused_role(first) &&
			  !tc_share_same_role(first->queue->account, request->queue->account))))
			return !tc_chain_has_before(request);
		if (first->state == REQUEST_CONFIRMING && first->queue->steps_aside)
			return !tc_chain_has_before(request);
	}
	return request->id < first->id && first->attempts == 0 &&
		(first->state == REQUEST_READY || first->state == REQUEST_RETRYING);
}

/*
 * Let the first request of a chain, which is not in flight, wait behind
 * another one.  One that is being confirmed needs no turn for that.
 */
static void
block(Request *request)
{
	if (request->state != REQUEST_CONFIRMING)
		tc_request_set_state(request, REQUEST_BLOCKED);
}

/* It is the request's turn: its bytes are read as those of one that is due. */
static void
unblock(Request *request, int64 due)
{
	tc_request_retry_at(request, due);
	tc_queue_activate(request->queue);
}

/* Leave the activity's chain; it may be another one's turn then. */
static void
leave_chain(Request *request)
{
	Request    *next = tc_chain_leave(request);

	if (next != NULL && next->state == REQUEST_BLOCKED)
		unblock(next, 0);
}

void
tc_request_let_others_go_first(Request *request, int64 due)
{
	Request    *chosen;

	Assert(request->state == REQUEST_RETRYING);
	chosen = tc_chain_pass_turn(request);
	if (chosen == NULL)
		return;
	block(request);
	unblock(chosen, tc_was_refused_role(chosen) ? due : 0);
}

/*
 * A time that was recorded by a clock that has been put back since must not
 * keep a request from being tried for longer than a retry waits.
 */
static long
longest_wait_ms(const Queue *queue)
{
	int			longest = queue->channel ?
		queue->channel->config->retry_max_interval_ms : DEFAULT_RETRY_WAIT_MS;

	return longest + longest / 4;	/* of which it may be a fifth more by
									 * chance */
}

Request *
tc_queue_add_malformed(Queue *queue, const OutboxRow *row)
{
	Request    *request = tc_request_create(queue, row);

	tc_request_set_state(request, REQUEST_FINISHED);
	return request;
}

bool
tc_queue_takes_rows(Queue *queue)
{
	return queue->count[REQUEST_RETRYING] + queue->count[REQUEST_BLOCKED] < QUEUE_WAITING_MAX &&
		queue->count[REQUEST_CONFIRMING] < QUEUE_CONFIRMING_MAX &&
		tc_queue_may_have(queue, SHARE_REQUESTS) && tc_queue_may_have(queue, SHARE_CONFIRMING);
}

Request *
tc_queue_first_ready(Queue *queue)
{
	if (dlist_is_empty(&queue->ready))
		return NULL;
	return dlist_container(Request, node, dlist_head_node(&queue->ready));
}

Request *
tc_queue_next_retry(Queue *queue)
{
	if (pairingheap_is_empty(queue->retrying))
		return NULL;
	return pairingheap_container(Request, retry.node, pairingheap_first(queue->retrying));
}

void
tc_request_send_again(Request *request)
{
	tc_request_set_state(request, REQUEST_READY);
	dlist_move_head(&request->queue->ready, &request->node);
	tc_queue_activate(request->queue);
}

void
tc_request_confirm(Request *request)
{
	tc_request_set_state(request, REQUEST_CONFIRMING);
}

void
tc_request_was_not_applied(Request *request, int64 due)
{
	/* others may have been let go first */
	if (tc_chain_first(request->activity) == request)
		tc_request_retry_at(request, due);
	else
		tc_request_set_state(request, REQUEST_BLOCKED);
	tc_queue_activate(request->queue);
}

void
tc_request_reload(Request *request, const OutboxRow *row)
{
	tc_request_load(request, row);
	request->tid = row->tid;
	tc_request_set_state(request, REQUEST_READY);
	tc_queue_activate(request->queue);
}

void
tc_request_end(Request *request)
{
	leave_chain(request);
	tc_request_set_state(request, REQUEST_FINISHED);
}

void
tc_request_forget(Request *request)
{
	switch (request->state)
	{
		case REQUEST_RETRYING:
			leave_chain(request);
			break;
		case REQUEST_FINISHED:
			break;
		default:
			elog(ERROR, "request in state %d cannot be forgotten", request->state);
	}
	tc_request_free(request);
}

/*
 * All that was not tried is forgotten, and the position moved back before it.
 * What was tried keeps its place in its activity's chain.
 */
void
tc_queue_unload(Queue *queue)
{
	uint64		first_xid = PG_UINT64_MAX;
	dlist_mutable_iter iter;

	queue->to_unload = false;
	if (queue->count[REQUEST_READY] == 0 && queue->count[REQUEST_BLOCKED] == 0 &&
		queue->count[REQUEST_RETRYING] == 0)
		return;

	/* ready ones that were tried before wait for their retry again */
	dlist_foreach_modify(iter, &queue->ready)
		tc_request_retry_at(dlist_container(Request, node, iter.cur), 0);

	dlist_foreach_modify(iter, &queue->requests)
	{
		Request    *request = dlist_container(Request, queue_node, iter.cur);

		if (!can_be_dropped(request))
			continue;
		/* the next one's turn comes to nothing if it is the queue's own */
		first_xid = Min(first_xid, request->xid);
		leave_chain(request);
		tc_request_free(request);
	}
	read_again(queue, first_xid);
}

/* What was tried has a state that may not be recorded yet, and its place. */
static bool
can_be_dropped(const Request *request)
{
	if (request->unrecorded)
		return false;
	if (request->state == REQUEST_RETRYING)
		return request->attempts == 0;
	return request->state == REQUEST_BLOCKED && !tc_was_refused_role(request);
}

void
tc_queue_step_aside(Queue *queue)
{
	dlist_mutable_iter iter;

	queue->steps_aside = true;
	dlist_foreach_modify(iter, &queue->requests)
	{
		Request    *request = dlist_container(Request, queue_node, iter.cur);
		Request    *chosen = NULL;

		if (request->state == REQUEST_RETRYING)
			tc_request_let_others_go_first(request, 0);
		else if (request->state == REQUEST_CONFIRMING &&
				 tc_chain_first(request->activity) == request)
			chosen = tc_chain_pass_turn(request);
		if (chosen != NULL)
			unblock(chosen, 0);
	}
}

void
tc_queue_step_back(Queue *queue)
{
	queue->steps_aside = false;
}

/* If all in the heap are due at the same time, it is in order however it is built. */
void
tc_queue_retry_all(Queue *queue)
{
	dlist_iter	iter;

	dlist_foreach(iter, &queue->requests)
	{
		Request    *request = dlist_container(Request, queue_node, iter.cur);

		if (request->state == REQUEST_RETRYING)
			request->retry.due = 0;
	}
}

void
tc_request_retry_now(int64 id)
{
	Request    *request = tc_request_by_id(id);

	if (request == NULL || request->state != REQUEST_RETRYING)
		return;
	tc_request_retry_at(request, 0);
	tc_queue_activate(request->queue);
}
