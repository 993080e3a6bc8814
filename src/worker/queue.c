/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Requests in the worker's memory: in which order they may be sent.
 *
 * Requests for one activity form a chain (chains.c): only the first of them
 * may be ready, in flight or waiting for a retry; the next one's turn comes
 * when it is finished.  Different activities never wait for each other.
 *
 * Memory is bounded by shares (share.c), and by dropping what can be read
 * again.  Nothing here reads, sends or records.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/chains.h"
#include "worker/queue.h"

/* Where options are not known, a request that was tried before waits so long at the most */
#define DEFAULT_RETRY_WAIT_MS 10000

typedef struct RequestEntry
{
	int64		id;
	char		status;
	Request    *request;
} RequestEntry;

#define SH_PREFIX requests
#define SH_ELEMENT_TYPE RequestEntry
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) ((key) ^ ((key) >> 32)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* All requests in memory by id */
static requests_hash *requests_by_id;

/* Of everything here; of requests themselves */
static MemoryContext queue_context;
static MemoryContext request_context;

/* For decoding one request; reset after it */
static MemoryContext decode_context;

/* Requests are allocated in blocks of this size */
#define REQUEST_BLOCK_SIZE (64 * 1024)

static int	compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg);
static void forget_retries(Queue *queue);
static Request *new_request(Queue *queue, const OutboxRow *row);
static long longest_wait_ms(const Queue *queue);
static void load_bytes(Request *request, const OutboxRow *row);
static void drop_bytes(Request *request);
static void make_ready(Request *request);
static bool comes_first(const Request *first, const Request *request);
static void block(Request *request);
static void stop_waiting(Request *request);
static void free_request(Request *request);
static void leave_chain(Request *request);
static bool can_be_dropped(const Request *request);
static void unblock(Request *request, int64 due);

void
tc_queues_init(void)
{
	queue_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete queues",
										  ALLOCSET_DEFAULT_SIZES);
	decode_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete decoding",
										   ALLOCSET_DEFAULT_SIZES);
	request_context = SlabContextCreate(TopMemoryContext, "temporal_complete requests",
										REQUEST_BLOCK_SIZE, sizeof(Request));
	requests_by_id = requests_create(queue_context, 1024, NULL);
	tc_chains_init(queue_context);
}

static int
compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		x = pairingheap_const_container(Request, retry_node, a)->due;
	int64		y = pairingheap_const_container(Request, retry_node, b)->due;

	/* a pairing heap gives the largest first */
	return (x < y) - (x > y);
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
	queue->retrying = pairingheap_allocate(compare_due, NULL);
	dlist_init(&queue->requests);
	dlist_init(&queue->ready);
	dlist_init(&queue->confirming);
	dlist_init(&queue->proofs);
	queue->row.key = row->key;
	if (row->key.namespace_name != NULL)
		queue->row.key.namespace_name = pstrdup(row->key.namespace_name);
	queue->row.server_name = pstrdup(row->server_name);
	queue->row.role_name = pstrdup(row->role_name);
	MemoryContextSwitchTo(old);
	return queue;
}

void
tc_queue_destroy(Queue *queue)
{
	Assert(!queue->active && !queue->starves && dlist_is_empty(&queue->requests));
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
	queue->row.key.server = server;
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
		if (!tc_siphash_equal(seed, queue->activity_seed))
			forget_retries(queue);
		pfree(unconstify(char *, queue->namespace_name));
		pfree(unconstify(char *, queue->namespace_utf8));
	}
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
	dlist_head	kept = DLIST_STATIC_INIT(kept);
	dlist_mutable_iter iter;

	while (!pairingheap_is_empty(queue->retrying))
	{
		Request    *request = tc_queue_next_retry(queue);

		if (request->unrecorded)
		{
			(void) pairingheap_remove_first(queue->retrying);
			dlist_push_tail(&kept, &request->node);
			continue;
		}
		first_xid = Min(first_xid, request->xid);
		tc_queue_forget(request);
	}
	dlist_foreach_modify(iter, &kept)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		dlist_delete(&request->node);
		pairingheap_add(queue->retrying, &request->retry_node);
	}
	if (first_xid != PG_UINT64_MAX)
	{
		tc_read_position_rewind(&queue->position, first_xid);
		queue->unread = true;
	}
}

