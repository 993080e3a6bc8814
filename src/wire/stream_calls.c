/*-------------------------------------------------------------------------
 *
 * stream_calls.c
 *	  Calls in flight that are streams of HTTP/2 sessions: their deadlines and
 *	  ends.
 *
 * What becomes of a call is found out beneath nghttp2 and noted; callbacks are
 * run by tc_stream_calls_tell() alone, with nothing of nghttp2 or libcurl on
 * the stack.  What a call asks, and what its answer says, is its kind's to
 * know.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/stream_calls.h"

/*
 * The server ends a call that takes longer than its timeout; we do so a
 * little later, should it not.
 */
#define DEADLINE_GRACE_MS 500

static void watch_deadline(StreamCalls *calls, StreamCall *call);
static void set_deadline_timer(StreamCalls *calls);
static StreamCall *new_call(StreamCalls *calls);
static void recycle_call(StreamCalls *calls, StreamCall *call);
static CallFate judge(StreamCall *call);
static void say(StreamCall *call, const char *fmt,...) pg_attribute_printf(2, 3);
static void finish(StreamCalls *calls, StreamCall *call, CallFate fate);

void
tc_stream_calls_init(StreamCalls *calls, const StreamKind *kind, TimerCallback deadline_passed,
					 void *arg)
{
	memset(calls, 0, sizeof(StreamCalls));
	calls->kind = kind;
	dlist_init(&calls->finished);
	for (int i = 0; i < DEADLINE_LISTS; i++)
		dlist_init(&calls->deadlines[i].calls);
	calls->deadline_passed = deadline_passed;
	calls->arg = arg;
}

void
tc_stream_calls_stop(StreamCalls *calls)
{
	tc_timer_cancel(&calls->deadline_timer);
}

bool
tc_stream_call_start(StreamCalls *calls, StreamSession *session, const Call *wanted)
{
	StreamCall *call = session != NULL ? new_call(calls) : NULL;
	const nghttp2_nv *headers;
	int			nheaders;
	CallFate	fate = CALL_NOT_PROCESSED;

	if (call == NULL)
	{
		CallResult	result = {CALL_NOT_PROCESSED, 0, "call could not be started", "", NULL, 0};

		wanted->done(wanted->arg, &result);
		return true;
	}

	call->calls = calls;
	call->session = session;
	call->channel = session->channel;
	call->call = *wanted;
	call->problem = NULL;
	nheaders = calls->kind->begin(call, &headers, &fate);
	watch_deadline(calls, call);
	if (nheaders > 0)
	{
		if (tc_http2_submit(session->http2, &call->stream, headers, nheaders))
			return true;
		say(call, "call could not be started");
	}
	finish(calls, call, fate);
	return false;
}

void
tc_stream_calls_give_up_late(StreamCalls *calls)
{
	int64		now = tc_monotonic_ms();

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *list = &calls->deadlines[i].calls;

		while (!dlist_is_empty(list))
		{
			StreamCall *call = dlist_head_element(StreamCall, node, list);
			bool		never;

			if (call->deadline > now)
				break;
			never = tc_http2_cancel(call->session->http2, &call->stream);
			say(call, never ? "the request could not be sent within %d ms"
				: "no answer within %d ms", call->call.timeout_ms);
			finish(calls, call, never ? CALL_NOT_PROCESSED : CALL_AMBIGUOUS);
		}
	}
	set_deadline_timer(calls);
}

void
tc_stream_calls_tell(StreamCalls *calls)
{
	while (!dlist_is_empty(&calls->finished))
	{
		StreamCall *call = dlist_container(StreamCall, node,
										   dlist_pop_head_node(&calls->finished));
		CallResult	result;

		calls->kind->result(call, call->fate, &result);
		call->call.done(call->call.arg, &result);
		recycle_call(calls, call);
	}
}

void
tc_stream_call_header(Http2Stream *stream, const char *name, size_t name_len, const char *value,
					  size_t value_len)
{
	StreamCall *call = (StreamCall *) stream;

	if (name_len == 4 && memcmp(name, "date", 4) == 0)
		tc_channel_tell_date(call->channel, value, value_len);
	call->calls->kind->header(call, name, name_len, value, value_len);
}

