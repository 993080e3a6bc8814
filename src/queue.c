/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Requests in the worker's memory: in which order they may be sent.
 *
 * Requests for one activity form a chain: only the first of them may be
 * ready, in flight or waiting for a retry; the next one's turn comes when it
 * is finished.  Different activities never wait for each other.  Two requests
 * are about the same activity when server, namespace, workflow id and
 * activity id agree; that is kept as a hash, and activities that share one by
 * chance are merely sent one after the other.
 *
 * Memory is bounded by dropping what can be read again.  Nothing here reads,
 * sends or records.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "hash_bytes.h"
#include "queue.h"

/* Where options are not known, a request that was tried before waits so long at the most */
#define DEFAULT_RETRY_WAIT_MS 10000

/* Roles that get their turn when another one is refused, for one activity */
#define YIELD_QUEUES_MAX 16

/* Chain of requests for an activity */
typedef struct Activity
{
	uint64		hash;
	char		status;
	Request    *first;
	Request    *last;
} Activity;

#define SH_PREFIX activities
#define SH_ELEMENT_TYPE Activity
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) ((key) ^ ((key) >> 32)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

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

/* All requests in memory by id, and all activities that have some */
static requests_hash *requests_by_id;
static activities_hash *activities;

/* Of everything here */
static MemoryContext queue_context;

/* For decoding one request; reset after it */
static MemoryContext decode_context;

/* Queues to look at in the next turn, and whether there are new ones */
static dlist_head active = DLIST_STATIC_INIT(active);
static bool activated;

/* Bytes of requests in memory, of all queues */
static size_t loaded_bytes;

static int	compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg);
static uint64 activity_seed(const Queue *queue, const char *namespace_utf8, bool is_own);
static void forget_retries(Queue *queue);
static Request *new_request(Queue *queue, const OutboxRow *row);
static long longest_wait_ms(const Queue *queue);
static bool hash_activity(const Queue *queue, const OutboxRow *row, uint64 *hash);
static void load_bytes(Request *request, const OutboxRow *row);
static void drop_bytes(Request *request);
static void make_ready(Request *request);
static bool comes_first(const Activity *activity, const Request *request);
static bool was_refused_role(const Request *request);
static void block(Request *request);
static void join_chain(Activity *activity, Request *request);
static void leave_chain(Request *request);
static void link_after(Activity *activity, Request *before, Request *request);
static void unlink_from(Activity *activity, Request *request);
static void free_request(Request *request);
static void unblock(Request *request, int64 due);
static void chain_was_cut(uint64 hash);

void
tc_queues_init(void)
{
	queue_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete queues",
										  ALLOCSET_DEFAULT_SIZES);
	decode_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete decoding",
										   ALLOCSET_DEFAULT_SIZES);
	requests_by_id = requests_create(queue_context, 1024, NULL);
	activities = activities_create(queue_context, 1024, NULL);
}

void
tc_queue_activate(Queue *queue)
{
	if (!queue->active)
	{
		queue->active = true;
		activated = true;
		dlist_push_tail(&active, &queue->active_node);
	}
}

void
tc_queue_deactivate(Queue *queue)
{
	if (queue->active)
	{
		queue->active = false;
		dlist_delete(&queue->active_node);
	}
}

dlist_head *
tc_active_queues(void)
{
	return &active;
}

