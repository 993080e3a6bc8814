/*-------------------------------------------------------------------------
 *
 * streams.c
 *	  The HTTP/2 sessions of a channel, and its calls, which are streams of
 *	  them.
 *
 * There is at most one session for new calls, and any number that drain after
 * a GOAWAY, or because the files of their credentials have changed.  Callbacks
 * of calls and of the channel are run with nothing of nghttp2 or libcurl on
 * the stack, so they can start calls or destroy the channel.
 *
 * Nothing here retries, or knows what calls say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/event_loop.h"
#include "wire/channel_error.h"
#include "wire/http2.h"
#include "wire/streams.h"

/* libcurl gives up a connect by itself, and knows better why: we do so this much later. */
#define CONNECT_GRACE_MS 100

/*
 * A GOAWAY comes at the end of a connection's life.  One that comes sooner,
 * and before any call was taken, is a failure to be backed off from.
 */
#define MIN_LIFE_MS 1000

/* Sessions that the server has ended, but whose calls it lets wait, are not to be too many */
#define SESSIONS_MAX 4

static bool open_session(Streams *streams);
static void session_changed(void *arg);
static void current_changed(StreamSession *session);
static void current_ended(StreamSession *session, Http2State state);
static void on_connect_timeout(void *arg);
static void on_later(void *arg);
static void on_deadline(void *arg);

static const Http2Events http2_events = {
	.header = tc_stream_call_header,
	.data = tc_stream_call_data,
	.over = tc_stream_call_over,
	.changed = session_changed
};

void
tc_streams_init(Streams *streams, Channel *channel, const StreamKind *kind,
				void (*opened) (Channel *channel),
				void (*failed) (Channel *channel, const ChannelError *error, bool wants_http1))
{
	streams->channel = channel;
	streams->opened = opened;
	streams->failed = failed;
	dlist_init(&streams->sessions);
	tc_stream_calls_init(&streams->calls, kind, on_deadline, streams);
}

void
tc_streams_connect(Streams *streams)
{
	if (open_session(streams))
		tc_timer_set(&streams->connect_timer,
					 tc_monotonic_ms() + streams->channel->options.connect_timeout_ms + CONNECT_GRACE_MS,
					 on_connect_timeout, streams);
	else
	{
		streams->refused = true;
		tc_timer_set(&streams->later, 0, on_later, streams);
	}
}

static bool
open_session(Streams *streams)
{
	Channel    *channel = streams->channel;
	const StreamKind *kind = streams->calls.kind;
	StreamSession *session;

	if (tc_streams_sessions(streams) >= SESSIONS_MAX)
	{
		tc_channel_error(&streams->failure, TC_ERROR_CONNECTION_FAILED, false,
						 "\"%s\" ended %d sessions without answering all calls",
						 channel->options.address, SESSIONS_MAX);
		return false;
	}
	session = tc_stream_session_open(channel, &channel->options, &http2_events, &streams->failure);
	if (session == NULL)
		return false;
	session->streams = streams;
	dlist_push_tail(&streams->sessions, &session->node);
	if (kind->open != NULL && (session->own = kind->open(session)) == NULL)
	{
		tc_channel_error(&streams->failure, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		tc_channel_hold(channel);
		tc_stream_session_close(session);
		tc_channel_let_go(channel);
		return false;
	}
	streams->current = session;
	return true;
}

void
tc_streams_leave(Streams *streams)
{
	StreamSession *session = streams->current;

	tc_channel_hold(streams->channel);
	streams->current = NULL;
	tc_timer_cancel(&streams->connect_timer);
	if (session != NULL && session->http2 != NULL && tc_http2_nstreams(session->http2) == 0)
		tc_stream_session_close(session);
	tc_channel_let_go(streams->channel);
}

int
tc_streams_sessions(const Streams *streams)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, (dlist_head *) &streams->sessions)
	{
		if (dlist_container(StreamSession, node, iter.cur)->http2 != NULL)
			n++;
	}
	return n;
}

int
tc_streams_capacity(const Streams *streams)
{
	return tc_http2_capacity(streams->current->http2);
}

void
tc_streams_call(Streams *streams, const Call *call)
{
	StreamSession *session = streams->current;

	if (!tc_stream_call_start(&streams->calls, session != NULL && session->opened ? session : NULL,
							  call))
		tc_timer_set(&streams->later, 0, on_later, streams);
}

void
tc_streams_flush(Streams *streams)
{
	if (streams->current != NULL)
		tc_http2_flush(streams->current->http2);
}

void
tc_streams_look_at_files(Streams *streams)
{
	if (!tc_stream_session_is_stale(streams->current))
		return;
	streams->channel->state = CHANNEL_IDLE;
	tc_streams_leave(streams);
}

void
tc_streams_close(Streams *streams)
{
	dlist_mutable_iter iter;

	streams->current = NULL;
	tc_stream_calls_stop(&streams->calls);
	tc_timer_cancel(&streams->connect_timer);
	tc_timer_cancel(&streams->later);
	dlist_foreach_modify(iter, &streams->sessions)
		tc_stream_session_close(dlist_container(StreamSession, node, iter.cur));
	tc_stream_calls_tell(&streams->calls);
}

void
tc_streams_sweep(Streams *streams)
{
	const StreamKind *kind = streams->calls.kind;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &streams->sessions)
	{
		StreamSession *session = dlist_container(StreamSession, node, iter.cur);

		if (session->http2 == NULL)
		{
			dlist_delete(&session->node);
			if (session->own != NULL)
				kind->close(session->own);
			tc_stream_session_free(session);
		}
	}
}

