/*-------------------------------------------------------------------------
 *
 * grpc.c
 *	  gRPC channels: unary calls over HTTP/2 sessions (implements transport.h).
 *
 * A channel has at most one session for new calls, and any number that drain
 * after a GOAWAY, or because the files of their credentials have changed.  What becomes of a call is found out beneath nghttp2 and
 * noted; the callbacks of calls and of the channel are run afterwards, with
 * nothing of nghttp2 or libcurl on the stack, so they can start calls or
 * destroy the channel.
 *
 * What an answer says is judged by grpc_answer.c.  Nothing here retries.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/event_loop.h"
#include "wire/grpc_answer.h"
#include "wire/grpc_headers.h"
#include "wire/grpc_reply.h"
#include "wire/http2.h"
#include "wire/support.h"
#include "wire/transport.h"

/*
 * The server ends a call that takes longer than its timeout; we do so a
 * little later, should it not.
 */
#define DEADLINE_GRACE_MS 500

/* Likewise, libcurl gives up a connect by itself, and knows better why. */
#define CONNECT_GRACE_MS 100

/*
 * A GOAWAY comes at the end of a connection's life.  One that comes sooner,
 * and before any call was taken, is a failure to be backed off from.
 */
#define MIN_LIFE_MS 1000

/* Sessions that the server has ended, but whose calls it lets wait, are not to be too many */
#define SESSIONS_MAX 4

/* Lists of calls by timeout; more timeouts than this share lists */
#define DEADLINE_LISTS 8

/* A session, and what the channel knows of it */
typedef struct Link
{
	dlist_node	node;			/* among the channel's links */
	Channel    *channel;
	Http2Session *session;		/* NULL = closed, to be freed */
	bool		answered;		/* a call was answered */
	int64		ready_at;
	uint64		files;			/* stamp of the files that were read for it */
	bool		stale;			/* they have changed since */
	GrpcHeaders *headers;		/* of its requests */
} Link;

/* A call in flight */
typedef struct Rpc
{
	Http2Stream stream;			/* must be first */
	dlist_node	node;			/* by deadline, then among finished ones */
	Link	   *link;
	Call		call;
	int64		deadline;
	uint8		prefix[GRPC_PREFIX_SIZE];
	GrpcAnswer	answer;
	CallFate	fate;			/* once finished */
} Rpc;

typedef struct DeadlineList
{
	int			timeout_ms;
	dlist_head	rpcs;			/* in order of their deadlines */
} DeadlineList;

struct Channel
{
	ChannelOptions options;		/* our copy */
	ChannelStateChanged changed;
	void	   *arg;
	ChannelState state;

	Link	   *current;		/* connecting or ready, else NULL */
	dlist_head	links;			/* all of them */
	dlist_head	finished;		/* calls whose callbacks are to be run */
	size_t		held;			/* by the answers of all calls */

	DeadlineList deadlines[DEADLINE_LISTS];
	LoopTimer	deadline_timer;
	LoopTimer	connect_timer;
	LoopTimer	later;			/* something is to be told */
	ChannelError failure;		/* of a connect that failed at once */

	const char *tls_version;	/* a constant string */
	int			busy;			/* depth of functions that run callbacks */
	bool		destroyed;
};

/* Of all channels, chained by link, for reuse */
static Rpc *unused;

static Link *open_link(Channel *channel, ChannelError *error);
static void close_link(Link *link);
static bool is_stale(Link *link);
static void enter(Channel *channel);
static void leave(Channel *channel);
static void set_state(Channel *channel, ChannelState state, const ChannelError *error);
static void link_changed(void *arg);
static void current_changed(Link *link);
static void on_connect_timeout(void *arg);
static void on_later(void *arg);
static void on_deadline(void *arg);
static void watch_deadline(Channel *channel, Rpc *rpc);
static void set_deadline_timer(Channel *channel);
static Rpc *new_rpc(const Call *call);
static void recycle_rpc(Channel *channel, Rpc *rpc);
static void finish(Channel *channel, Rpc *rpc, CallFate fate);
static void run_finished(Channel *channel);
static void rpc_header(Http2Stream *stream, const char *name, size_t name_len,
					   const char *value, size_t value_len);