Request *
tc_queue_add(Queue *queue, const OutboxRow *row, bool maybe_sent, bool *malformed)
{
	MemoryContext old;
	Request    *request;
	Request    *first;
	SipHash		activity;

	*malformed = false;
	if (requests_lookup(requests_by_id, row->id) != NULL)
		return NULL;
	old = MemoryContextSwitchTo(decode_context);
	*malformed = !tc_activity_of(queue->activity_seed, row, &activity);
	MemoryContextSwitchTo(old);
	MemoryContextReset(decode_context);
	if (*malformed)
		return NULL;

	request = new_request(queue, row);
	request->maybe_sent = maybe_sent;
	request->activity = activity;

	first = tc_chain_first(activity);
	if (first != NULL && !comes_first(first, request))
	{
		/* without bytes: however many wait, they must not take others' room */
		request->state = REQUEST_BLOCKED;
		queue->nblocked++;
		tc_chain_join(request);
	}
	else
	{
		TimestampTz now = row->next_attempt_at != 0 ? GetCurrentTimestamp() : 0;

		if (first != NULL)
			block(first);
		tc_chain_put_first(request);
		if (row->next_attempt_at > now)
			tc_queue_retry_at(request, tc_monotonic_ms() +
							  Min(TimestampDifferenceMilliseconds(now, row->next_attempt_at),
								  longest_wait_ms(queue)));
		else
		{
			load_bytes(request, row);
			make_ready(request);
		}
	}
	return request;
}

/*
 * Rows are read in the order of their transactions' ids, but a transaction
 * may be older than one that committed before it made its request.  Within a
 * chain the order is that of requests' ids.  Was this one made before all
 * that are there, and has none of them been tried yet by this worker?  Or
 * does it belong to another queue than a first one that cannot be sent?
 */
static bool
comes_first(const Request *first, const Request *request)
{
	if (first->queue != request->queue && !request->queue->steps_aside)
	{
		if (first->state == REQUEST_RETRYING &&
			(first->queue->steps_aside || tc_was_refused_role(first)))
			return true;
		if (first->state == REQUEST_CONFIRMING && first->queue->steps_aside)
			return true;
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
	if (request->state == REQUEST_CONFIRMING)
		return;
	if (request->state == REQUEST_READY)
	{
		dlist_delete(&request->node);
		request->queue->nready--;
		drop_bytes(request);
	}
	else
		stop_waiting(request);
	request->state = REQUEST_BLOCKED;
	request->queue->nblocked++;
}

/* It waits for its retry no longer. */
static void
stop_waiting(Request *request)
{
	Assert(request->state == REQUEST_RETRYING);
	pairingheap_remove(request->queue->retrying, &request->retry_node);
	request->queue->nretrying--;
}

void
tc_queue_yield(Request *request, int64 due)
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

	return longest + longest / 4;	/* of which it may be a fifth more by chance */
}

Request *
tc_queue_add_malformed(Queue *queue, const OutboxRow *row)
{
	Request    *request = new_request(queue, row);

	request->state = REQUEST_FINISHED;
	return request;
}

static Request *
new_request(Queue *queue, const OutboxRow *row)
{
	Request    *request = MemoryContextAllocZero(request_context, sizeof(Request));
	bool		found;

	request->id = row->id;
	request->xid = row->xid;
	request->tid = row->tid;
	request->queue = queue;
	request->method = row->method;
	request->attempts = row->attempts;
	request->requested_at = row->requested_at;
	request->maybe_sent = row->maybe_sent;
	if (row->former_identities != NULL)
		request->former_identities = MemoryContextStrdup(queue_context, row->former_identities);
	requests_insert(requests_by_id, row->id, &found)->request = request;
	dlist_push_tail(&queue->requests, &request->queue_node);
	tc_share_take(queue->account, SHARE_REQUESTS, 1);
	return request;
}

