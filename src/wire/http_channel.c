/*-------------------------------------------------------------------------
 *
 * http_channel.c
 *	  Channels of HTTP/JSON (a transport of channel.h).
 *
 * What the server speaks is found out with each connect: by TLS both HTTP/2 and
 * HTTP/1.1 are offered, and if it chooses HTTP/2 the connection is a session
 * whose streams are calls (streams.c).  If it does not, or in cleartext, or for
 * a codec server, libcurl makes the calls over connections of HTTP/1.1: which
 * of them it opens and closes does not matter, but that one for which the server
 * chooses HTTP/2 has the channel connect anew.
 *
 * To connect is to ask for the server's version, too, by which its generation
 * of paths is guessed; a codec server is asked to encode nothing.  After that
 * the channel is ready.
 *
 * Callbacks of calls and of the channel are run with nothing of libcurl or
 * nghttp2 on the stack, so they can start calls or destroy the channel.
 * Nothing here retries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/event_loop.h"
#include "base/proto_reader.h"
#include "wire/channel.h"
#include "wire/channel_error.h"
#include "wire/codec.h"
#include "wire/grpc_reply.h"
#include "wire/http_calls.h"
#include "wire/http_streams.h"
#include "wire/streams.h"

/* Connections that a channel has use for: HTTP/1.1 has one call at a time on each */
#define MAX_CONNECTIONS 6

/* Sessions whose calls go on are not to be too many */
#define SESSIONS_MAX 4

#define SYSTEM_INFO "/GetSystemInfo"
#define MAX_SYSTEM_INFO 65536

typedef struct HttpChannel
{
	Channel		channel;		/* must be first */

	Streams		streams;		/* over HTTP/2 */
	bool		told_http1;		/* the server wants none of that, whatever it
								 * chooses, until the next connect */

	/* Over HTTP/1.1 */
	HttpSession *current;		/* connecting or ready, else NULL */
	dlist_head	sessions;		/* all of them */
	HttpCalls	calls;
	int			connections;	/* that were granted */

	LoopTimer	later;			/* something is to be told */
	ChannelError failure;		/* of a connect */
} HttpChannel;

static void connect_by_libcurl(HttpChannel *channel);
static void stream_opened(Channel *base);
static void stream_failed(Channel *base, const ChannelError *error, bool wants_http1);
static void on_driven(void *arg, CURLMcode code);
static void on_later(void *arg);
static void make_first_call(const ChannelOptions *options, Call *call, CallDone done, void *arg);
static void first_answer_of_stream(void *arg, const CallResult *result);
static void first_answer(void *arg, const CallResult *result);
static bool is_right(HttpChannel *channel, const CallResult *result, HttpPaths *paths);
static void explain(HttpChannel *channel, const CallResult *result);
static HttpGeneration guess_generation(const CallResult *result);
static bool looks_like_temporal(const CallResult *result);
static bool looks_like_codec(const CallResult *result);
static void close_if_done(HttpChannel *channel, HttpSession *session);

static void
init(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;

	tc_streams_init(&channel->streams, base, &tc_http_streams, stream_opened, stream_failed);
	channel->streams.has_http1 = true;
	dlist_init(&channel->sessions);
	tc_http_calls_init(&channel->calls);
}

static int
sessions(const Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	dlist_iter	iter;
	int			n = tc_streams_sessions(&channel->streams);

	/* They may be needed yet, if it is HTTP/1.1 that is spoken. */
	if (base->state == CHANNEL_CONNECTING && channel->streams.current != NULL)
		n += channel->connections - 1;
	dlist_foreach(iter, &channel->sessions)
	{
		HttpSession *session = dlist_container(HttpSession, node, iter.cur);

		if (session->multi != NULL)
			n += session->connections;
	}
	return n;
}