static bool rpc_data(Http2Stream *stream, const uint8 *data, size_t len);
static void rpc_over(Http2Stream *stream, Http2End end, uint32 error_code,
					 const ChannelError *why);

static const Http2Events http2_events = {rpc_header, rpc_data, rpc_over, link_changed};

Channel *
tc_channel_create(const ChannelOptions *options, ChannelStateChanged changed, void *arg)
{
	Channel    *channel = calloc(1, sizeof(Channel));

	if (channel == NULL || !tc_channel_options_copy(&channel->options, options))
	{
		free(channel);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	channel->changed = changed;
	channel->arg = arg;
	channel->state = CHANNEL_IDLE;
	dlist_init(&channel->links);
	dlist_init(&channel->finished);
	for (int i = 0; i < DEADLINE_LISTS; i++)
		dlist_init(&channel->deadlines[i].rpcs);
	return channel;
}

void
tc_channel_connect(Channel *channel)
{
	if (channel->destroyed ||
		channel->state == CHANNEL_CONNECTING || channel->state == CHANNEL_READY)
		return;

	channel->state = CHANNEL_CONNECTING;
	if (tc_channel_sessions(channel) < SESSIONS_MAX)
		channel->current = open_link(channel, &channel->failure);
	else
		tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
						 "\"%s\" ended %d sessions without answering all calls",
						 channel->options.address, SESSIONS_MAX);
	if (channel->current != NULL)
		tc_timer_set(&channel->connect_timer,
					 tc_monotonic_ms() + channel->options.connect_timeout_ms + CONNECT_GRACE_MS,
					 on_connect_timeout, channel);
	else
		tc_timer_set(&channel->later, 0, on_later, channel);
}

ChannelState
tc_channel_state(const Channel *channel)
{
	return channel->state;
}

int
tc_channel_sessions(const Channel *channel)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &unconstify(Channel *, channel)->links)
		if (dlist_container(Link, node, iter.cur)->session != NULL)
			n++;
	return n;
}

int
tc_channel_capacity(const Channel *channel)
{
	return channel->state == CHANNEL_READY ? tc_http2_capacity(channel->current->session) : 0;
}

void
tc_channel_call(Channel *channel, const Call *call)
{
	Link	   *link = channel->current;
	Rpc		   *rpc = NULL;
	const nghttp2_nv *headers;
	int			nheaders;
	char		timeout[GRPC_TIMEOUT_SIZE];
	uint32		len = (uint32) call->message_len;

	if (channel->state == CHANNEL_READY)
		rpc = new_rpc(call);
	if (rpc == NULL)
	{
		CallResult	result = {CALL_NOT_PROCESSED, 0, "call could not be started", "", NULL, 0};

		call->done(call->arg, &result);
		return;
	}

	rpc->link = link;
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

	nheaders = tc_grpc_headers_of_call(link->headers, call, timeout, &headers);
	watch_deadline(channel, rpc);
	if (!tc_http2_submit(link->session, &rpc->stream, headers, nheaders))
	{
		tc_grpc_answer_say(&rpc->answer, "call could not be started");
		finish(channel, rpc, CALL_NOT_PROCESSED);
		tc_timer_set(&channel->later, 0, on_later, channel);
	}
}

void
tc_channel_flush(Channel *channel)
{
	if (channel->current != NULL)
		tc_http2_flush(channel->current->session);
}

const char *
tc_channel_tls_version(const Channel *channel)
{
	return channel->tls_version;
}

void
tc_channel_look_at_files(Channel *channel)
{
	Link	   *link = channel->current;

	if (channel->state != CHANNEL_READY || !is_stale(link))
		return;
	enter(channel);
	channel->current = NULL;
	channel->state = CHANNEL_IDLE;
	if (tc_http2_nstreams(link->session) == 0)
		close_link(link);
	leave(channel);
}

