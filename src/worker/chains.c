/*-------------------------------------------------------------------------
 *
 * chains.c
 *	  Requests for one activity, one behind the other.
 *
 * Only the first of a chain may be ready, in flight or waiting for a retry.
 * Requests are about the same activity when server, namespace, workflow id
 * and activity id agree; that is kept as a hash by a secret key, which is as
 * good as the names (see siphash.h).
 *
 * The order is that of requests' ids.  It is left only between roles: one
 * that cannot send, or has very many requests for an activity, does not keep
 * others from theirs.
 *
 * Nothing here changes the state of a request, or knows where it is sent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/chains.h"

/* Roles that get their turn when another one is refused, for one activity */
#define TURN_ROLES_MAX 64

/* So many requests of a role in a row, then others' for the activity have their turn */
#define RUN_MAX 64

typedef struct Chain
{
	SipHash		activity;
	char		status;
	int			run;			/* of how many requests of the first one's
								 * role, in a row */
	Request    *first;
	Request    *last;
} Chain;

#define SH_PREFIX chains
#define SH_ELEMENT_TYPE Chain
#define SH_KEY_TYPE SipHash
#define SH_KEY activity
#define SH_HASH_KEY(tb, key) ((uint32) (key).low)
#define SH_EQUAL(tb, a, b) tc_siphash_equal(a, b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static chains_hash *chains;

static void append(StringInfo buf, const void *bytes, size_t len);
static void link_after(Chain *chain, Request *before, Request *request);
static void unlink_from(Chain *chain, Request *request);
static void move_first(Chain *chain, Request *request);
static bool can_go_on(const Request *request);
static void choose_next(Chain *chain, const Queue *former);
static bool can_overtake(const Request *request, const Request *first);
static Request *next_of_others(Request *first, bool also_refused);

void
tc_chains_init(MemoryContext context)
{
	chains = chains_create(context, 1024, NULL);
}

/* With its length, so that no two lists of names make the same bytes */
static void
append(StringInfo buf, const void *bytes, size_t len)
{
	uint32		prefix = (uint32) len;

	appendBinaryStringInfo(buf, (char *) &prefix, sizeof(prefix));
	appendBinaryStringInfo(buf, bytes, len);
}

/* Roles do not matter: an activity is the same for all of them. */
SipHash
tc_activity_seed(Oid server, const char *namespace_utf8)
{
	StringInfoData buf;
	SipHash		result;

	initStringInfo(&buf);
	append(&buf, &server, sizeof(server));
	if (namespace_utf8 != NULL)
		append(&buf, namespace_utf8, strlen(namespace_utf8));
	result = tc_siphash(buf.data, buf.len);
	pfree(buf.data);
	return result;
}

/*
 * The task token is decoded for its ids.  Tokens of a test server have no id of
 * the activity, but know the event that scheduled it; one that holds neither
 * counts itself.
 */
bool
tc_activity_of(SipHash seed, const OutboxRow *row, SipHash *activity, uint64 *attempt)
{
	RequestTarget target;
	StringInfoData buf;

	if (row->problem != NULL || !tc_method_is_valid(row->method) ||
		!tc_request_decode(row->method, row->request, row->len, &target))
		return false;

	initStringInfo(&buf);
	if (target.activity_id != NULL)
	{
		const char *workflow_id = target.workflow_id ? target.workflow_id : "";

		*activity = tc_activity_by_ids(seed, workflow_id, strlen(workflow_id),
									   target.activity_id, strlen(target.activity_id));
	}
	else
	{
		append(&buf, &seed, sizeof(seed));
		if (target.workflow_id != NULL && target.run_id != NULL && target.scheduled_event_id != 0)
		{
			append(&buf, target.workflow_id, strlen(target.workflow_id));
			append(&buf, target.run_id, strlen(target.run_id));
			append(&buf, &target.scheduled_event_id, sizeof(target.scheduled_event_id));
		}
		else
			append(&buf, target.task_token, target.task_token_len);
		*activity = tc_siphash(buf.data, buf.len);
	}

	resetStringInfo(&buf);
	append(&buf, target.task_token, target.task_token_len);
	if (target.task_token == NULL && target.run_id != NULL)
		append(&buf, target.run_id, strlen(target.run_id));
	*attempt = tc_siphash(buf.data, buf.len).low;
	return true;
}

SipHash
tc_activity_by_ids(SipHash seed, const char *workflow_id, size_t workflow_id_len,
				   const char *activity_id, size_t activity_id_len)
{
	StringInfoData buf;
	SipHash		result;

	initStringInfo(&buf);
	append(&buf, &seed, sizeof(seed));
	append(&buf, workflow_id, workflow_id_len);
	append(&buf, activity_id, activity_id_len);
	result = tc_siphash(buf.data, buf.len);
	pfree(buf.data);
	return result;
}

