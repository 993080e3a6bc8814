/*-------------------------------------------------------------------------
 *
 * in_memory.c
 *	  Requests and queues in the worker's memory, and the state of each request.
 *
 * See in_memory.h for what is so in each state.  Nothing here knows of
 * chains or decides what a request becomes, and a state is changed nowhere
 * else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "worker/in_memory.h"

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

/* Those in state ANSWERED, of all queues, in the order in which their calls ended */
static dlist_head answered = DLIST_STATIC_INIT(answered);

static int	nunread;			/* queues */

/* Of requests themselves, and of what they refer to */
static MemoryContext request_context;
static MemoryContext bytes_context;

/*
 * Very many requests may be in memory, and each may have been told something
 * else: of what is longer than what every request may have a role has a share,
 * of the rest the beginning is kept.
 */
#define MESSAGE_MAX 1000
#define MESSAGE_SHORT 128

/* Requests are allocated in blocks of this size */
#define REQUEST_BLOCK_SIZE (64 * 1024)

#ifdef USE_ASSERT_CHECKING
#define BIT(state) (1 << (state))

/* The arrows of the diagram: what each state may become */
static const int may_become[REQUEST_STATES] = {
	[REQUEST_NEW] = BIT(REQUEST_BLOCKED) | BIT(REQUEST_RETRYING) | BIT(REQUEST_FINISHED),
	[REQUEST_BLOCKED] = BIT(REQUEST_RETRYING) | BIT(REQUEST_FINISHED),
	[REQUEST_READY] = BIT(REQUEST_IN_FLIGHT) | BIT(REQUEST_RETRYING) | BIT(REQUEST_BLOCKED) |
	BIT(REQUEST_CONFIRMING) | BIT(REQUEST_FINISHED),
	[REQUEST_IN_FLIGHT] = BIT(REQUEST_ANSWERED),
	[REQUEST_ANSWERED] = BIT(REQUEST_READY) | BIT(REQUEST_RETRYING) | BIT(REQUEST_CONFIRMING) |
	BIT(REQUEST_FINISHED),
	[REQUEST_RETRYING] = BIT(REQUEST_RETRYING) | BIT(REQUEST_READY) | BIT(REQUEST_BLOCKED) |
	BIT(REQUEST_FINISHED),
	[REQUEST_CONFIRMING] = BIT(REQUEST_RETRYING) | BIT(REQUEST_BLOCKED) | BIT(REQUEST_FINISHED),
};
#endif

static bool has_bytes(RequestState state);
static void change_state(Request *request, RequestState state, int64 due);
static void enter_state(Request *request, RequestState state);
static void leave_state(Request *request);
static void drop_bytes(Request *request);

void
tc_requests_init(void)
{
	bytes_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete bytes of requests",
										  ALLOCSET_DEFAULT_SIZES);
	request_context = SlabContextCreate(TopMemoryContext, "temporal_complete requests",
										REQUEST_BLOCK_SIZE, sizeof(Request));
	requests_by_id = requests_create(bytes_context, 1024, NULL);
}

Request *
tc_request_create(Queue *queue, const OutboxRow *row)
{
	Request    *request = MemoryContextAllocZero(request_context, sizeof(Request));
	bool		found;

	request->id = row->id;
	request->xid = row->xid;
	request->tid = row->tid;
	request->queue = queue;
	request->method = row->method;
	request->recorded_activity = row->recorded_activity;
	request->attempts = row->attempts;
	request->requested_at = row->requested_at;
	request->maybe_sent = row->maybe_sent;
	request->awaited_until = row->awaited_until;
	request->expires_at = row->expires_at;
	request->is_absent = row->is_absent;
	if (row->former_identities != NULL)
		request->former_identities = MemoryContextStrdup(bytes_context, row->former_identities);
	requests_insert(requests_by_id, row->id, &found)->request = request;
	Assert(!found);
	dlist_push_tail(&queue->requests, &request->queue_node);
	tc_share_take(queue->account, SHARE_REQUESTS, 1);
	enter_state(request, REQUEST_NEW);
	return request;
}

void
tc_request_free(Request *request)
{
	Assert(request->next == NULL && request->previous == NULL && !request->unrecorded);
	leave_state(request);
	drop_bytes(request);
	requests_delete(requests_by_id, request->id);
	tc_request_set_message(request, NULL);
	dlist_delete(&request->queue_node);
	tc_share_give(request->queue->account, SHARE_REQUESTS, 1);
	if (request->former_identities != NULL)
		pfree(request->former_identities);
	pfree(request);
}

void
tc_request_set_message(Request *request, const char *message)
{
	size_t		len;

	if (request->error_message != NULL)
	{
		len = strlen(request->error_message);
		if (len > MESSAGE_SHORT)
			tc_share_give(request->queue->account, SHARE_MESSAGES, len);
		pfree(request->error_message);
		request->error_message = NULL;
	}
	if (message == NULL)
		return;

	len = strnlen(message, MESSAGE_MAX);
	if (len > MESSAGE_SHORT && !tc_share_has_room(request->queue->account, SHARE_MESSAGES))
		len = MESSAGE_SHORT;
	request->error_message = MemoryContextAllocExtended(bytes_context, len + 1, MCXT_ALLOC_NO_OOM);
	if (request->error_message == NULL)
		return;
	memcpy(request->error_message, message, len);
	request->error_message[len] = '\0';
	if (len > MESSAGE_SHORT)
		tc_share_take(request->queue->account, SHARE_MESSAGES, len);
}

static bool
has_bytes(RequestState state)
{
	return state == REQUEST_READY || state == REQUEST_IN_FLIGHT || state == REQUEST_ANSWERED;
}