void
tc_channel_destroy(Channel *channel)
{
	dlist_mutable_iter iter;

	if (channel->destroyed)
		return;
	enter(channel);
	channel->destroyed = true;
	channel->state = CHANNEL_IDLE;
	channel->current = NULL;
	tc_timer_cancel(&channel->deadline_timer);
	tc_timer_cancel(&channel->connect_timer);
	tc_timer_cancel(&channel->later);
	dlist_foreach_modify(iter, &channel->links)
		close_link(dlist_container(Link, node, iter.cur));
	run_finished(channel);
	leave(channel);
}

/*
 * Open a session for new calls; NULL, with *error filled in, if that cannot
 * even be tried.
 */
static Link *
open_link(Channel *channel, ChannelError *error)
{
	Link	   *link = calloc(1, sizeof(Link));

	if (link == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return NULL;
	}
	link->channel = channel;
	link->files = tc_channel_files_stamp(&channel->options);
	link->headers = tc_grpc_headers_make(&channel->options, error);
	if (link->headers == NULL)
	{
		free(link);
		return NULL;
	}
	link->session = tc_http2_open(&channel->options, &http2_events, link);
	if (link->session == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		tc_grpc_headers_free(link->headers);
		free(link);
		return NULL;
	}
	dlist_push_tail(&channel->links, &link->node);
	return link;
}

/*
 * Close the session of a link; its calls end.  The link is freed when
 * nothing can refer to it any more.
 */
static void
close_link(Link *link)
{
	Http2Session *session = link->session;

	link->session = NULL;
	if (session != NULL)
		tc_http2_close(session);
}

/*
 * Have the files from which a link has its credentials changed?
 */
static bool
is_stale(Link *link)
{
	if (!link->stale && link->files != 0)
		link->stale = tc_channel_files_stamp(&link->channel->options) != link->files;
	return link->stale;
}

/*
 * Callbacks may destroy the channel, or close links; what they leave is freed
 * when the outermost function that runs callbacks is left.
 */
static void
enter(Channel *channel)
{
	channel->busy++;
}

static void
leave(Channel *channel)
{
	dlist_mutable_iter iter;

	if (--channel->busy > 0)
		return;
	dlist_foreach_modify(iter, &channel->links)
	{
		Link	   *link = dlist_container(Link, node, iter.cur);

		if (link->session == NULL)
		{
			dlist_delete(&link->node);
			tc_grpc_headers_free(link->headers);
			free(link);
		}
	}
	if (!channel->destroyed)
		return;
	tc_channel_options_free(&channel->options);
	free(channel);
}

static void
set_state(Channel *channel, ChannelState state, const ChannelError *error)
{
	channel->state = state;
	if (state != CHANNEL_CONNECTING)
		tc_timer_cancel(&channel->connect_timer);
	channel->changed(channel->arg, channel, state, error);
}

/*
 * Something happened in a session: see to its state, tell of the calls that
 * are over, and send what that led to.
 */
static void
link_changed(void *arg)
{
	Link	   *link = arg;
	Channel    *channel = link->channel;

	enter(channel);
	if (link == channel->current)
		current_changed(link);
	else if (link->session != NULL && tc_http2_state(link->session) == HTTP2_LOST)
		close_link(link);
	run_finished(channel);

	if (!channel->destroyed)
	{
		if (link->session != NULL)
			tc_http2_flush(link->session);
		if (channel->current != NULL && channel->current != link)
			tc_http2_flush(channel->current->session);

		/* A session that drains is done with when its calls are. */
		if (link != channel->current && link->session != NULL &&
			tc_http2_nstreams(link->session) == 0)
			close_link(link);
	}
	leave(channel);
}

/*
 * See to the state of the session for new calls.
 */