static void
connect_session(Channel *base, int connections)
{
	HttpChannel *channel = (HttpChannel *) base;

	base->state = CHANNEL_CONNECTING;
	channel->failure.code = NULL;
	channel->connections = connections;
	channel->told_http1 = channel->streams.wants_http1;
	channel->streams.wants_http1 = false;
	if (base->options.tls && base->options.codec_path == NULL && !channel->told_http1)
		tc_streams_connect(&channel->streams);
	else
		connect_by_libcurl(channel);
}

static void
connect_by_libcurl(HttpChannel *channel)
{
	Channel    *base = &channel->channel;
	const ChannelOptions *options = &base->options;
	dlist_iter	iter;
	int			n = 0;
	Call		call;

	dlist_foreach(iter, &channel->sessions)
		n++;
	if (n >= SESSIONS_MAX)
		tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
						 "\"%s\" does not answer the calls of %d sessions", options->address, n);
	else
		channel->current = tc_http_session_open(base, options, channel->connections, on_driven,
												&channel->failure);
	if (channel->current == NULL)
	{
		tc_timer_set(&channel->later, 0, on_later, channel);
		return;
	}
	dlist_push_tail(&channel->sessions, &channel->current->node);
	make_first_call(options, &call, first_answer, channel);
	if (!tc_http_call_start(&channel->calls, channel->current, &call))
		tc_timer_set(&channel->later, 0, on_later, channel);
}

static int
capacity(const Channel *base)
{
	const HttpChannel *channel = (const HttpChannel *) base;

	if (channel->streams.current != NULL)
		return tc_streams_capacity(&channel->streams);
	return Max(channel->current->max_calls - channel->current->ncalls, 0);
}

static void
call_method(Channel *base, const Call *call)
{
	HttpChannel *channel = (HttpChannel *) base;

	if (base->state == CHANNEL_READY && channel->streams.current != NULL)
		tc_streams_call(&channel->streams, call);
	else if (!tc_http_call_start(&channel->calls,
								 base->state == CHANNEL_READY ? channel->current : NULL, call))
		tc_timer_set(&channel->later, 0, on_later, channel);
}

/* libcurl begins with the next turn of the loop by itself. */
static void
flush(Channel *base)
{
	tc_streams_flush(&((HttpChannel *) base)->streams);
}

static void
look_at_files(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	HttpSession *session = channel->current;

	if (session == NULL)
	{
		tc_streams_look_at_files(&channel->streams);
		return;
	}
	if (!tc_http_session_is_stale(session))
		return;
	channel->current = NULL;
	base->state = CHANNEL_IDLE;
	/* calls that are over may have to be told of before it is closed */
	tc_timer_set(&channel->later, 0, on_later, channel);
}

static void
close_sessions(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	dlist_mutable_iter iter;

	tc_streams_close(&channel->streams);
	channel->current = NULL;
	tc_timer_cancel(&channel->later);
	dlist_foreach_modify(iter, &channel->sessions)
	{
		HttpSession *session = dlist_container(HttpSession, node, iter.cur);

		if (session->multi == NULL)
			continue;
		tc_http_calls_abandon(&channel->calls, session);
		tc_http_session_close(session);
	}
	tc_http_calls_tell(&channel->calls);
}

static void
sweep(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	dlist_mutable_iter iter;

	tc_streams_sweep(&channel->streams);
	dlist_foreach_modify(iter, &channel->sessions)
	{
		HttpSession *session = dlist_container(HttpSession, node, iter.cur);

		if (session->multi == NULL)
		{
			dlist_delete(&session->node);
			tc_http_session_free(session);
		}
	}
}