/* The request's own copy of its bytes, with namespace and identity appended. */
static void
load_bytes(Request *request, const OutboxRow *row)
{
	const char *namespace_utf8 = request->queue->namespace_utf8;
	uint8	   *bytes = MemoryContextAlloc(queue_context, row->len + strlen(namespace_utf8) +
										   TC_FIELD_OVERHEAD + TC_IDENTITY_FIELD_MAX);
	size_t		len = row->len;
	RequestIdentity identity = tc_identity_of(request);

	memcpy(bytes, row->request, len);
	len += tc_namespace_field(row->method, namespace_utf8, bytes + len);
	len += tc_identity_field(row->method, &identity, bytes + len);
	request->bytes = bytes;
	request->len = len;
	request->queue->nloaded++;
	tc_share_take(request->queue->account, SHARE_BYTES, len);
}

static void
drop_bytes(Request *request)
{
	if (request->bytes == NULL)
		return;
	pfree(request->bytes);
	request->bytes = NULL;
	request->queue->nloaded--;
	tc_share_give(request->queue->account, SHARE_BYTES, request->len);
}

bool
tc_queue_has_room(Queue *queue, int max_loaded)
{
	return queue->nloaded < max_loaded && tc_queue_may_have(queue, SHARE_BYTES);
}

bool
tc_queue_takes_rows(Queue *queue)
{
	return queue->nretrying + queue->nblocked < QUEUE_WAITING_MAX &&
		queue->nconfirming < QUEUE_CONFIRMING_MAX &&
		tc_queue_may_have(queue, SHARE_REQUESTS) && tc_queue_may_have(queue, SHARE_CONFIRMING);
}

static void
make_ready(Request *request)
{
	request->state = REQUEST_READY;
	dlist_push_tail(&request->queue->ready, &request->node);
	request->queue->nready++;
	tc_queue_activate(request->queue);
}

Request *
tc_queue_pop_ready(Queue *queue)
{
	if (dlist_is_empty(&queue->ready))
		return NULL;
	queue->nready--;
	return dlist_container(Request, node, dlist_pop_head_node(&queue->ready));
}

void
tc_queue_push_back(Request *request)
{
	request->state = REQUEST_READY;
	dlist_push_head(&request->queue->ready, &request->node);
	request->queue->nready++;
	tc_queue_activate(request->queue);
}

void
tc_queue_retry_at(Request *request, int64 due)
{
	Queue	   *queue = request->queue;

	drop_bytes(request);
	request->state = REQUEST_RETRYING;
	request->due = due;
	pairingheap_add(queue->retrying, &request->retry_node);
	queue->nretrying++;
}

void
tc_queue_confirming(Request *request)
{
	Queue	   *queue = request->queue;

	drop_bytes(request);
	request->state = REQUEST_CONFIRMING;
	dlist_push_tail(&queue->confirming, &request->node);
	queue->nconfirming++;
	tc_share_take(queue->account, SHARE_CONFIRMING, 1);
}

void
tc_queue_confirmed(Request *request)
{
	dlist_delete(&request->node);
	request->queue->nconfirming--;
	tc_share_give(request->queue->account, SHARE_CONFIRMING, 1);
	tc_queue_retry_at(request, 0);
	/* others may have been let go first */
	if (tc_chain_first(request->activity) != request)
		block(request);
	tc_queue_activate(request->queue);
}

Request *
tc_queue_next_retry(Queue *queue)
{
	if (pairingheap_is_empty(queue->retrying))
		return NULL;
	return pairingheap_container(Request, retry_node, pairingheap_first(queue->retrying));
}

void
tc_queue_reload(Request *request, const OutboxRow *row)
{
	stop_waiting(request);
	request->tid = row->tid;
	load_bytes(request, row);
	make_ready(request);
}

void
tc_queue_retry_later(Request *request, int64 due)
{
	stop_waiting(request);
	tc_queue_retry_at(request, due);
}

void
tc_queue_finish(Request *request)
{
	Queue	   *queue = request->queue;

	drop_bytes(request);
	leave_chain(request);
	if (request->state == REQUEST_CONFIRMING)
	{
		dlist_delete(&request->node);
		queue->nconfirming--;
		tc_share_give(queue->account, SHARE_CONFIRMING, 1);
	}
	request->state = REQUEST_FINISHED;
}

/* Leave the activity's chain; it may be another one's turn then. */
static void
leave_chain(Request *request)
{
	Request    *next = tc_chain_leave(request);

	if (next != NULL && next->state == REQUEST_BLOCKED)
		unblock(next, 0);
}

