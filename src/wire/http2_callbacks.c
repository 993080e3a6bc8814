/*-------------------------------------------------------------------------
 *
 * http2_callbacks.c
 *	  What nghttp2 calls: frames and streams as they come in, and bodies as
 *	  they go out.
 *
 * Whether a request can have been processed is decided here, by what nghttp2
 * has written of it and what was answered.  All of it runs beneath nghttp2:
 * it must not call back into it but to submit frames, closes no session,
 * and raises no errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel_error.h"
#include "wire/http2_session.h"

/* Windows for answers: of a stream, of the session */
#define STREAM_WINDOW (1024 * 1024)
#define SESSION_WINDOW (16 * 1024 * 1024)

#define MAX_HEADER_LIST (64 * 1024)

static nghttp2_session_callbacks *callbacks = NULL;
static nghttp2_option *ng_options = NULL;

static bool make_callbacks(void);
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
static void copy_printable(char *copy, size_t size, const char *text, size_t len);

bool
tc_http2_start_nghttp2(Http2Session *session)
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

void
tc_http2_end_stream(Http2Session *session, Http2Stream *stream, Http2End end, uint32 error_code)
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
		tc_http2_end_stream(session, stream, HTTP2_RESET, NGHTTP2_CANCEL);
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

			/*
			 * An answer that does not wait for the request needs no rest of
			 * it.
			 */
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

	/*
	 * A request that nghttp2 has written leaves, now or later: see
	 * tc_http2_cancel().
	 */
	else if (error_code == NGHTTP2_REFUSED_STREAM || stream->end == 0)
		end = HTTP2_NOT_PROCESSED;
	else
		end = HTTP2_RESET;
	tc_http2_end_stream(session, stream, end, error_code);
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

	copy_printable(session->fault, sizeof(session->fault), message, len);
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

	copy_printable(reason, sizeof(reason), (const char *) goaway->opaque_data,
				   goaway->opaque_data_len);
	session->goaway = true;
	session->goaway_code = goaway->error_code;
	tc_channel_error(&session->error, TC_ERROR_CONNECTION_FAILED, false,
					 "\"%s\" ended the session: %s%s%s", session->options->address,
					 nghttp2_http2_strerror(goaway->error_code), reason[0] ? ": " : "", reason);
}

/*
 * Copy what the other side says, as far as it fits and can be shown.
 */
static void
copy_printable(char *copy, size_t size, const char *text, size_t len)
{
	size_t		n = 0;

	for (; n < len && n + 1 < size; n++)
		copy[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';

	copy[n] = '\0';
}

/*
 * Hand nghttp2 the next bytes of a request, and note where its last one will
 * be in the output: the frame has a header of 9 bytes, and no padding.
 */
ssize_t
tc_http2_read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
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