bool
tc_queues_activated(void)
{
	bool		result = activated;

	activated = false;
	return result;
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
tc_queue_create(int64 number, const QueueRow *row)
{
	MemoryContext old = MemoryContextSwitchTo(queue_context);
	Queue	   *queue = palloc0(sizeof(Queue));

	queue->number = number;
	queue->position.context = queue_context;
	queue->retrying = pairingheap_allocate(compare_due, NULL);
	dlist_init(&queue->ready);
	queue->row.key = row->key;
	if (row->key.namespace_name != NULL)
		queue->row.key.namespace_name = pstrdup(row->key.namespace_name);
	queue->row.server_name = pstrdup(row->server_name);
	queue->row.role_name = pstrdup(row->role_name);
	MemoryContextSwitchTo(old);
	return queue;
}

/* That happens so rarely that a former name is left where it is. */
void
tc_queue_set_server(Queue *queue, Oid server, const char *name)
{
	queue->row.key.server = server;
	if (strcmp(queue->row.server_name, name) != 0)
		queue->row.server_name = MemoryContextStrdup(queue_context, name);
}

/*
 * The server's own namespace counts as the same one, whatever it is called:
 * where its option is put right, what waits keeps its order.
 */
static uint64
activity_seed(const Queue *queue, const char *namespace_utf8, bool is_own)
{
	uint64		hash = tc_hash_bytes(0, &queue->row.key.server, sizeof(Oid));

	/* roles do not matter: an activity is the same for all of them */
	return tc_hash_string(hash, is_own ? "" : namespace_utf8);
}

bool
tc_queue_set_namespace(Queue *queue, const char *namespace_name,
					   const char *namespace_utf8, bool is_own)
{
	uint64		seed = activity_seed(queue, namespace_utf8, is_own);

	if (queue->namespace_utf8 != NULL)
	{
		bool		is_same = strcmp(queue->namespace_utf8, namespace_utf8) == 0;

		if (is_same && seed == queue->activity_seed)
			return false;
		tc_queue_unload(queue);
		if (seed != queue->activity_seed)
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
	Request    *request;
	Activity   *activity;
	uint64		hash;
	bool		found;

	*malformed = false;
	if (requests_lookup(requests_by_id, row->id) != NULL)
		return NULL;
	if (!hash_activity(queue, row, &hash))
	{
		*malformed = true;
		return NULL;
	}

	request = new_request(queue, row);
	request->maybe_sent = maybe_sent;
	request->activity = hash;

	activity = activities_insert(activities, hash, &found);
	if (found && !comes_first(activity, request))
		join_chain(activity, request);
	else
	{
		TimestampTz now = row->next_attempt_at != 0 ? GetCurrentTimestamp() : 0;

		if (found)
			block(activity->first);
		else
			activity->first = activity->last = NULL;
		link_after(activity, NULL, request);
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
 * does it belong to another role than a first one that was refused?
 */
static bool
comes_first(const Activity *activity, const Request *request)
{
	const Request *first = activity->first;

	if (first->state == REQUEST_RETRYING && was_refused_role(first) &&
		first->queue != request->queue)
		return true;
	return request->id < first->id && first->attempts == 0 &&
		(first->state == REQUEST_READY || first->state == REQUEST_RETRYING);
}

/* Was it refused for what its role may not do?  That must not stop other roles. */
static bool
was_refused_role(const Request *request)
{
	return request->attempts > 0 && request->verdict == VERDICT_NEEDS_OPERATOR;
}

/* Let the first request of a chain, which is not in flight, wait behind another one. */
static void
block(Request *request)
{
	if (request->state == REQUEST_READY)
	{
		dlist_delete(&request->node);
		request->queue->nready--;
		drop_bytes(request);
	}
	else
	{
		pairingheap_remove(request->queue->retrying, &request->retry_node);
		request->queue->nretrying--;
	}
	request->state = REQUEST_BLOCKED;
	request->queue->nblocked++;
}

/*
 * Each queue counts with the first of its requests in the chain.  If all were
 * refused they take turns, at the pace of retries.
 */
void
tc_queue_yield(Request *request, int64 due)
{
	Activity   *activity = activities_lookup(activities, request->activity);
	Queue	   *seen[YIELD_QUEUES_MAX];
	int			nseen = 0;
	Request    *chosen = NULL;

	Assert(activity != NULL && activity->first == request && request->state == REQUEST_RETRYING);
	seen[nseen++] = request->queue;
	for (Request *other = request->next; other != NULL && nseen < YIELD_QUEUES_MAX;
		 other = other->next)
	{
		bool		is_first = true;

		for (int i = 0; i < nseen; i++)
			is_first &= seen[i] != other->queue;
		if (!is_first)
			continue;
		seen[nseen++] = other->queue;
		chosen = other;
		if (!was_refused_role(other))
			break;
	}
	if (chosen == NULL)
		return;

	unlink_from(activity, chosen);
	link_after(activity, NULL, chosen);
	block(request);
	unblock(chosen, was_refused_role(chosen) ? due : 0);
}

/*
 * Wait behind the first one, without bytes: however many wait, they must not
 * take others' room.  Ids come nearly in order, so its place is near the end.
 */
static void
join_chain(Activity *activity, Request *request)
{
	Request    *before = activity->last;

	while (before != activity->first && before->id > request->id)
		before = before->previous;
	link_after(activity, before, request);
	request->state = REQUEST_BLOCKED;
	request->queue->nblocked++;
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
	Request    *request = MemoryContextAllocZero(queue_context, sizeof(Request));
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
	return request;
}

/*
 * The task token is decoded for its ids; one that holds none is hashed
 * itself.
 */
static bool
hash_activity(const Queue *queue, const OutboxRow *row, uint64 *result)
{
	MemoryContext old = MemoryContextSwitchTo(decode_context);
	RequestTarget target;
	bool		ok;

	ok = row->problem == NULL && tc_method_is_valid(row->method) &&
		tc_request_decode(row->method, row->request, row->len, &target);
	if (ok)
	{
		uint64		hash = queue->activity_seed;

		if (target.activity_id != NULL)
		{
			if (target.workflow_id != NULL)
				hash = tc_hash_string(hash, target.workflow_id);
			hash = tc_hash_string(hash, target.activity_id);
		}
		else
			hash = tc_hash_bytes(hash, target.task_token, target.task_token_len);
		*result = hash;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(decode_context);
	return ok;
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
	request->queue->loaded_bytes += request->len;
	loaded_bytes += request->len;
}

static void
drop_bytes(Request *request)
{
	if (request->bytes == NULL)
		return;
	pfree(request->bytes);
	request->bytes = NULL;
	request->queue->nloaded--;
	request->queue->loaded_bytes -= request->len;
	loaded_bytes -= request->len;
}

bool
tc_queue_has_room(const Queue *queue, int max_loaded)
{
	/* one request at a time always has room */
	if (queue->nloaded == 0)
		return true;
	return queue->nloaded < max_loaded &&
		queue->loaded_bytes < QUEUE_LOADED_BYTES_MAX &&
		loaded_bytes < LOADED_BYTES_MAX;
}

bool
tc_queue_takes_rows(const Queue *queue)
{
	return queue->nretrying + queue->nblocked < QUEUE_WAITING_MAX &&
		queue->nconfirming < QUEUE_CONFIRMING_MAX;
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
	drop_bytes(request);
	request->state = REQUEST_CONFIRMING;
	request->queue->nconfirming++;
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
	Assert(request->state == REQUEST_RETRYING);
	pairingheap_remove(request->queue->retrying, &request->retry_node);
	request->queue->nretrying--;
	request->tid = row->tid;
	load_bytes(request, row);
	make_ready(request);
}

void
tc_queue_retry_later(Request *request, int64 due)
{
	Assert(request->state == REQUEST_RETRYING);
	pairingheap_remove(request->queue->retrying, &request->retry_node);
	request->queue->nretrying--;
	tc_queue_retry_at(request, due);
}

void
tc_queue_finish(Request *request)
{
	drop_bytes(request);
	leave_chain(request);
	if (request->state == REQUEST_CONFIRMING)
		request->queue->nconfirming--;
	request->state = REQUEST_FINISHED;
}

/* Leave the activity's chain, of which the request is the first. */
static void
leave_chain(Request *request)
{
	Activity   *activity = activities_lookup(activities, request->activity);

	Assert(activity != NULL && activity->first == request);
	unlink_from(activity, request);
	if (activity->first == NULL)
		activities_delete(activities, request->activity);
	else
		unblock(activity->first, 0);
}

/*
 * Put a request into a chain: behind another one, or first of all.  A dlist
 * would need a head that stays where it is, unlike elements of a hash table.
 */
static void
link_after(Activity *activity, Request *before, Request *request)
{
	request->previous = before;
	request->next = before != NULL ? before->next : activity->first;
	if (request->next != NULL)
		request->next->previous = request;
	else
		activity->last = request;
	if (before != NULL)
		before->next = request;
	else
		activity->first = request;
}

static void
unlink_from(Activity *activity, Request *request)
{
	if (request->previous != NULL)
		request->previous->next = request->next;
	else
		activity->first = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;
	else
		activity->last = request->previous;
	request->next = request->previous = NULL;
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
			pairingheap_remove(request->queue->retrying, &request->retry_node);
			request->queue->nretrying--;
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
	pfree(request);
}

/*
 * All that was not sent is forgotten, and the position moved back before it.
 * What was sent before keeps its place in its activity's chain.
 */
void
tc_queue_unload(Queue *queue)
{
	requests_iterator i;
	RequestEntry *entry;
	Request   **dropped;
	int			ndropped = 0;
	uint64		first_xid = PG_UINT64_MAX;
	dlist_mutable_iter iter;

	if (queue->nloaded == 0 && queue->nblocked == 0)
		return;

	/* ready ones that were tried before wait for their retry again */
	dlist_foreach_modify(iter, &queue->ready)
	{
		Request    *request = dlist_container(Request, node, iter.cur);

		dlist_delete(&request->node);
		queue->nready--;
		if (request->attempts > 0)
			tc_queue_retry_at(request, 0);
		else
		{
			request->state = REQUEST_BLOCKED;
			queue->nblocked++;
		}
	}

	dropped = palloc(sizeof(Request *) * Max(queue->nblocked, 1));
	requests_start_iterate(requests_by_id, &i);
	while ((entry = requests_iterate(requests_by_id, &i)) != NULL)
	{
		Request    *request = entry->request;

		/* what was tried has a state that may not be recorded yet */
		if (request->queue == queue && request->state == REQUEST_BLOCKED &&
			!request->unrecorded && !was_refused_role(request))
		{
			queue->nblocked--;
			dropped[ndropped++] = request;
		}
	}
	for (int d = 0; d < ndropped; d++)
		unlink_from(activities_lookup(activities, dropped[d]->activity), dropped[d]);
	for (int d = 0; d < ndropped; d++)
	{
		chain_was_cut(dropped[d]->activity);
		first_xid = Min(first_xid, dropped[d]->xid);
		drop_bytes(dropped[d]);
		requests_delete(requests_by_id, dropped[d]->id);
		free_request(dropped[d]);
	}
	pfree(dropped);
	if (ndropped > 0)
	{
		tc_read_position_rewind(&queue->position, first_xid);
		queue->unread = true;
	}
}

/*
 * Requests of a queue were taken out of the chain of an activity.  Those of
 * other queues stay, and the first of them may be sent.
 */
static void
chain_was_cut(uint64 hash)
{
	Activity   *activity = activities_lookup(activities, hash);

	if (activity == NULL)
		return;
	if (activity->first == NULL)
		activities_delete(activities, hash);
	else if (activity->first->state == REQUEST_BLOCKED)
		unblock(activity->first, 0);
}

void
tc_queue_retry_now(Queue *queue)
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