/* It is the request's turn: its bytes are read as those of one that is due. */
static void
unblock(Request *request, int64 due)
{
	request->queue->nblocked--;
	tc_queue_retry_at(request, due);
	tc_queue_activate(request->queue);
}

void
tc_queue_forget(Request *request)
{
	switch (request->state)
	{
		case REQUEST_RETRYING:
			stop_waiting(request);
			leave_chain(request);
			break;
		case REQUEST_FINISHED:
			break;
		default:
			elog(ERROR, "request in state %d cannot be forgotten", request->state);
	}
	drop_bytes(request);
	requests_delete(requests_by_id, request->id);
	free_request(request);
}

static void
free_request(Request *request)
{
	if (request->error_message != NULL)
		pfree(request->error_message);
	if (request->former_identities != NULL)
		pfree(request->former_identities);
	dlist_delete(&request->queue_node);
	tc_share_give(request->queue->account, SHARE_REQUESTS, 1);
	pfree(request);
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
	if (queue->nloaded == 0 && queue->nblocked == 0 && queue->nretrying == 0)
		return;

	/* ready ones that were tried before wait for their retry again */
	dlist_foreach_modify(iter, &queue->ready)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		dlist_delete(&request->node);
		queue->nready--;
		tc_queue_retry_at(request, 0);
	}

	dlist_foreach_modify(iter, &queue->requests)
	{
		Request    *request = dlist_container(Request, queue_node, iter.cur);

		if (!can_be_dropped(request))
			continue;
		/* the next one's turn comes to nothing if it is the queue's own */
		first_xid = Min(first_xid, request->xid);
		if (request->state == REQUEST_RETRYING)
			stop_waiting(request);
		else
			queue->nblocked--;
		leave_chain(request);
		requests_delete(requests_by_id, request->id);
		free_request(request);
	}
	if (first_xid < PG_UINT64_MAX)
	{
		tc_read_position_rewind(&queue->position, first_xid);
		queue->unread = true;
	}
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
	dlist_head	waiting = DLIST_STATIC_INIT(waiting);

	queue->steps_aside = true;
	while (!pairingheap_is_empty(queue->retrying))
	{
		Request    *request = tc_queue_next_retry(queue);

		(void) pairingheap_remove_first(queue->retrying);
		dlist_push_tail(&waiting, &request->node);
	}
	dlist_foreach_modify(iter, &waiting)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		dlist_delete(&request->node);
		pairingheap_add(queue->retrying, &request->retry_node);
		tc_queue_yield(request, 0);
	}
	dlist_foreach_modify(iter, &queue->confirming)
	{
		Request    *request = dlist_container(Request, node, iter.cur);
		Request    *chosen = NULL;

		if (tc_chain_first(request->activity) == request)
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

void
tc_queue_retry_all(Queue *queue)
{
	Request    *request;
	dlist_head	all = DLIST_STATIC_INIT(all);
	dlist_mutable_iter iter;

	while (!pairingheap_is_empty(queue->retrying))
	{
		request = pairingheap_container(Request, retry_node,
										pairingheap_remove_first(queue->retrying));
		request->due = 0;
		dlist_push_tail(&all, &request->node);
	}
	dlist_foreach_modify(iter, &all)
	{
		request = dlist_container(Request, node, iter.cur);
		dlist_delete(&request->node);
		pairingheap_add(queue->retrying, &request->retry_node);
	}
}

void
tc_queue_retry_now(int64 id)
{
	RequestEntry *entry = requests_lookup(requests_by_id, id);

	if (entry == NULL || entry->request->state != REQUEST_RETRYING)
		return;
	tc_queue_retry_later(entry->request, 0);
	tc_queue_activate(entry->request->queue);
}

void
tc_queues_visit_in_flight(void (*visit) (Request *request))
{
	requests_iterator i;
	RequestEntry *entry;

	requests_start_iterate(requests_by_id, &i);
	while ((entry = requests_iterate(requests_by_id, &i)) != NULL)
		if (entry->request->state == REQUEST_IN_FLIGHT ||
			entry->request->state == REQUEST_ANSWERED)
			visit(entry->request);
}

int64
tc_requests_in_memory(void)
{
	return requests_by_id->members;
}
