/*-------------------------------------------------------------------------
 *
 * http2.c
 *	  An HTTP/2 session, as client, over a connection.
 *
 * nghttp2 keeps the protocol; here bytes are carried between it and the
 * connection, many frames at once, and it is noted how far a request has
 * come, so that it is known of each one whether the server can have seen it.
 * What nghttp2 makes of the bytes, it tells http2_callbacks.c.
 *
 * Nothing here raises errors or knows about gRPC.  A session is closed by its
 * owner only, and never beneath nghttp2.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/latch.h"

#include "base/event_loop.h"
#include "wire/channel_error.h"
#include "wire/connection.h"
#include "wire/http2.h"
#include "wire/http2_session.h"

/* Frames are collected up to this size before they are sent */
#define OUTPUT_TARGET (64 * 1024)

/* Bytes received at once, and how often that is repeated before others get their turn */
#define INPUT_SIZE (64 * 1024)
#define MAX_READS 32

/* Streams at once where the server sets no limit */
#define MAX_STREAMS 10000

/*
 * A PING is sent when nothing was received for a while, and the connection is
 * lost when nothing follows.  Same values as in Temporal's SDKs; the server
 * does not put up with PINGs that are less than 10 s apart.
 */
#define KEEPALIVE_AFTER_MS 30000
#define KEEPALIVE_TIMEOUT_MS 15000

/* Stream ids are not to run out: a session this old is replaced. */
#define LAST_STREAM_ID (PG_INT32_MAX - 2 * MAX_STREAMS)

static void on_connected(void *arg, const ChannelError *error);
static void on_io(void *arg, uint32 events);
static void on_later(void *arg);
static void on_keepalive(void *arg);
static void tell(Http2Session *session);
static void tell_later(Http2Session *session);
static void read_input(Http2Session *session);
static void feed_nghttp2(Http2Session *session, const uint8 *data, size_t len);
static bool is_http2(Http2Session *session, const uint8 *data, size_t len);
static void fill_output(Http2Session *session);
static bool send_output(Http2Session *session);
static void check_finished(Http2Session *session);
static void lose(Http2Session *session);
static void lose_connection(Http2Session *session);
static void lose_by_fault(Http2Session *session, int code);
static bool was_handed(const Http2Session *session, const Http2Stream *stream);

Http2Session *
tc_http2_open(const ChannelOptions *options, const Http2Events *events, void *arg)
{
	Http2Session *session = calloc(1, sizeof(Http2Session));

	if (session == NULL)
		return NULL;
	session->options = options;
	session->events = events;
	session->arg = arg;
	session->first_bytes = true;
	dlist_init(&session->streams);
	session->out_size = 2 * OUTPUT_TARGET;
	session->out = malloc(session->out_size);
	if (session->out == NULL || !tc_http2_start_nghttp2(session) ||
		(session->conn = tc_connection_open(options, on_connected, on_io, session)) == NULL)
	{
		tc_http2_close(session);
		return NULL;
	}
	return session;
}

void
tc_http2_close(Http2Session *session)
{
	dlist_mutable_iter iter;

	tc_timer_cancel(&session->keepalive);
	tc_timer_cancel(&session->later);

	dlist_foreach_modify(iter, &session->streams)
	{
		Http2Stream *stream = dlist_container(Http2Stream, node, iter.cur);

		tc_http2_end_stream(session, stream,
							was_handed(session, stream) ? HTTP2_CONNECTION_LOST : HTTP2_NOT_PROCESSED,
							NGHTTP2_NO_ERROR);
	}
	if (session->conn != NULL)
		tc_connection_close(session->conn);
	nghttp2_session_del(session->ng);
	free(session->out);
	free(session);
}

Http2State
tc_http2_state(const Http2Session *session)
{
	if (session->lost)
		return HTTP2_LOST;
	if (session->goaway)
		return HTTP2_DRAINING;
	return session->settled ? HTTP2_OPEN : HTTP2_CONNECTING;
}

const ChannelError *
tc_http2_error(const Http2Session *session)
{
	return &session->error;
}

bool
tc_http2_goaway_is_plain(const Http2Session *session)
{
	return session->goaway && session->goaway_code == NGHTTP2_NO_ERROR;
}

bool
tc_http2_wants_http1(const Http2Session *session)
{
	if (session->goaway)
		return session->goaway_code == NGHTTP2_HTTP_1_1_REQUIRED;
	return session->lost && !session->connected &&
		strcmp(session->error.code, TC_ERROR_NOT_HTTP2) == 0;
}

const char *
tc_http2_tls_version(const Http2Session *session)
{
	return session->conn ? tc_connection_tls_version(session->conn) : NULL;
}

void
tc_http2_add_expiry(const Http2Session *session, ChannelExpiry *expiry)
{
	if (session->conn != NULL)
		tc_connection_add_expiry(session->conn, expiry);
}

int
tc_http2_nstreams(const Http2Session *session)
{
	return session->nstreams;
}