void
tc_request_set_state(Request *request, RequestState state)
{
	Assert(state != REQUEST_RETRYING);
	change_state(request, state, 0);
}

void
tc_request_retry_at(Request *request, int64 due)
{
	change_state(request, REQUEST_RETRYING, due);
}

static void
change_state(Request *request, RequestState state, int64 due)
{
	Assert((may_become[request->state] & BIT(state)) != 0);
	Assert(!has_bytes(state) || request->bytes != NULL);
	leave_state(request);
	if (!has_bytes(state))
		drop_bytes(request);
	request->retry.due = due;
	enter_state(request, state);
}

/* Count a request under its state, and put it into what is kept of that state; leave_state() undoes it. */
static void
enter_state(Request *request, RequestState state)
{
	Queue	   *queue = request->queue;

	request->state = state;
	queue->count[state]++;
	switch (state)
	{
		case REQUEST_READY:
			dlist_push_tail(&queue->ready, &request->node);
			break;
		case REQUEST_ANSWERED:
			dlist_push_tail(&answered, &request->node);
			break;
		case REQUEST_RETRYING:
			pairingheap_add(queue->retrying, &request->retry.node);
			break;
		case REQUEST_CONFIRMING:
			dlist_push_tail(&queue->confirming, &request->node);
			tc_share_take(queue->account, SHARE_CONFIRMING, 1);
			break;
		case REQUEST_NEW:
		case REQUEST_BLOCKED:
		case REQUEST_IN_FLIGHT:
		case REQUEST_FINISHED:
			break;
	}
}

static void
leave_state(Request *request)
{
	Queue	   *queue = request->queue;

	queue->count[request->state]--;
	switch (request->state)
	{
		case REQUEST_READY:
		case REQUEST_ANSWERED:
			dlist_delete(&request->node);
			break;
		case REQUEST_RETRYING:
			pairingheap_remove(queue->retrying, &request->retry.node);
			break;
		case REQUEST_CONFIRMING:
			dlist_delete(&request->node);
			tc_share_give(queue->account, SHARE_CONFIRMING, 1);
			break;
		case REQUEST_NEW:
		case REQUEST_BLOCKED:
		case REQUEST_IN_FLIGHT:
		case REQUEST_FINISHED:
			break;
	}
}

void
tc_request_load(Request *request, const OutboxRow *row)
{
	const char *namespace_utf8 = request->queue->namespace_utf8;
	uint8	   *by_ids = NULL;
	size_t		len = row->len;
	uint8	   *bytes;
	RequestIdentity identity = tc_identity_of(request);

	Assert(request->bytes == NULL);
	if (request->method != row->method)
	{
		/* see go_by_ids() of answers.c */
		RequestMethod method = row->method;

		by_ids = tc_request_by_ids(&method, row->request, row->len, &len);
		if (by_ids == NULL)
			elog(ERROR, "request cannot be sent by ids");
	}
	bytes = MemoryContextAlloc(bytes_context, len + strlen(namespace_utf8) +
							   TC_FIELD_OVERHEAD + TC_IDENTITY_FIELD_MAX);
	memcpy(bytes, by_ids != NULL ? by_ids : row->request, len);
	if (by_ids != NULL)
		pfree(by_ids);
	len += tc_namespace_field(request->method, namespace_utf8, bytes + len);
	len += tc_identity_field(request->method, &identity, bytes + len);
	request->bytes = bytes;
	request->len = len;
	request->encoded_by = 0;
	tc_share_take(request->queue->account, SHARE_BYTES, len);
}

void
tc_request_set_encoded(Request *request, const uint8 *bytes, size_t len, uint64 serial)
{
	uint8	   *copy = MemoryContextAlloc(bytes_context, len);

	memcpy(copy, bytes, len);
	drop_bytes(request);
	request->bytes = copy;
	request->len = len;
	request->encoded_by = serial;
	request->has_encoded = true;
	tc_share_take(request->queue->account, SHARE_ENCODED, len);
}

static void
drop_bytes(Request *request)
{
	if (request->bytes == NULL)
		return;
	pfree(request->bytes);
	request->bytes = NULL;
	tc_share_give(request->queue->account, request->has_encoded ? SHARE_ENCODED : SHARE_BYTES,
				  request->len);
	request->has_encoded = false;
}

Request *
tc_request_by_id(int64 id)
{
	RequestEntry *entry = requests_lookup(requests_by_id, id);

	return entry != NULL ? entry->request : NULL;
}

Request *
tc_next_answered(void)
{
	if (dlist_is_empty(&answered))
		return NULL;
	return dlist_container(Request, node, dlist_head_node(&answered));
}

void
tc_requests_visit_in_flight(void (*visit) (Request *request))
{
	requests_iterator i;
	RequestEntry *entry;

	requests_start_iterate(requests_by_id, &i);
	while ((entry = requests_iterate(requests_by_id, &i)) != NULL)
		if (entry->request->state == REQUEST_IN_FLIGHT ||
			entry->request->state == REQUEST_ANSWERED)
			visit(entry->request);
}

void
tc_queue_set_unread(Queue *queue, bool unread)
{
	nunread += unread - queue->unread;
	/* who commits says only that something is new */
	queue->heartbeats_unread |= unread;
	queue->unread = unread;
	if (unread)
		return;
	queue->unread_rows = 0;
	queue->unread_count.rows = 0;
}

int
tc_queues_unread(void)
{
	return nunread;
}

int64
tc_requests_in_memory(void)
{
	return requests_by_id->members;
}