bool
tc_stream_call_data(Http2Stream *stream, const uint8 *data, size_t len)
{
	StreamCall *call = (StreamCall *) stream;

	return call->calls->kind->data(call, data, len);
}

void
tc_stream_call_over(Http2Stream *stream, Http2End end, uint32 error_code, const ChannelError *why)
{
	StreamCall *call = (StreamCall *) stream;
	CallFate	fate = CALL_AMBIGUOUS;

	if (error_code == NGHTTP2_HTTP_1_1_REQUIRED)
		call->session->wants_http1 = true;
	switch (end)
	{
		case HTTP2_ANSWERED:
			fate = judge(call);
			break;
		case HTTP2_NOT_PROCESSED:
			if (why != NULL)
				say(call, "not processed: %s", why->message);
			else
				say(call, "the request was not processed by the server");
			fate = CALL_NOT_PROCESSED;
			break;
		case HTTP2_RESET:
			if (call->problem != NULL)
				say(call, "%s", call->problem);
			else
				say(call, "the call was reset: %s", nghttp2_http2_strerror(error_code));
			break;
		case HTTP2_CONNECTION_LOST:
			if (why != NULL)
				say(call, "no answer: %s", why->message);
			else
				say(call, "no answer before the connection was closed");
			break;
	}
	finish(call->calls, call, fate);
}

static CallFate
judge(StreamCall *call)
{
	const StreamKind *kind = call->calls->kind;
	CallFate	fate;

	call->session->answered = true;
	fate = kind->judge(call);
	/* such a refusal proves that the call was not processed */
	if (fate == CALL_ANSWERED && kind->refuses_credentials(call) &&
		tc_stream_session_is_stale(call->session))
	{
		say(call, "the credentials have changed meanwhile");
		fate = CALL_NOT_PROCESSED;
	}
	return fate;
}

/*
 * Note the deadline of a call.  Calls of the same timeout end in the order in
 * which they begin, so a list for each timeout is in order by itself, and one
 * timer serves all.
 */
static void
watch_deadline(StreamCalls *calls, StreamCall *call)
{
	int			timeout_ms = call->call.timeout_ms;
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

	call->deadline = tc_monotonic_ms() + timeout_ms + DEADLINE_GRACE_MS;
	is_first = dlist_is_empty(&list->calls);
	after = is_first ? &list->calls.head : dlist_tail_node(&list->calls);
	while (after != &list->calls.head && dlist_container(StreamCall, node, after)->deadline > call->deadline)
		after = after->prev;
	dlist_insert_after(after, &call->node);

	if (!calls->deadline_timer.armed || calls->deadline_timer.when.due > call->deadline)
		tc_timer_set(&calls->deadline_timer, call->deadline, calls->deadline_passed, calls->arg);
}

static void
set_deadline_timer(StreamCalls *calls)
{
	int64		due = PG_INT64_MAX;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *list = &calls->deadlines[i].calls;

		if (!dlist_is_empty(list))
			due = Min(due, dlist_head_element(StreamCall, node, list)->deadline);
	}
	if (due < PG_INT64_MAX)
		tc_timer_set(&calls->deadline_timer, due, calls->deadline_passed, calls->arg);
}

static StreamCall *
new_call(StreamCalls *calls)
{
	StreamCall *call = *calls->kind->unused;

	if (call == NULL)
		return malloc(calls->kind->call_size);
	*calls->kind->unused = (StreamCall *) call->calls;
	return call;
}

static void
recycle_call(StreamCalls *calls, StreamCall *call)
{
	calls->kind->end(call);
	call->calls = (StreamCalls *) *calls->kind->unused;
	*calls->kind->unused = call;
}

/*
 * Our words may have in them what the other side says.
 */
static void
say(StreamCall *call, const char *fmt,...)
{
	char		words[512];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(words, sizeof(words), fmt, args);
	va_end(args);
	tc_grpc_headers_hide_secrets(call->session->headers, words);
	call->calls->kind->say(call, words);
}

/*
 * A call is over; its callback is run by tc_stream_calls_tell().
 */
static void
finish(StreamCalls *calls, StreamCall *call, CallFate fate)
{
	call->fate = fate;
	call->session = NULL;		/* it may be freed before this is told */
	dlist_delete(&call->node);
	dlist_push_tail(&calls->finished, &call->node);
}