int
tc_http2_capacity(const Http2Session *session)
{
	uint32		limit;

	if (tc_http2_state(session) != HTTP2_OPEN)
		return 0;
	limit = nghttp2_session_get_remote_settings(session->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	limit = Min(limit, MAX_STREAMS);
	return limit > session->nopen ? limit - session->nopen : 0;
}

bool
tc_http2_submit(Http2Session *session, Http2Stream *stream, const nghttp2_nv *headers,
				size_t nheaders)
{
	nghttp2_data_provider provider;
	bool		has_body = stream->body[0].len > 0;
	int32		id;

	provider.source.ptr = NULL;
	provider.read_callback = tc_http2_read_body;
	id = nghttp2_submit_request(session->ng, NULL, headers, nheaders,
								has_body ? &provider : NULL, stream);
	if (id < 0)
		return false;

	stream->id = id;
	stream->answered = false;
	stream->piece = 0;
	stream->offset = 0;
	stream->end = has_body ? 0 : session->written + 1;
	dlist_push_tail(&session->streams, &stream->node);
	session->nstreams++;
	session->nopen++;

	if (id >= LAST_STREAM_ID && !session->goaway)
	{
		session->goaway = true;
		session->goaway_code = NGHTTP2_NO_ERROR;
		tell_later(session);
	}
	return true;
}

bool
tc_http2_cancel(Http2Session *session, Http2Stream *stream)
{
	nghttp2_session_set_stream_user_data(session->ng, stream->id, NULL);
	nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
	dlist_delete(&stream->node);
	session->nstreams--;

	/*
	 * What nghttp2 has written leaves in any case, later if not yet; what it
	 * has not written, it drops.
	 */
	return stream->end == 0;
}

void
tc_http2_flush(Http2Session *session)
{
	if (session->lost || session->broken || !session->connected)
		return;

	do
		fill_output(session);
	while (!session->lost && session->out_len > session->out_start && send_output(session));

	if (!session->lost)
		check_finished(session);
	if (!session->lost)
		tc_connection_wait_for(session->conn, session->out_len > session->out_start ?
							   WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE : WL_SOCKET_READABLE);
	if (session->lost || session->broken || session->news)
		tell_later(session);
}

static void
on_connected(void *arg, const ChannelError *error)
{
	Http2Session *session = arg;

	if (error != NULL)
	{
		session->error = *error;
		lose(session);
	}
	else
	{
		session->connected = true;
		session->last_read = tc_monotonic_ms();
		tc_timer_set(&session->keepalive, session->last_read + KEEPALIVE_AFTER_MS,
					 on_keepalive, session);
		tc_http2_flush(session);
	}
	tell(session);
}

static void
on_io(void *arg, uint32 events)
{
	Http2Session *session = arg;

	if (events & WL_SOCKET_READABLE)
		read_input(session);
	if (events & WL_SOCKET_WRITEABLE)
		tc_http2_flush(session);
	tell(session);
}

static void
on_later(void *arg)
{
	Http2Session *session = arg;

	if (session->read_more)
		read_input(session);
	tell(session);
}

static void
on_keepalive(void *arg)
{
	Http2Session *session = arg;
	int64		now = tc_monotonic_ms();

	if (session->lost)
		return;
	if (session->ping_sent != 0 && session->last_read < session->ping_sent)
	{
		if (now - session->ping_sent >= KEEPALIVE_TIMEOUT_MS)
		{
			tc_channel_error(&session->error, TC_ERROR_CONNECTION_FAILED, false,
							 "\"%s\" did not answer a PING within %d s", session->options->address,
							 KEEPALIVE_TIMEOUT_MS / 1000);
			lose(session);
			tell(session);
			return;
		}
	}
	else if (now - session->last_read >= KEEPALIVE_AFTER_MS)
	{
		session->ping_sent = now;
		nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, NULL);
		tc_http2_flush(session);
	}
	else
		session->ping_sent = 0;

	tc_timer_set(&session->keepalive,
				 session->ping_sent ? session->ping_sent + KEEPALIVE_TIMEOUT_MS
				 : session->last_read + KEEPALIVE_AFTER_MS, on_keepalive, session);
}

/*
 * Tell the owner, who may close the session: to be done last.
 */
static void
tell(Http2Session *session)
{
	session->news = false;
	if (!session->read_more)
		tc_timer_cancel(&session->later);
	session->events->changed(session->arg);
}

/*
 * Tell the owner in the next turn, for it is the owner who has called us.
 */
static void
tell_later(Http2Session *session)
{
	tc_timer_set(&session->later, 0, on_later, session);
}

/*
 * Receive what is there, within bounds.
 */
static void
read_input(Http2Session *session)
{
	static uint8 input[INPUT_SIZE];
	bool		tls;

	session->read_more = false;
	if (session->lost)
		return;
	session->last_read = tc_monotonic_ms();
	tls = tc_connection_tls_version(session->conn) != NULL;
	for (int i = 0; i < MAX_READS; i++)
	{
		ssize_t		n = tc_connection_recv(session->conn, input, sizeof(input));

		if (n < 0)
			lose_connection(session);
		else if (n > 0)
			feed_nghttp2(session, input, n);
		if (n == 0 && session->broken)
			lose_connection(session);
		if (n <= 0 || session->lost)
			return;

		/* With TLS, more can be waiting in memory than the socket tells. */
		if (n < sizeof(input) && !tls && !session->broken)
			return;
	}
	session->read_more = true;
	tell_later(session);
}