Request *
tc_chain_first(SipHash activity)
{
	Chain	   *chain = chains_lookup(chains, activity);

	return chain != NULL ? chain->first : NULL;
}

void
tc_chain_put_first(Request *request)
{
	bool		found;
	Chain	   *chain = chains_insert(chains, request->activity, &found);

	if (!found)
	{
		chain->first = chain->last = NULL;
		chain->run = 0;
	}
	link_after(chain, NULL, request);
}

/* Ids come nearly in order, so its place is near the end. */
void
tc_chain_join(Request *request)
{
	Chain	   *chain = chains_lookup(chains, request->activity);
	Request    *before = chain->last;

	while (before != chain->first && before->id > request->id)
		before = before->previous;
	link_after(chain, before, request);
}

Request *
tc_chain_leave(Request *request)
{
	Chain	   *chain = chains_lookup(chains, request->activity);
	bool		was_first;

	Assert(chain != NULL);
	was_first = chain->first == request;
	unlink_from(chain, request);
	if (chain->first == NULL)
	{
		chains_delete(chains, request->activity);
		return NULL;
	}
	if (!was_first)
		return NULL;
	choose_next(chain, request->queue);
	return chain->first;
}

/*
 * Whose turn is it, after one of that queue?  That of the first, unless its
 * queue cannot send, or its role has had very many turns: then that of another
 * role, as a role may have several queues, and its requests an order.
 */
static void
choose_next(Chain *chain, const Queue *former)
{
	Request    *first = chain->first;
	Request    *other;

	chain->run = tc_share_same_role(first->queue->account, former->account) ? chain->run + 1 : 0;
	if (can_go_on(first) && chain->run < RUN_MAX)
		return;
	chain->run = 0;
	other = next_of_others(first, false);
	if (other != NULL)
		move_first(chain, other);
}

/*
 * Can it go before the first, if that makes room?  Requests of a role have an
 * order, also those of several queues, unless one of these cannot send.
 */
static bool
can_overtake(const Request *request, const Request *first)
{
	if (request->state != REQUEST_BLOCKED || request->queue->steps_aside)
		return false;
	return first->queue->steps_aside ? request->queue != first->queue :
		!tc_share_same_role(request->queue->account, first->queue->account);
}

static bool
can_go_on(const Request *request)
{
	return !request->queue->steps_aside && !tc_was_refused_role(request);
}

/*
 * Which other one's turn is it, instead of the first one's?  Each role counts
 * with the first of its requests in the chain, however many queues it has
 * there.  If all were refused they take turns, if that is asked for.
 */
static Request *
next_of_others(Request *first, bool also_refused)
{
	const Account *refused[TURN_ROLES_MAX];
	int			nrefused = 0;
	Request    *chosen = NULL;

	for (Request *other = first->next; other != NULL && nrefused < TURN_ROLES_MAX;
		 other = other->next)
	{
		bool		is_behind = false;

		for (int i = 0; i < nrefused; i++)
			is_behind |= tc_share_same_role(refused[i], other->queue->account);
		if (is_behind || !can_overtake(other, first))
			continue;
		if (!tc_was_refused_role(other))
			return other;
		refused[nrefused++] = other->queue->account;
		if (also_refused)
			chosen = other;
	}
	return chosen;
}

bool
tc_chain_has_before(const Request *request)
{
	for (const Request *other = tc_chain_first(request->activity); other != NULL; other = other->next)
		if (other->id < request->id && !other->queue->steps_aside &&
			tc_share_same_role(other->queue->account, request->queue->account))
			return true;
	return false;
}

/* That of one that was refused comes at the pace of retries. */
Request *
tc_chain_pass_turn(Request *first)
{
	Chain	   *chain = chains_lookup(chains, first->activity);
	Request    *chosen = next_of_others(first, true);

	Assert(chain != NULL && chain->first == first);
	if (chosen != NULL)
	{
		chain->run = 0;
		move_first(chain, chosen);
	}
	return chosen;
}

static void
move_first(Chain *chain, Request *request)
{
	unlink_from(chain, request);
	link_after(chain, NULL, request);
}

/*
 * Put a request behind another one, or first of all.  A dlist would need a
 * head that stays where it is, unlike elements of a hash table.
 */
static void
link_after(Chain *chain, Request *before, Request *request)
{
	request->previous = before;
	request->next = before != NULL ? before->next : chain->first;
	if (request->next != NULL)
		request->next->previous = request;
	else
		chain->last = request;
	if (before != NULL)
		before->next = request;
	else
		chain->first = request;
}

static void
unlink_from(Chain *chain, Request *request)
{
	if (request->previous != NULL)
		request->previous->next = request->next;
	else
		chain->first = request->next;
	if (request->next != NULL)
		request->next->previous = request->previous;
	else
		chain->last = request->previous;
	request->next = request->previous = NULL;
}