/*
 * Something happened in a session: see to its state, tell of the calls that
 * are over, and send what that led to.
 */
static void
session_changed(void *arg)
{
	StreamSession *session = arg;
	Streams    *streams = session->streams;
	Channel    *channel = streams->channel;

	tc_channel_hold(channel);
	if (session == streams->current)
		current_changed(session);
	else if (session->http2 != NULL && tc_http2_state(session->http2) == HTTP2_LOST)
		tc_stream_session_close(session);
	tc_stream_calls_tell(&streams->calls);

	if (!channel->destroyed)
	{
		if (session->http2 != NULL)
			tc_http2_flush(session->http2);
		if (streams->current != NULL && streams->current != session)
			tc_http2_flush(streams->current->http2);

		/* A session that drains is done with when its calls are. */
		if (session != streams->current && session->http2 != NULL &&
			tc_http2_nstreams(session->http2) == 0)
			tc_stream_session_close(session);
	}
	tc_channel_let_go(channel);
}

/*
 * See to the state of the session for new calls.
 */
static void
current_changed(StreamSession *session)
{
	Streams    *streams = session->streams;
	Channel    *channel = streams->channel;
	Http2State	state = tc_http2_state(session->http2);

	if (state == HTTP2_LOST || state == HTTP2_DRAINING)
		current_ended(session, state);
	else if (state == HTTP2_OPEN && !session->opened)
	{
		session->opened = true;
		session->ready_at = tc_monotonic_ms();
		tc_timer_cancel(&streams->connect_timer);
		channel->tls_version = tc_http2_tls_version(session->http2);
		tc_http2_add_expiry(session->http2, &channel->expiry);
		tc_grpc_headers_add_expiry(session->headers, &channel->expiry);
		streams->opened(channel);
	}
	else if (state == HTTP2_OPEN && channel->state == CHANNEL_READY &&
			 ((streams->has_http1 && session->wants_http1) || tc_stream_session_was_stale(session)))
	{
		streams->wants_http1 = session->wants_http1;
		/* What is in flight goes on behind it. */
		streams->current = NULL;
		tc_channel_set_state(channel, CHANNEL_IDLE, NULL);
	}
}

static void
current_ended(StreamSession *session, Http2State state)
{
	Streams    *streams = session->streams;
	Channel    *channel = streams->channel;
	bool		connecting = channel->state == CHANNEL_CONNECTING;
	bool		wants_http1 = session->wants_http1 || tc_http2_wants_http1(session->http2);
	ChannelError error = *tc_http2_error(session->http2);

	tc_grpc_headers_hide_secrets(session->headers, error.message);
	if (!connecting)
		streams->wants_http1 = streams->has_http1 && wants_http1;

	/* The callback may start anew: the channel must be ready for that. */
	streams->current = NULL;
	tc_timer_cancel(&streams->connect_timer);
	if (state == HTTP2_LOST || connecting)
	{
		tc_stream_session_close(session);
		if (connecting)
			streams->failed(channel, &error, wants_http1);
		else
			tc_channel_set_state(channel, CHANNEL_IDLE, streams->wants_http1 ? NULL : &error);
	}
	else
	{
		bool		plain = tc_http2_goaway_is_plain(session->http2) &&
			(session->answered || tc_http2_nstreams(session->http2) > 0 ||
			 tc_monotonic_ms() - session->ready_at >= MIN_LIFE_MS);

		tc_channel_set_state(channel, CHANNEL_IDLE, plain || streams->wants_http1 ? NULL : &error);
	}
}

static void
on_connect_timeout(void *arg)
{
	Streams    *streams = arg;
	Channel    *channel = streams->channel;
	StreamSession *session = streams->current;

	tc_channel_error(&streams->failure, TC_ERROR_CONNECTION_FAILED, false,
					 "no HTTP/2 connection to \"%s\" within %d ms", channel->options.address,
					 channel->options.connect_timeout_ms);
	streams->current = NULL;
	tc_channel_hold(channel);
	tc_stream_session_close(session);
	streams->failed(channel, &streams->failure, false);
	tc_channel_let_go(channel);
}

/*
 * What could not be told at once: a connect that failed, calls that could not
 * be started.
 */
static void
on_later(void *arg)
{
	Streams    *streams = arg;

	tc_channel_hold(streams->channel);
	if (streams->refused)
	{
		streams->refused = false;
		streams->failed(streams->channel, &streams->failure, false);
	}
	tc_stream_calls_tell(&streams->calls);
	tc_channel_let_go(streams->channel);
}

/*
 * Give up the calls whose deadline has passed.
 */
static void
on_deadline(void *arg)
{
	Streams    *streams = arg;
	dlist_iter	iter;

	tc_channel_hold(streams->channel);
	tc_stream_calls_give_up_late(&streams->calls);
	tc_stream_calls_tell(&streams->calls);

	if (!streams->channel->destroyed)
	{
		dlist_foreach(iter, &streams->sessions)
		{
			StreamSession *session = dlist_container(StreamSession, node, iter.cur);

			if (session->http2 == NULL)
				continue;
			tc_http2_flush(session->http2);
			if (session != streams->current && tc_http2_nstreams(session->http2) == 0)
				tc_stream_session_close(session);
		}
	}
	tc_channel_let_go(streams->channel);
}
