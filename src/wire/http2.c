/*-------------------------------------------------------------------------
 *
 * http2.c
 *	  An HTTP/2 session, as client, over a connection.
 *
 * nghttp2 keeps the protocol; here bytes are carried between it and the
 * connection, many frames at once, and it is noted how far a request has
 * come, so that it is known of each one whether the server can have seen it.
 *
 * Nothing here raises errors or knows about gRPC.  A session is closed by its
 * owner only, and never beneath nghttp2.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <nghttp2/nghttp2.h>

#include "storage/latch.h"

#include "base/event_loop.h"
#include "wire/connection.h"
#include "wire/http2.h"
#include "wire/support.h"

/* Frames are collected up to this size before they are sent */
#define OUTPUT_TARGET (64 * 1024)

/* Bytes received at once, and how often that is repeated before others get their turn */
#define INPUT_SIZE (64 * 1024)
#define MAX_READS 32

/* Windows for answers: of a stream, of the session */
#define STREAM_WINDOW (1024 * 1024)
#define SESSION_WINDOW (16 * 1024 * 1024)

#define MAX_HEADER_LIST (64 * 1024)

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

struct Http2Session
{
	const ChannelOptions *options;
	const Http2Events *events;
	void	   *arg;
	Connection *conn;			/* NULL once lost */
	nghttp2_session *ng;
	dlist_head	streams;		/* not over */
	int			nstreams;
	int			nopen;			/* the same and cancelled ones, to nghttp2 */

	bool		connected;
	bool		settled;		/* SETTINGS received */
	bool		goaway;
	uint32		goaway_code;
	bool		lost;
	bool		broken;			/* nothing can be sent any more */
	bool		first_bytes;	/* nothing received yet */
	char		fault[128];		/* what nghttp2 says is wrong */
	ChannelError error;

	/* Output not sent yet, and counts of bytes since the beginning */
	uint8	   *out;
	size_t		out_size;
	size_t		out_start;
	size_t		out_len;
	uint64		written;		/* by nghttp2 */
	uint64		handed;			/* the server may have got so many */

	int64		last_read;
	int64		ping_sent;		/* 0 = no PING on its way */
	LoopTimer	keepalive;
	LoopTimer	later;			/* changed() is to be called */
	bool		read_more;		/* and input to be read before */
	bool		news;			/* streams were over since changed() */
};

static nghttp2_session_callbacks *callbacks = NULL;
static nghttp2_option *ng_options = NULL;

static bool make_session(Http2Session *session);
static bool make_callbacks(void);
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
static void end_stream(Http2Session *session, Http2Stream *stream, Http2End end,
					   uint32 error_code);
static int	on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
					  size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
					  void *arg);
static int	on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data,
					size_t len, void *arg);
static int	on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg);
static int	on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *arg);
static int	on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *arg);
static int	on_fault(nghttp2_session *ng, int code, const char *message, size_t len, void *arg);
static void on_goaway(Http2Session *session, const nghttp2_goaway *goaway);
static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len,
						 uint32_t *flags, nghttp2_data_source *source, void *arg);

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
	if (session->out == NULL || !make_session(session) ||
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

		end_stream(session, stream,
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

const char *
tc_http2_tls_version(const Http2Session *session)
{
	return session->conn ? tc_connection_tls_version(session->conn) : NULL;
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
	int32		id;

	provider.source.ptr = NULL;
	provider.read_callback = read_body;
	id = nghttp2_submit_request(session->ng, NULL, headers, nheaders, &provider, stream);
	if (id < 0)
		return false;

	stream->id = id;
	stream->answered = false;
	stream->piece = 0;
	stream->offset = 0;
	stream->end = 0;
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

/*
 * Make nghttp2's session, and queue our SETTINGS.
 */
static bool
make_session(Http2Session *session)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST},
	};

	return make_callbacks() &&
		nghttp2_session_client_new2(&session->ng, callbacks, session, ng_options) == 0 &&
		nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, settings, lengthof(settings)) == 0 &&
		nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0, SESSION_WINDOW) == 0;
}

/*
 * What all sessions have in common; made once.
 */
