/*-------------------------------------------------------------------------
 *
 * grpc_channel.c
 *	  Channels of gRPC (a transport of channel.h): unary calls over HTTP/2
 *	  sessions.
 *
 * A channel has at most one session for new calls, and any number that drain
 * after a GOAWAY, or because the files of their credentials have changed.
 * Callbacks of calls and of the channel are run with nothing of nghttp2 or
 * libcurl on the stack, so they can start calls or destroy the channel.
 *
 * Nothing here retries.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/event_loop.h"
#include "wire/channel.h"
#include "wire/channel_error.h"
#include "wire/grpc_calls.h"
#include "wire/grpc_session.h"
#include "wire/http2.h"

/* libcurl gives up a connect by itself, and knows better why: we do so this much later. */
#define CONNECT_GRACE_MS 100

/*
 * A GOAWAY comes at the end of a connection's life.  One that comes sooner,
 * and before any call was taken, is a failure to be backed off from.
 */
#define MIN_LIFE_MS 1000

/* Sessions that the server has ended, but whose calls it lets wait, are not to be too many */
#define SESSIONS_MAX 4

typedef struct GrpcChannel
{
	Channel		channel;		/* must be first */

	GrpcSession *current;		/* connecting or ready, else NULL */
	dlist_head	sessions;		/* all of them */
	GrpcCalls	calls;

	LoopTimer	connect_timer;
	LoopTimer	later;			/* something is to be told */
	ChannelError failure;		/* of a connect that failed at once */
} GrpcChannel;

static void set_state(GrpcChannel *channel, ChannelState state, const ChannelError *error);
static void session_changed(void *arg);
static void current_changed(GrpcSession *session);
static void on_connect_timeout(void *arg);
static void on_later(void *arg);
static void on_deadline(void *arg);

static const Http2Events http2_events = {
	.header = tc_grpc_call_header,
	.data = tc_grpc_call_data,
	.over = tc_grpc_call_over,
	.changed = session_changed
};

static void
init(Channel *base)
{
	GrpcChannel *channel = (GrpcChannel *) base;

	dlist_init(&channel->sessions);
	tc_grpc_calls_init(&channel->calls, on_deadline, channel);
}

static int
sessions(const Channel *base)
{
	GrpcChannel *channel = (GrpcChannel *) base;
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &channel->sessions)
	{
		if (dlist_container(GrpcSession, node, iter.cur)->http2 != NULL)
			n++;
	}
	return n;
}

/* One connection, whatever is granted: calls are streams of it. */
static void
connect_session(Channel *base, int connections)
{
	GrpcChannel *channel = (GrpcChannel *) base;
	const ChannelOptions *options = &base->options;

	base->state = CHANNEL_CONNECTING;
	if (sessions(base) < SESSIONS_MAX)
	{
		channel->current = tc_grpc_session_open(base, options, &http2_events,
												&channel->failure);
		if (channel->current != NULL)
			dlist_push_tail(&channel->sessions, &channel->current->node);
	}
	else
		tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
						 "\"%s\" ended %d sessions without answering all calls",
						 options->address, SESSIONS_MAX);
	if (channel->current != NULL)
		tc_timer_set(&channel->connect_timer,
					 tc_monotonic_ms() + options->connect_timeout_ms + CONNECT_GRACE_MS,
					 on_connect_timeout, channel);
	else
		tc_timer_set(&channel->later, 0, on_later, channel);
}

static int
capacity(const Channel *base)
{
	return tc_http2_capacity(((const GrpcChannel *) base)->current->http2);
}

static void
call_method(Channel *base, const Call *call)
{
	GrpcChannel *channel = (GrpcChannel *) base;

	if (!tc_grpc_call_start(&channel->calls,
							base->state == CHANNEL_READY ? channel->current : NULL, call))
		tc_timer_set(&channel->later, 0, on_later, channel);
}

static void
flush(Channel *base)
{
	GrpcChannel *channel = (GrpcChannel *) base;

	if (channel->current != NULL)
		tc_http2_flush(channel->current->http2);
}

static void
look_at_files(Channel *base)
{
	GrpcChannel *channel = (GrpcChannel *) base;
	GrpcSession *session = channel->current;

	if (!tc_grpc_session_is_stale(session))
		return;
	tc_channel_hold(base);
	channel->current = NULL;
	base->state = CHANNEL_IDLE;
	if (tc_http2_nstreams(session->http2) == 0)
		tc_grpc_session_close(session);
	tc_channel_let_go(base);
}

static void
close_sessions(Channel *base)
{
	GrpcChannel *channel = (GrpcChannel *) base;
	dlist_mutable_iter iter;

	channel->current = NULL;
	tc_grpc_calls_stop(&channel->calls);
	tc_timer_cancel(&channel->connect_timer);
	tc_timer_cancel(&channel->later);
	dlist_foreach_modify(iter, &channel->sessions)
		tc_grpc_session_close(dlist_container(GrpcSession, node, iter.cur));
	tc_grpc_calls_tell(&channel->calls);
}