static void
current_changed(Link *link)
{
	Channel    *channel = link->channel;
	bool		connecting = channel->state == CHANNEL_CONNECTING;
	Http2State	state = tc_http2_state(link->session);
	ChannelError error;

	if (state == HTTP2_OPEN && !connecting && link->stale)
	{
		/* What is in flight goes on behind it. */
		channel->current = NULL;
		set_state(channel, CHANNEL_IDLE, NULL);
		return;
	}
	if (state == HTTP2_CONNECTING || (state == HTTP2_OPEN && !connecting))
		return;

	if (state == HTTP2_OPEN)
	{
		link->ready_at = tc_monotonic_ms();
		channel->tls_version = tc_http2_tls_version(link->session);
		set_state(channel, CHANNEL_READY, NULL);
		return;
	}

	/* The callback may start anew: the channel must be ready for that. */
	error = *tc_http2_error(link->session);
	channel->current = NULL;
	if (state == HTTP2_LOST || connecting)
	{
		close_link(link);
		set_state(channel, connecting ? CHANNEL_FAILED : CHANNEL_IDLE, &error);
	}
	else
	{
		bool		plain = tc_http2_goaway_is_plain(link->session) &&
			(link->answered || tc_http2_nstreams(link->session) > 0 ||
			 tc_monotonic_ms() - link->ready_at >= MIN_LIFE_MS);

		set_state(channel, CHANNEL_IDLE, plain ? NULL : &error);
	}
}

static void
on_connect_timeout(void *arg)
{
	Channel    *channel = arg;
	Link	   *link = channel->current;

	tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
					 "no HTTP/2 connection to \"%s\" within %d ms", channel->options.address,
					 channel->options.connect_timeout_ms);
	channel->current = NULL;
	enter(channel);
	close_link(link);
	set_state(channel, CHANNEL_FAILED, &channel->failure);
	leave(channel);
}

/*
 * What could not be told at once: a connect that failed, calls that could not
 * be started.
 */
static void
on_later(void *arg)
{
	Channel    *channel = arg;

	enter(channel);
	if (channel->state == CHANNEL_CONNECTING && channel->current == NULL)
		set_state(channel, CHANNEL_FAILED, &channel->failure);
	run_finished(channel);
	leave(channel);
}

/*
 * Note the deadline of a call.  Calls of the same timeout end in the order in
 * which they begin, so a list for each timeout is in order by itself, and one
 * timer serves all.
 */
static void
watch_deadline(Channel *channel, Rpc *rpc)
{
	int			timeout_ms = rpc->call.timeout_ms;
	DeadlineList *list = NULL;
	dlist_node *after;
	bool		is_first;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		DeadlineList *candidate = &channel->deadlines[i];

		if (candidate->timeout_ms == timeout_ms)
		{
			list = candidate;
			break;
		}
		if (list == NULL && dlist_is_empty(&candidate->rpcs))
			list = candidate;
	}
	if (list == NULL)
		list = &channel->deadlines[timeout_ms % DEADLINE_LISTS];
	else
		list->timeout_ms = timeout_ms;

	rpc->deadline = tc_monotonic_ms() + timeout_ms + DEADLINE_GRACE_MS;
	is_first = dlist_is_empty(&list->rpcs);
	after = is_first ? &list->rpcs.head : dlist_tail_node(&list->rpcs);
	while (after != &list->rpcs.head && dlist_container(Rpc, node, after)->deadline > rpc->deadline)
		after = after->prev;
	dlist_insert_after(after, &rpc->node);

	if (!channel->deadline_timer.armed || channel->deadline_timer.due > rpc->deadline)
		tc_timer_set(&channel->deadline_timer, rpc->deadline, on_deadline, channel);
}

static void
set_deadline_timer(Channel *channel)
{
	int64		due = PG_INT64_MAX;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *rpcs = &channel->deadlines[i].rpcs;

		if (!dlist_is_empty(rpcs))
			due = Min(due, dlist_head_element(Rpc, node, rpcs)->deadline);
	}
	if (due < PG_INT64_MAX)
		tc_timer_set(&channel->deadline_timer, due, on_deadline, channel);
}

