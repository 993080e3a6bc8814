/*-------------------------------------------------------------------------
 *
 * http_channel.c
 *	  Channels of HTTP/JSON (a transport of channel.h).
 *
 * To connect is to ask for the server's version, by which its generation of
 * paths is guessed; a codec server is asked to encode nothing.  After that a channel is ready for as long as connections
 * can be made: which of them libcurl opens and closes does not matter.
 *
 * Callbacks of calls and of the channel are run with nothing of libcurl on the
 * stack, so they can start calls or destroy the channel.  Nothing here
 * retries.
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

/* Connections that a channel has use for: HTTP/1.1 has one call at a time on each */
#define MAX_CONNECTIONS 6

/* Sessions whose calls go on are not to be too many */
#define SESSIONS_MAX 4

#define SYSTEM_INFO "/GetSystemInfo"
#define MAX_SYSTEM_INFO 65536

typedef struct HttpChannel
{
	Channel		channel;		/* must be first */

	HttpSession *current;		/* connecting or ready, else NULL */
	dlist_head	sessions;		/* all of them */
	HttpCalls	calls;

	LoopTimer	later;			/* something is to be told */
	ChannelError failure;		/* of a connect */
} HttpChannel;

static void on_driven(void *arg, CURLMcode code);
static void on_later(void *arg);
static void version_told(void *arg, const CallResult *result);
static HttpGeneration guess_generation(const CallResult *result);
static bool looks_like_temporal(const CallResult *result);
static bool looks_like_codec(const CallResult *result);
static void close_if_done(HttpChannel *channel, HttpSession *session);

static void
init(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;

	dlist_init(&channel->sessions);
	tc_http_calls_init(&channel->calls);
}

static int
sessions(const Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	dlist_iter	iter;
	int			n = 0;

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
	const ChannelOptions *options = &base->options;
	dlist_iter	iter;
	int			n = 0;
	Call		call = {0};

	base->state = CHANNEL_CONNECTING;
	channel->failure.code = NULL;
	dlist_foreach(iter, &channel->sessions)
		n++;
	if (n >= SESSIONS_MAX)
		tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
						 "\"%s\" does not answer the calls of %d sessions", options->address, n);
	else
		channel->current = tc_http_session_open(base, options, connections, on_driven,
												&channel->failure);
	if (channel->current == NULL)
	{
		tc_timer_set(&channel->later, 0, on_later, channel);
		return;
	}
	dlist_push_tail(&channel->sessions, &channel->current->node);

	call.path = options->codec_path != NULL ? TC_CODEC_ENCODE : SYSTEM_INFO;
	call.message = (const uint8 *) "";
	call.timeout_ms = options->connect_timeout_ms;
	call.max_reply = MAX_SYSTEM_INFO;
	call.done = version_told;
	call.arg = channel;
	if (!tc_http_call_start(&channel->calls, channel->current, &call))
		tc_timer_set(&channel->later, 0, on_later, channel);
}

static int
capacity(const Channel *base)
{
	const HttpSession *session = ((const HttpChannel *) base)->current;

	return Max(session->max_calls - session->ncalls, 0);
}

static void
call_method(Channel *base, const Call *call)
{
	HttpChannel *channel = (HttpChannel *) base;

	if (!tc_http_call_start(&channel->calls,
							base->state == CHANNEL_READY ? channel->current : NULL, call))
		tc_timer_set(&channel->later, 0, on_later, channel);
}

/* libcurl begins with the next turn of the loop by itself. */
static void
flush(Channel *base)
{
}

static void
look_at_files(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	HttpSession *session = channel->current;

	if (!tc_http_session_is_stale(session))
		return;
	tc_channel_hold(base);
	channel->current = NULL;
	base->state = CHANNEL_IDLE;
	close_if_done(channel, session);
	tc_channel_let_go(base);
}

static void
close_sessions(Channel *base)
{
	HttpChannel *channel = (HttpChannel *) base;
	dlist_mutable_iter iter;

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
	if (session == channel->current && session->error.code != NULL &&
		channel->channel.state == CHANNEL_READY)
	{
		/* calls in flight go on */
		channel->current = NULL;
		tc_channel_set_state(&channel->channel, CHANNEL_IDLE, &session->error);
	}
	tc_http_calls_tell(&channel->calls);
	close_if_done(channel, session);
	tc_channel_let_go(&channel->channel);
}

/* What could not be told at once: a connect that failed, calls that could not be started. */
static void
on_later(void *arg)
{
	HttpChannel *channel = arg;

	tc_channel_hold(&channel->channel);
	if (channel->channel.state == CHANNEL_CONNECTING && channel->current == NULL)
		tc_channel_set_state(&channel->channel, CHANNEL_FAILED, &channel->failure);
	tc_http_calls_tell(&channel->calls);
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

/*
 * The first answer of a server, or none: the channel is ready, or has failed.
 */
static void
version_told(void *arg, const CallResult *result)
{
	HttpChannel *channel = arg;
	Channel    *base = &channel->channel;
	HttpSession *session = channel->current;
	const char *address = base->options.address;

	if (base->destroyed || session == NULL || base->state != CHANNEL_CONNECTING)
		return;
	if (session->tls.settings != NULL)
	{
		base->tls_version = tc_tls_version(session->tls.settings);
		tc_tls_add_expiry(session->tls.settings, &base->expiry);
	}
	tc_grpc_headers_add_expiry(session->headers, &base->expiry);
	if (base->options.codec_path != NULL ? looks_like_codec(result) : looks_like_temporal(result))
	{
		session->generation = guess_generation(result);
		tc_channel_set_state(base, CHANNEL_READY, NULL);
		return;
	}

	if (session->error.code != NULL)
		channel->failure = session->error;
	else if (session->tls.settings != NULL && result->fate != CALL_ANSWERED &&
			 tc_tls_explain(session->tls.settings, address, &channel->failure))
		;						/* it said why */
	else if (base->options.codec_path != NULL)
		tc_channel_error(&channel->failure, tc_codec_result_code(result),
						 result->fate == CALL_ANSWERED && result->grpc_status == CODEC_NONSENSE,
						 "%s", result->message);
	else
		tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED,
						 result->fate == CALL_ANSWERED &&
						 result->grpc_status != GRPC_STATUS_UNAVAILABLE,
						 "\"%s\" does not answer as Temporal's HTTP API does: %s",
						 address, result->message);
	channel->current = NULL;
	tc_channel_set_state(base, CHANNEL_FAILED, &channel->failure);
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
