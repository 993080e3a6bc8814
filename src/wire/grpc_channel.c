/*-------------------------------------------------------------------------
 *
 * grpc_channel.c
 *	  gRPC channels (implements transport.h): unary calls over HTTP/2 sessions.
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
#include "wire/channel_error.h"
#include "wire/channel_options.h"
#include "wire/grpc_calls.h"
#include "wire/grpc_session.h"
#include "wire/http2.h"
#include "wire/transport.h"

/* libcurl gives up a connect by itself, and knows better why: we do so this much later. */
#define CONNECT_GRACE_MS 100

/*
 * A GOAWAY comes at the end of a connection's life.  One that comes sooner,
 * and before any call was taken, is a failure to be backed off from.
 */
#define MIN_LIFE_MS 1000

/* Sessions that the server has ended, but whose calls it lets wait, are not to be too many */
#define SESSIONS_MAX 4

struct Channel
{
	ChannelOptions options;		/* our copy */
	ChannelStateChanged changed;
	void	   *arg;
	ChannelState state;

	GrpcSession *current;		/* connecting or ready, else NULL */
	dlist_head	sessions;		/* all of them */
	GrpcCalls	calls;

	LoopTimer	connect_timer;
	LoopTimer	later;			/* something is to be told */
	ChannelError failure;		/* of a connect that failed at once */

	const char *tls_version;	/* a constant string */
	int			busy;			/* depth of functions that run callbacks */
	bool		destroyed;
};

static void hold_channel(Channel *channel);
static void release_channel(Channel *channel);
static void set_state(Channel *channel, ChannelState state, const ChannelError *error);
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
	dlist_init(&channel->sessions);
	tc_grpc_calls_init(&channel->calls, on_deadline, channel);
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
	{
		channel->current = tc_grpc_session_open(channel, &channel->options, &http2_events,
												&channel->failure);
		if (channel->current != NULL)
			dlist_push_tail(&channel->sessions, &channel->current->node);
	}
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

	dlist_foreach(iter, &unconstify(Channel *, channel)->sessions)
	{
		if (dlist_container(GrpcSession, node, iter.cur)->http2 != NULL)
			n++;
	}
	return n;
}

int
tc_channel_capacity(const Channel *channel)
{
	return channel->state == CHANNEL_READY ? tc_http2_capacity(channel->current->http2) : 0;
}

void
tc_channel_call(Channel *channel, const Call *call)
{
	if (!tc_grpc_call_start(&channel->calls,
							channel->state == CHANNEL_READY ? channel->current : NULL, call))
		tc_timer_set(&channel->later, 0, on_later, channel);
}

void
tc_channel_flush(Channel *channel)
{
	if (channel->current != NULL)
		tc_http2_flush(channel->current->http2);
}

const char *
tc_channel_tls_version(const Channel *channel)
{
	return channel->tls_version;
}

void
tc_channel_look_at_files(Channel *channel)
{
	GrpcSession *session = channel->current;

	if (channel->state != CHANNEL_READY || !tc_grpc_session_is_stale(session))
		return;
	hold_channel(channel);
	channel->current = NULL;
	channel->state = CHANNEL_IDLE;
	if (tc_http2_nstreams(session->http2) == 0)
		tc_grpc_session_close(session);
	release_channel(channel);
}

void
tc_channel_destroy(Channel *channel)
{
	dlist_mutable_iter iter;

	if (channel->destroyed)
		return;
	hold_channel(channel);
	channel->destroyed = true;
	channel->state = CHANNEL_IDLE;
	channel->current = NULL;
	tc_grpc_calls_stop(&channel->calls);
	tc_timer_cancel(&channel->connect_timer);
	tc_timer_cancel(&channel->later);
	dlist_foreach_modify(iter, &channel->sessions)
		tc_grpc_session_close(dlist_container(GrpcSession, node, iter.cur));
	tc_grpc_calls_tell(&channel->calls);
	release_channel(channel);
}

/*
 * Around what runs callbacks.  They may destroy the channel, or close sessions;
 * what that leaves is freed by the outermost release_channel().
 */
static void
hold_channel(Channel *channel)
{
	channel->busy++;
}

static void
release_channel(Channel *channel)
{
	dlist_mutable_iter iter;

	if (--channel->busy > 0)
		return;
	dlist_foreach_modify(iter, &channel->sessions)
	{
		GrpcSession *session = dlist_container(GrpcSession, node, iter.cur);

		if (session->http2 == NULL)
		{
			dlist_delete(&session->node);
			tc_grpc_session_free(session);
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
session_changed(void *arg)
{
	GrpcSession *session = arg;
	Channel    *channel = session->channel;

	hold_channel(channel);
	if (session == channel->current)
		current_changed(session);
	else if (session->http2 != NULL && tc_http2_state(session->http2) == HTTP2_LOST)
		tc_grpc_session_close(session);
	tc_grpc_calls_tell(&channel->calls);

	if (!channel->destroyed)
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
	release_channel(channel);
}

/*
 * See to the state of the session for new calls.
 */
static void
current_changed(GrpcSession *session)
{
	Channel    *channel = session->channel;
	bool		connecting = channel->state == CHANNEL_CONNECTING;
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
		channel->tls_version = tc_http2_tls_version(session->http2);
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
	Channel    *channel = arg;
	GrpcSession *session = channel->current;

	tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
					 "no HTTP/2 connection to \"%s\" within %d ms", channel->options.address,
					 channel->options.connect_timeout_ms);
	channel->current = NULL;
	hold_channel(channel);
	tc_grpc_session_close(session);
	set_state(channel, CHANNEL_FAILED, &channel->failure);
	release_channel(channel);
}

/*
 * What could not be told at once: a connect that failed, calls that could not
 * be started.
 */
static void
on_later(void *arg)
{
	Channel    *channel = arg;

	hold_channel(channel);
	if (channel->state == CHANNEL_CONNECTING && channel->current == NULL)
		set_state(channel, CHANNEL_FAILED, &channel->failure);
	tc_grpc_calls_tell(&channel->calls);
	release_channel(channel);
}

/*
 * Give up the calls whose deadline has passed.
 */
static void
on_deadline(void *arg)
{
	Channel    *channel = arg;
	dlist_iter	iter;

	hold_channel(channel);
	tc_grpc_calls_give_up_late(&channel->calls);
	tc_grpc_calls_tell(&channel->calls);

	if (!channel->destroyed)
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
	release_channel(channel);
}
