/*-------------------------------------------------------------------------
 *
 * grpc_calls.c
 *	  The calls in flight of a channel: their deadlines, answers and ends.
 *
 * What becomes of a call is found out beneath nghttp2 and noted; callbacks are
 * run by tc_grpc_calls_tell() alone, with nothing of nghttp2 or libcurl on the
 * stack.  What an answer says is judged by grpc_answer.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/grpc_answer.h"
#include "wire/grpc_calls.h"
#include "wire/grpc_reply.h"

/*
 * The server ends a call that takes longer than its timeout; we do so a
 * little later, should it not.
 */
#define DEADLINE_GRACE_MS 500

/* A call in flight */
typedef struct Rpc
{
	Http2Stream stream;			/* must be first */
	dlist_node	node;			/* by deadline, then among finished ones */
	GrpcCalls  *calls;
	GrpcSession *session;
	Call		call;
	int64		deadline;
	uint8		prefix[GRPC_PREFIX_SIZE];
	GrpcAnswer	answer;
	CallFate	fate;			/* once finished */
} Rpc;

/* Of all channels, chained by calls, for reuse */
static Rpc *unused;

static void watch_deadline(GrpcCalls *calls, Rpc *rpc);
static void set_deadline_timer(GrpcCalls *calls);
static Rpc *new_rpc(const Call *call);
static void recycle_rpc(GrpcCalls *calls, Rpc *rpc);
static void finish(GrpcCalls *calls, Rpc *rpc, CallFate fate);

void
tc_grpc_calls_init(GrpcCalls *calls, TimerCallback deadline_passed, void *arg)
{
	memset(calls, 0, sizeof(GrpcCalls));
	dlist_init(&calls->finished);
	for (int i = 0; i < DEADLINE_LISTS; i++)
		dlist_init(&calls->deadlines[i].calls);
	calls->deadline_passed = deadline_passed;
	calls->arg = arg;
}

void
tc_grpc_calls_stop(GrpcCalls *calls)
{
	tc_timer_cancel(&calls->deadline_timer);
}

bool
tc_grpc_call_start(GrpcCalls *calls, GrpcSession *session, const Call *call)
{
	Rpc		   *rpc = NULL;
	const nghttp2_nv *headers;
	int			nheaders;
	char		timeout[GRPC_TIMEOUT_SIZE];
	uint32		len = (uint32) call->message_len;

	if (session != NULL)
		rpc = new_rpc(call);
	if (rpc == NULL)
	{
		CallResult	result = {CALL_NOT_PROCESSED, 0, "call could not be started", "", NULL, 0};

		call->done(call->arg, &result);
		return true;
	}

	rpc->calls = calls;
	rpc->session = session;
	rpc->call = *call;
	rpc->prefix[0] = 0;
	rpc->prefix[1] = (uint8) (len >> 24);
	rpc->prefix[2] = (uint8) (len >> 16);
	rpc->prefix[3] = (uint8) (len >> 8);
	rpc->prefix[4] = (uint8) len;
	rpc->stream.body[0].data = rpc->prefix;
	rpc->stream.body[0].len = GRPC_PREFIX_SIZE;
	rpc->stream.body[1].data = call->message;
	rpc->stream.body[1].len = call->message_len;

	nheaders = tc_grpc_headers_of_call(session->headers, call, timeout, &headers);
	watch_deadline(calls, rpc);
	if (tc_http2_submit(session->http2, &rpc->stream, headers, nheaders))
		return true;
	tc_grpc_answer_say(&rpc->answer, "call could not be started");
	finish(calls, rpc, CALL_NOT_PROCESSED);
	return false;
}

void
tc_grpc_calls_give_up_late(GrpcCalls *calls)
{
	int64		now = tc_monotonic_ms();

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *list = &calls->deadlines[i].calls;

		while (!dlist_is_empty(list))
		{
			Rpc		   *rpc = dlist_head_element(Rpc, node, list);
			bool		never;

			if (rpc->deadline > now)
				break;
			never = tc_http2_cancel(rpc->session->http2, &rpc->stream);
			tc_grpc_answer_say(&rpc->answer, never ? "the request could not be sent within %d ms"
							   : "no answer within %d ms", rpc->call.timeout_ms);
			finish(calls, rpc, never ? CALL_NOT_PROCESSED : CALL_AMBIGUOUS);
		}
	}
	set_deadline_timer(calls);
}

void
tc_grpc_calls_tell(GrpcCalls *calls)
{
	while (!dlist_is_empty(&calls->finished))
	{
		Rpc		   *rpc = dlist_container(Rpc, node, dlist_pop_head_node(&calls->finished));
		CallResult	result;

		tc_grpc_answer_result(&rpc->answer, rpc->fate, &result);
		rpc->call.done(rpc->call.arg, &result);
		recycle_rpc(calls, rpc);
	}
}

void
tc_grpc_call_header(Http2Stream *stream, const char *name, size_t name_len, const char *value,
					size_t value_len)
{
	Rpc		   *rpc = (Rpc *) stream;

	if (name_len == 4 && memcmp(name, "date", 4) == 0)
		tc_channel_tell_date(rpc->session->channel, value, value_len);
	tc_grpc_answer_header(&rpc->answer, name, name_len, value, value_len, &rpc->calls->held);
}