static void
feed_nghttp2(Http2Session *session, const uint8 *data, size_t len)
{
	ssize_t		n;

	if (session->first_bytes)
	{
		session->first_bytes = false;
		if (!is_http2(session, data, len))
			return;
	}
	n = nghttp2_session_mem_recv(session->ng, data, len);
	if (n < 0)
		lose_by_fault(session, (int) n);
	else
		check_finished(session);
}

/*
 * The first bytes of a server that speaks HTTP/2 are a SETTINGS frame.  If
 * they are not, the session is lost, with an error that tells why.
 */
static bool
is_http2(Http2Session *session, const uint8 *data, size_t len)
{
	const char *address = session->options->address;

	if (len >= 2 && data[0] == 0x15 && data[1] == 0x03)
		tc_channel_error(&session->error, TC_ERROR_TLS_FAILED, true,
						 "\"%s\" speaks TLS only: the option tls has to be on", address);
	else if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
		tc_channel_error(&session->error, TC_ERROR_NOT_HTTP2, true,
						 "\"%s\" answers in HTTP/1, not in HTTP/2: perhaps it expects TLS, or is not a gRPC port",
						 address);
	else if (len >= 4 && data[3] != NGHTTP2_SETTINGS)
		tc_channel_error(&session->error, TC_ERROR_NOT_HTTP2, true,
						 "\"%s\" does not speak HTTP/2", address);
	else
		return true;
	lose(session);
	return false;
}

/*
 * Collect frames to be sent.
 */
static void
fill_output(Http2Session *session)
{
	if (session->out_start > 0)
	{
		session->out_len -= session->out_start;
		memmove(session->out, session->out + session->out_start, session->out_len);
		session->out_start = 0;
	}

	while (session->out_len < OUTPUT_TARGET)
	{
		const uint8 *data;
		ssize_t		n = nghttp2_session_mem_send(session->ng, &data);

		if (n == 0)
			return;
		if (n > 0 && session->out_len + n > session->out_size)
		{
			uint8	   *grown = realloc(session->out, session->out_len + n);

			if (grown == NULL)
				n = NGHTTP2_ERR_NOMEM;
			else
			{
				session->out = grown;
				session->out_size = session->out_len + n;
			}
		}
		if (n < 0)
		{
			lose_by_fault(session, (int) n);
			return;
		}
		memcpy(session->out + session->out_len, data, n);
		session->out_len += n;
		session->written += n;
	}
}

/*
 * Send collected output.  False if no more can be sent at present, or the
 * session is lost.
 */
static bool
send_output(Http2Session *session)
{
	size_t		len = session->out_len - session->out_start;
	ssize_t		n = tc_connection_send(session->conn, session->out + session->out_start, len);

	/* Of a write that was cut short, TLS does not tell how much has left. */
	if (tc_connection_tls_version(session->conn) != NULL)
		session->handed = session->written;
	else if (n > 0)
		session->handed = session->written - len + n;

	if (n < 0)
	{
		/* Why, and answers sent before, may be waiting to be read. */
		session->broken = true;
		session->read_more = true;
		return false;
	}
	session->out_start += n;
	if (session->out_start == session->out_len)
		session->out_start = session->out_len = 0;
	return session->out_len == 0;
}

/*
 * Has nghttp2 given the session up?  It does so when the server has violated
 * the protocol.
 */
static void
check_finished(Http2Session *session)
{
	if (!nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng) &&
		(!session->goaway || session->nstreams > 0))
		lose_by_fault(session, NGHTTP2_ERR_PROTO);
}

/*
 * The session is over; session->error tells why.
 */
static void
lose(Http2Session *session)
{
	session->lost = true;
	tc_timer_cancel(&session->keepalive);
	if (session->conn != NULL)
		tc_connection_close(session->conn);
	session->conn = NULL;
}

static void
lose_connection(Http2Session *session)
{
	tc_connection_explain(session->conn, !session->settled, &session->error);
	lose(session);
}

static void
lose_by_fault(Http2Session *session, int code)
{
	if (code == NGHTTP2_ERR_NOMEM)
		tc_channel_error(&session->error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	else
		tc_channel_error(&session->error,
						 session->settled ? TC_ERROR_CONNECTION_FAILED : TC_ERROR_NOT_HTTP2,
						 !session->settled,
						 "\"%s\" violated the HTTP/2 protocol: %s", session->options->address,
						 session->fault[0] ? session->fault : nghttp2_strerror(code));
	lose(session);
}

/*
 * Can the server have got the whole request?
 */
static bool
was_handed(const Http2Session *session, const Http2Stream *stream)
{
	return stream->end != 0 && stream->end <= session->handed;
}