/*
 * Give up the calls whose deadline has passed.
 */
static void
on_deadline(void *arg)
{
	Channel    *channel = arg;
	int64		now = tc_monotonic_ms();
	dlist_iter	iter;

	enter(channel);
	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *rpcs = &channel->deadlines[i].rpcs;

		while (!dlist_is_empty(rpcs))
		{
			Rpc		   *rpc = dlist_head_element(Rpc, node, rpcs);
			bool		never;

			if (rpc->deadline > now)
				break;
			never = tc_http2_cancel(rpc->link->session, &rpc->stream);
			tc_grpc_answer_say(&rpc->answer, never ? "the request could not be sent within %d ms"
							   : "no answer within %d ms", rpc->call.timeout_ms);
			finish(channel, rpc, never ? CALL_NOT_PROCESSED : CALL_AMBIGUOUS);
		}
	}
	set_deadline_timer(channel);
	run_finished(channel);

	if (!channel->destroyed)
	{
		dlist_foreach(iter, &channel->links)
		{
			Link	   *link = dlist_container(Link, node, iter.cur);

			if (link->session == NULL)
				continue;
			tc_http2_flush(link->session);
			if (link != channel->current && tc_http2_nstreams(link->session) == 0)
				close_link(link);
		}
	}
	leave(channel);
}

static Rpc *
new_rpc(const Call *call)
{
	Rpc		   *rpc = unused;

	if (rpc != NULL)
		unused = (Rpc *) rpc->link;
	else
		rpc = malloc(sizeof(Rpc));
	if (rpc == NULL)
		return NULL;
	tc_grpc_answer_init(&rpc->answer, call->max_reply);
	return rpc;
}

static void
recycle_rpc(Channel *channel, Rpc *rpc)
{
	tc_grpc_answer_free(&rpc->answer, &channel->held);
	rpc->link = (Link *) unused;
	unused = rpc;
}

/*
 * A call is over; its callback is run by run_finished().
 */
static void
finish(Channel *channel, Rpc *rpc, CallFate fate)
{
	rpc->fate = fate;
	dlist_delete(&rpc->node);
	dlist_push_tail(&channel->finished, &rpc->node);
}

static void
run_finished(Channel *channel)
{
	while (!dlist_is_empty(&channel->finished))
	{
		Rpc		   *rpc = dlist_container(Rpc, node, dlist_pop_head_node(&channel->finished));
		CallResult	result;

		tc_grpc_answer_result(&rpc->answer, rpc->fate, &result);
		rpc->call.done(rpc->call.arg, &result);
		recycle_rpc(channel, rpc);
	}
}

static void
rpc_header(Http2Stream *stream, const char *name, size_t name_len, const char *value,
		   size_t value_len)
{
	Rpc		   *rpc = (Rpc *) stream;

	tc_grpc_answer_header(&rpc->answer, name, name_len, value, value_len, &rpc->link->channel->held);
}

static bool
rpc_data(Http2Stream *stream, const uint8 *data, size_t len)
{
	Rpc		   *rpc = (Rpc *) stream;

	return tc_grpc_answer_data(&rpc->answer, data, len, &rpc->link->channel->held);
}

static void
rpc_over(Http2Stream *stream, Http2End end, uint32 error_code, const ChannelError *why)
{
	Rpc		   *rpc = (Rpc *) stream;
	Channel    *channel = rpc->link->channel;
	CallFate	fate = CALL_AMBIGUOUS;

	switch (end)
	{
		case HTTP2_ANSWERED:
			rpc->link->answered = true;
			fate = tc_grpc_answer_judge(&rpc->answer);
			tc_grpc_headers_hide_secrets(rpc->link->headers, rpc->answer.message);
			/* such a refusal proves that the call was not processed */
			if (fate == CALL_ANSWERED && tc_grpc_answer_refuses_credentials(&rpc->answer) &&
				is_stale(rpc->link))
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
	finish(channel, rpc, fate);
}