bool
tc_grpc_call_data(Http2Stream *stream, const uint8 *data, size_t len)
{
	Rpc		   *rpc = (Rpc *) stream;

	return tc_grpc_answer_data(&rpc->answer, data, len, &rpc->calls->held);
}

void
tc_grpc_call_over(Http2Stream *stream, Http2End end, uint32 error_code, const ChannelError *why)
{
	Rpc		   *rpc = (Rpc *) stream;
	CallFate	fate = CALL_AMBIGUOUS;

	switch (end)
	{
		case HTTP2_ANSWERED:
			rpc->session->answered = true;
			fate = tc_grpc_answer_judge(&rpc->answer);
			tc_grpc_headers_hide_secrets(rpc->session->headers, rpc->answer.message);
			/* such a refusal proves that the call was not processed */
			if (fate == CALL_ANSWERED && tc_grpc_answer_refuses_credentials(&rpc->answer) &&
				tc_grpc_session_is_stale(rpc->session))
			{
				tc_grpc_answer_say(&rpc->answer, "the credentials have changed meanwhile");
				fate = CALL_NOT_PROCESSED;
			}
			break;
		case HTTP2_NOT_PROCESSED:
			if (why != NULL)
				tc_grpc_answer_say(&rpc->answer, "not processed: %s", why->message);
			else
				tc_grpc_answer_say(&rpc->answer, "the request was not processed by the server");
			fate = CALL_NOT_PROCESSED;
			break;
		case HTTP2_RESET:
			if (rpc->answer.reply_problem != NULL)
				tc_grpc_answer_say(&rpc->answer, "%s", rpc->answer.reply_problem);
			else
				tc_grpc_answer_say(&rpc->answer, "the call was reset: %s",
								   nghttp2_http2_strerror(error_code));
			break;
		case HTTP2_CONNECTION_LOST:
			if (why != NULL)
				tc_grpc_answer_say(&rpc->answer, "no answer: %s", why->message);
			else
				tc_grpc_answer_say(&rpc->answer, "no answer before the connection was closed");
			break;
	}
	finish(rpc->calls, rpc, fate);
}

/*
 * Note the deadline of a call.  Calls of the same timeout end in the order in
 * which they begin, so a list for each timeout is in order by itself, and one
 * timer serves all.
 */
static void
watch_deadline(GrpcCalls *calls, Rpc *rpc)
{
	int			timeout_ms = rpc->call.timeout_ms;
	DeadlineList *list = NULL;
	dlist_node *after;
	bool		is_first;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		DeadlineList *candidate = &calls->deadlines[i];

		if (candidate->timeout_ms == timeout_ms)
		{
			list = candidate;
			break;
		}
		if (list == NULL && dlist_is_empty(&candidate->calls))
			list = candidate;
	}
	if (list == NULL)
		list = &calls->deadlines[timeout_ms % DEADLINE_LISTS];
	else
		list->timeout_ms = timeout_ms;

	rpc->deadline = tc_monotonic_ms() + timeout_ms + DEADLINE_GRACE_MS;
	is_first = dlist_is_empty(&list->calls);
	after = is_first ? &list->calls.head : dlist_tail_node(&list->calls);
	while (after != &list->calls.head && dlist_container(Rpc, node, after)->deadline > rpc->deadline)
		after = after->prev;
	dlist_insert_after(after, &rpc->node);

	if (!calls->deadline_timer.armed || calls->deadline_timer.when.due > rpc->deadline)
		tc_timer_set(&calls->deadline_timer, rpc->deadline, calls->deadline_passed, calls->arg);
}

static void
set_deadline_timer(GrpcCalls *calls)
{
	int64		due = PG_INT64_MAX;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *list = &calls->deadlines[i].calls;

		if (!dlist_is_empty(list))
			due = Min(due, dlist_head_element(Rpc, node, list)->deadline);
	}
	if (due < PG_INT64_MAX)
		tc_timer_set(&calls->deadline_timer, due, calls->deadline_passed, calls->arg);
}

static Rpc *
new_rpc(const Call *call)
{
	Rpc		   *rpc = unused;

	if (rpc != NULL)
		unused = (Rpc *) rpc->calls;
	else
		rpc = malloc(sizeof(Rpc));
	if (rpc == NULL)
		return NULL;
	tc_grpc_answer_init(&rpc->answer, call->max_reply);
	return rpc;
}

static void
recycle_rpc(GrpcCalls *calls, Rpc *rpc)
{
	tc_grpc_answer_free(&rpc->answer, &calls->held);
	rpc->calls = (GrpcCalls *) unused;
	unused = rpc;
}

/*
 * A call is over; its callback is run by tc_grpc_calls_tell().
 */
static void
finish(GrpcCalls *calls, Rpc *rpc, CallFate fate)
{
	rpc->fate = fate;
	dlist_delete(&rpc->node);
	dlist_push_tail(&calls->finished, &rpc->node);
}