const Transport tc_http_transport = {
	.size = sizeof(HttpChannel),
	.max_connections = MAX_CONNECTIONS,
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

/*
 * libcurl has done something for a session: tell of the calls that are over,
 * after what that says about the channel.
 */
static void
on_driven(void *arg, CURLMcode code)
{
	HttpSession *session = arg;
	HttpChannel *channel = (HttpChannel *) session->channel;

	tc_channel_hold(&channel->channel);
	tc_http_calls_take(&channel->calls, session);
	if (code != CURLM_OK)
	{
		tc_http_calls_abandon(&channel->calls, session);
		tc_channel_error(&session->error, TC_ERROR_CONNECTION_FAILED, false,
						 "connections to \"%s\" are lost: %s",
						 channel->channel.options.address, curl_multi_strerror(code));
	}
	if (session == channel->current && channel->channel.state == CHANNEL_READY &&
		(session->error.code != NULL || tc_http_session_wants_http2(session)))
	{
		/* calls in flight go on */
		channel->current = NULL;
		tc_channel_set_state(&channel->channel, CHANNEL_IDLE,
							 session->error.code != NULL ? &session->error : NULL);
	}
	tc_http_calls_tell(&channel->calls);
	close_if_done(channel, session);
	tc_channel_let_go(&channel->channel);
}

/*
 * What could not be told at once: a connect that failed, calls that could not be
 * started.  And sessions may be done with.
 */
static void
on_later(void *arg)
{
	HttpChannel *channel = arg;
	dlist_iter	iter;

	tc_channel_hold(&channel->channel);
	if (channel->channel.state == CHANNEL_CONNECTING && channel->failure.code != NULL)
		tc_channel_set_state(&channel->channel, CHANNEL_FAILED, &channel->failure);
	tc_http_calls_tell(&channel->calls);
	dlist_foreach(iter, &channel->sessions)
		close_if_done(channel, dlist_container(HttpSession, node, iter.cur));
	tc_channel_let_go(&channel->channel);
}

/* A session that is not for new calls is done with when its calls are. */
static void
close_if_done(HttpChannel *channel, HttpSession *session)
{
	if (session == channel->current || session->multi == NULL || session->ncalls > 0)
		return;
	tc_http_calls_abandon(&channel->calls, session);
	tc_http_session_close(session);
}

static void
make_first_call(const ChannelOptions *options, Call *call, CallDone done, void *arg)
{
	memset(call, 0, sizeof(Call));
	call->path = options->codec_path != NULL ? TC_CODEC_ENCODE : SYSTEM_INFO;
	call->message = (const uint8 *) "";
	call->timeout_ms = options->connect_timeout_ms;
	call->max_reply = MAX_SYSTEM_INFO;
	call->done = done;
	call->arg = arg;
}

/* The server has chosen HTTP/2. */
static void
stream_opened(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	Call		call;

	make_first_call(&base->options, &call, first_answer_of_stream, channel->streams.current);
	tc_streams_call(&channel->streams, &call);
}

static void
stream_failed(Channel *base, const ChannelError *error, bool wants_http1)
{
	HttpChannel *channel = (HttpChannel *) base;

	/* by ALPN, it may choose otherwise with the next connection */
	channel->told_http1 = wants_http1 && strcmp(error->code, TC_ERROR_NOT_HTTP2) != 0;
	if (wants_http1)
		connect_by_libcurl(channel);
	else
		tc_channel_set_state(base, CHANNEL_FAILED, error);
}

/*
 * The first answer over HTTP/2, or none, perhaps of a session that is lost
 * already.
 */
static void
first_answer_of_stream(void *arg, const CallResult *result)
{
	StreamSession *session = arg;
	HttpChannel *channel = (HttpChannel *) session->channel;
	Channel    *base = &channel->channel;

	if (base->destroyed || session != channel->streams.current || base->state != CHANNEL_CONNECTING)
		return;
	if (is_right(channel, result, tc_http_stream_paths(session)))
	{
		tc_channel_set_state(base, CHANNEL_READY, NULL);
		return;
	}
	tc_streams_leave(&channel->streams);
	if (session->wants_http1)
	{
		channel->told_http1 = true;
		connect_by_libcurl(channel);
		return;
	}
	explain(channel, result);
	tc_channel_set_state(base, CHANNEL_FAILED, &channel->failure);
}

/* The same over HTTP/1.1 */
static void
first_answer(void *arg, const CallResult *result)
{
	HttpChannel *channel = arg;
	Channel    *base = &channel->channel;
	HttpSession *session = channel->current;

	if (base->destroyed || session == NULL || base->state != CHANNEL_CONNECTING)
		return;
	if (session->tls.settings != NULL)
	{
		base->tls_version = tc_tls_version(session->tls.settings);
		tc_tls_add_expiry(session->tls.settings, &base->expiry);
	}
	tc_grpc_headers_add_expiry(session->headers, &base->expiry);
	if (is_right(channel, result, &session->paths))
	{
		/* who was told to leave HTTP/2 would go to and fro */
		if (base->options.codec_path == NULL && !channel->told_http1)
			tc_http_calls_offer_http2(session);
		tc_channel_set_state(base, CHANNEL_READY, NULL);
		return;
	}

	if (session->error.code != NULL)
		channel->failure = session->error;
	else if (session->tls.settings == NULL || result->fate == CALL_ANSWERED ||
			 !tc_tls_explain(session->tls.settings, base->options.address, &channel->failure))
		explain(channel, result);
	channel->current = NULL;
	tc_channel_set_state(base, CHANNEL_FAILED, &channel->failure);
}

/* Is that a server for us, and of which generation? */
static bool
is_right(HttpChannel *channel, const CallResult *result, HttpPaths *paths)
{
	if (channel->channel.options.codec_path != NULL ?
		!looks_like_codec(result) : !looks_like_temporal(result))
		return false;
	paths->generation = guess_generation(result);
	return true;
}

static void
explain(HttpChannel *channel, const CallResult *result)
{
	const ChannelOptions *options = &channel->channel.options;

	if (options->codec_path != NULL)
		tc_channel_error(&channel->failure, tc_codec_result_code(result),
						 result->fate == CALL_ANSWERED && result->grpc_status == CODEC_NONSENSE,
						 "%s", result->message);
	else
		tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED,
						 result->fate == CALL_ANSWERED &&
						 result->grpc_status != GRPC_STATUS_UNAVAILABLE,
						 "\"%s\" does not answer as Temporal's HTTP API does: %s",
						 options->address, result->message);
}