static void
sweep(Channel *base)
{
	GrpcChannel *channel = (GrpcChannel *) base;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &channel->sessions)
	{
		GrpcSession *session = dlist_container(GrpcSession, node, iter.cur);

		if (session->http2 == NULL)
		{
			dlist_delete(&session->node);
			tc_grpc_session_free(session);
		}
	}
}

const Transport tc_grpc_transport = {
	.size = sizeof(GrpcChannel),
	.max_connections = 1,
	.init = init,
	.connect = connect_session,
	.sessions = sessions,
	.capacity = capacity,
	.call = call_method,
	.flush = flush,
	.look_at_files = look_at_files,
	.close = close_sessions,
	.sweep = sweep
};

static void
set_state(GrpcChannel *channel, ChannelState state, const ChannelError *error)
{
	if (state != CHANNEL_CONNECTING)
		tc_timer_cancel(&channel->connect_timer);
	tc_channel_set_state(&channel->channel, state, error);
}

/*
 * Something happened in a session: see to its state, tell of the calls that
 * are over, and send what that led to.
 */
static void
session_changed(void *arg)
{
	GrpcSession *session = arg;
	GrpcChannel *channel = (GrpcChannel *) session->channel;

	tc_channel_hold(&channel->channel);
	if (session == channel->current)
		current_changed(session);
	else if (session->http2 != NULL && tc_http2_state(session->http2) == HTTP2_LOST)
		tc_grpc_session_close(session);
	tc_grpc_calls_tell(&channel->calls);

	if (!channel->channel.destroyed)
	{
		if (session->http2 != NULL)
			tc_http2_flush(session->http2);
		if (channel->current != NULL && channel->current != session)
			tc_http2_flush(channel->current->http2);

		/* A session that drains is done with when its calls are. */
		if (session != channel->current && session->http2 != NULL &&
			tc_http2_nstreams(session->http2) == 0)
			tc_grpc_session_close(session);
	}
	tc_channel_let_go(&channel->channel);
}

/*
 * See to the state of the session for new calls.
 */
static void
current_changed(GrpcSession *session)
{
	GrpcChannel *channel = (GrpcChannel *) session->channel;
	bool		connecting = channel->channel.state == CHANNEL_CONNECTING;
	Http2State	state = tc_http2_state(session->http2);
	ChannelError error;

	if (state == HTTP2_OPEN && !connecting && tc_grpc_session_was_stale(session))
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
		session->ready_at = tc_monotonic_ms();
		channel->channel.tls_version = tc_http2_tls_version(session->http2);
		tc_http2_add_expiry(session->http2, &channel->channel.expiry);
		tc_grpc_headers_add_expiry(session->headers, &channel->channel.expiry);
		set_state(channel, CHANNEL_READY, NULL);
		return;
	}

	/* The callback may start anew: the channel must be ready for that. */
	error = *tc_http2_error(session->http2);
	channel->current = NULL;
	if (state == HTTP2_LOST || connecting)
	{
		tc_grpc_session_close(session);
		set_state(channel, connecting ? CHANNEL_FAILED : CHANNEL_IDLE, &error);
	}
	else
	{
		bool		plain = tc_http2_goaway_is_plain(session->http2) &&
			(session->answered || tc_http2_nstreams(session->http2) > 0 ||
			 tc_monotonic_ms() - session->ready_at >= MIN_LIFE_MS);

		set_state(channel, CHANNEL_IDLE, plain ? NULL : &error);
	}
}

static void
on_connect_timeout(void *arg)
{
	GrpcChannel *channel = arg;
	GrpcSession *session = channel->current;

	tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
					 "no HTTP/2 connection to \"%s\" within %d ms", channel->channel.options.address,
					 channel->channel.options.connect_timeout_ms);
	channel->current = NULL;
	tc_channel_hold(&channel->channel);
	tc_grpc_session_close(session);
	set_state(channel, CHANNEL_FAILED, &channel->failure);
	tc_channel_let_go(&channel->channel);
}

/*
 * What could not be told at once: a connect that failed, calls that could not
 * be started.
 */
static void
on_later(void *arg)
{
	GrpcChannel *channel = arg;

	tc_channel_hold(&channel->channel);
	if (channel->channel.state == CHANNEL_CONNECTING && channel->current == NULL)
		set_state(channel, CHANNEL_FAILED, &channel->failure);
	tc_grpc_calls_tell(&channel->calls);
	tc_channel_let_go(&channel->channel);
}

/*
 * Give up the calls whose deadline has passed.
 */
static void
on_deadline(void *arg)
{
	GrpcChannel *channel = arg;
	dlist_iter	iter;

	tc_channel_hold(&channel->channel);
	tc_grpc_calls_give_up_late(&channel->calls);
	tc_grpc_calls_tell(&channel->calls);

	if (!channel->channel.destroyed)
	{
		dlist_foreach(iter, &channel->sessions)
		{
			GrpcSession *session = dlist_container(GrpcSession, node, iter.cur);

			if (session->http2 == NULL)
				continue;
			tc_http2_flush(session->http2);
			if (session != channel->current && tc_http2_nstreams(session->http2) == 0)
				tc_grpc_session_close(session);
		}
	}
	tc_channel_let_go(&channel->channel);
}