static bool
make_callbacks(void)
{
	if (callbacks == NULL)
	{
		if (nghttp2_session_callbacks_new(&callbacks) != 0)
			return false;
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
		nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
		nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
		nghttp2_session_callbacks_set_error_callback2(callbacks, on_fault);
	}
	if (ng_options == NULL)
	{
		if (nghttp2_option_new(&ng_options) != 0)
			return false;
		nghttp2_option_set_no_closed_streams(ng_options, 1);
	}
	return true;
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

static void
end_stream(Http2Session *session, Http2Stream *stream, Http2End end, uint32 error_code)
{
	dlist_delete(&stream->node);
	session->nstreams--;
	session->news = true;
	session->events->over(stream, end, error_code, session->lost ? &session->error : NULL);
}

static int
on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		  const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	Http2Session *session = arg;
	Http2Stream *stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);

	if (stream != NULL)
		session->events->header(stream, (const char *) name, name_len,
								(const char *) value, value_len);
	return 0;
}

static int
on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	Http2Session *session = arg;
	Http2Stream *stream = nghttp2_session_get_stream_user_data(ng, id);

	if (stream != NULL && !session->events->data(stream, data, len))
	{
		nghttp2_session_set_stream_user_data(ng, id, NULL);
		nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
		end_stream(session, stream, HTTP2_RESET, NGHTTP2_CANCEL);
	}
	return 0;
}

static int
on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	Http2Session *session = arg;
	Http2Stream *stream;

	switch (frame->hd.type)
	{
		case NGHTTP2_HEADERS:
		case NGHTTP2_DATA:
			if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
				break;
			stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
			if (stream == NULL)
				break;
			stream->answered = true;

			/* An answer that does not wait for the request needs no rest of it. */
			if (stream->end == 0)
				nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
										  NGHTTP2_CANCEL);
			break;
		case NGHTTP2_SETTINGS:
			if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
				session->settled = true;
			break;
		case NGHTTP2_GOAWAY:
			on_goaway(session, &frame->goaway);
			break;
	}
	return 0;
}

static int
on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *arg)
{
	Http2Session *session = arg;
	Http2Stream *stream = nghttp2_session_get_stream_user_data(ng, id);
	Http2End	end;

	session->nopen--;
	if (stream == NULL)
		return 0;
	if (stream->answered)
		end = HTTP2_ANSWERED;
	/* A request that nghttp2 has written leaves, now or later: see tc_http2_cancel(). */
	else if (error_code == NGHTTP2_REFUSED_STREAM || stream->end == 0)
		end = HTTP2_NOT_PROCESSED;
	else
		end = HTTP2_RESET;
	end_stream(session, stream, end, error_code);
	return 0;
}

static int
on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *arg)
{
	Http2Session *session = arg;

	if (session->fault[0] == '\0')
		strlcpy(session->fault, nghttp2_strerror(code), sizeof(session->fault));
	return 0;
}

static int
on_fault(nghttp2_session *ng, int code, const char *message, size_t len, void *arg)
{
	Http2Session *session = arg;
	size_t		n = 0;

	for (; n < len && n + 1 < sizeof(session->fault); n++)
		session->fault[n] = message[n] >= ' ' && message[n] <= '~' ? message[n] : '?';
	session->fault[n] = '\0';
	return 0;
}

/*
 * The server wants no more streams; those above last_stream_id, nghttp2 ends
 * as refused.
 */
static void
on_goaway(Http2Session *session, const nghttp2_goaway *goaway)
{
	char		reason[128];
	size_t		n = 0;

	for (; n < goaway->opaque_data_len && n + 1 < sizeof(reason); n++)
	{
		uint8		c = goaway->opaque_data[n];

		reason[n] = c >= ' ' && c <= '~' ? c : '?';
	}
	reason[n] = '\0';

	session->goaway = true;
	session->goaway_code = goaway->error_code;
	tc_channel_error(&session->error, TC_ERROR_CONNECTION_FAILED, false,
					 "\"%s\" ended the session: %s%s%s", session->options->address,
					 nghttp2_http2_strerror(goaway->error_code), n > 0 ? ": " : "", reason);
}

/*
 * Hand nghttp2 the next bytes of a request, and note where its last one will
 * be in the output: the frame has a header of 9 bytes, and no padding.
 */
static ssize_t
read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		  nghttp2_data_source *source, void *arg)
{
	Http2Session *session = arg;
	Http2Stream *stream = nghttp2_session_get_stream_user_data(ng, id);
	size_t		copied = 0;

	if (stream == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;

	while (stream->piece < HTTP2_PIECES)
	{
		const Http2Piece *piece = &stream->body[stream->piece];
		size_t		n = Min(piece->len - stream->offset, len - copied);

		if (n > 0)
			memcpy(buf + copied, piece->data + stream->offset, n);
		copied += n;
		stream->offset += n;
		if (stream->offset < piece->len)
			return copied;
		stream->piece++;
		stream->offset = 0;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	stream->end = session->written + 9 + copied;
	return copied;
}