/*
 * Who refuses credentials has to be asked by a call: then words and backoff are
 * those of the call.
 */
static bool
looks_like_temporal(const CallResult *result)
{
	if (result->fate != CALL_ANSWERED)
		return false;
	return result->grpc_status == GRPC_STATUS_PERMISSION_DENIED ||
		result->grpc_status == GRPC_STATUS_UNAUTHENTICATED ||
		(result->grpc_status == GRPC_STATUS_OK && result->reply_len > 0);
}

/* Whatever it makes of nothing: it is there, and lets us in. */
static bool
looks_like_codec(const CallResult *result)
{
	return result->fate == CALL_ANSWERED &&
		(result->grpc_status == CODEC_OK || result->grpc_status == CODEC_REFUSED ||
		 result->grpc_status == CODEC_GARBLED || result->grpc_status == CODEC_STUMBLED);
}

/* By the version, as in 1.31.2; a wrong guess is corrected by the first call. */
static HttpGeneration
guess_generation(const CallResult *result)
{
	ProtoReader reader;
	ProtoField	field;
	char		version[32] = "";
	int			major;
	int			minor;
	int			patch = 0;

	tc_proto_begin(&reader, result->reply, result->reply_len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, 1, PROTO_BYTES))
			snprintf(version, sizeof(version), "%.*s", (int) Min(field.span.len, sizeof(version) - 1),
					 (const char *) field.span.bytes);
	}
	if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) >= 2 && major == 1 &&
		(minor < 30 || (minor == 30 && patch < 1)))
		return HTTP_PATHS_2023;
	return HTTP_PATHS_2026;
}
