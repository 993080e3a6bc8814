/*-------------------------------------------------------------------------
 *
 * stub_answers.c
 *	  Requests that the stub is sent, and what it answers.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stub.h"

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *http2_options;
static Stream *first_due = NULL;
static Stream *last_due = NULL;

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Header of which name and value stay where they are.
 */
static nghttp2_nv
header(const char *name, const char *value)
{
	nghttp2_nv	nv = {
		(uint8_t *) name, (uint8_t *) value, strlen(name), strlen(value),
		NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
	};

	return nv;
}

/* A message of pieces that are hard to show, percent-encoded */
static const char *
make_junk(void)
{
	static const char *const pieces[] = {
		"a", " ", "\n", "\r", "\t", "\x1B[2J", "\x7F", "\xC2\x9B", "\xC3\xA9", "\xE6\x97\xA5", "\xE3\x81\x82",
		"\xF0\x9F\x98\x80", "\xE2\x80\xAE", "\xE2\x80\xA8", "\xC3", "\xE6\x97", "\xF0\x9F\x98", "\xFF", "\x80",
		"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xA4\xA2", "%", "\xEF\xBB\xBF"
	};
	static char text[3 * 1200 + 1];
	char	   *next = text;

	for (long n = random() % 300; n > 0; n--)
		for (const char *c = pieces[random() % (sizeof(pieces) / sizeof(pieces[0]))]; *c; c++)
			next += sprintf(next, "%%%02X", (unsigned char) *c);
	*next = '\0';
	return text;
}

/*
 * grpc-status, grpc-message and details; returns their number.
 */
static size_t
status_headers(nghttp2_nv *nv, bool failed, bool refused)
{
	size_t		n = 0;

	if (refused)
	{
		nv[n++] = header("grpc-status", options.refusal_text);
		return n;
	}
	if (options.no_status)
		return 0;
	nv[n++] = header("grpc-status", failed ? options.status_text : "0");
	if (failed && options.junk)
	{
		/* copied, for each answer has its own */
		nv[n] = header("grpc-message", make_junk());
		nv[n++].flags = NGHTTP2_NV_FLAG_NONE;
	}
	else if (failed && options.grpc_message != NULL)
		nv[n++] = header("grpc-message", options.grpc_message);
	if (failed && options.detail_text[0] != '\0')
		nv[n++] = header("grpc-status-details-bin", options.detail_text);
	return n;
}

/*
 * The beginning of a reply that is said to be longer.
 */
static ssize_t
read_unfinished(Stream *stream, uint8_t *buf, size_t len)
{
	static const uint8_t prefix[5] = {0, 0x7f, 0xff, 0xff, 0xff};
	size_t		n = options.unfinished - stream->sent;

	if (n == 0)
		return NGHTTP2_ERR_DEFERRED;
	if (n > len)
		n = len;
	memset(buf, 0, n);
	if (stream->sent == 0 && n >= sizeof(prefix))
		memcpy(buf, prefix, sizeof(prefix));
	stream->sent += n;
	return n;
}

static ssize_t
read_reply(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		   nghttp2_data_source *source, void *arg)
{
	Stream	   *stream = source->ptr;
	size_t		n = options.reply_len - stream->sent;
	nghttp2_nv	trailers[3];
	size_t		ntrailers;

	(void) arg;
	if (stream->hangs)
		return read_unfinished(stream, buf, len);
	if (n > len)
		n = len;
	memcpy(buf, options.reply + stream->sent, n);
	stream->sent += n;
	if (stream->sent == options.reply_len)
	{
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		ntrailers = status_headers(trailers, false, false);
		if (ntrailers > 0)
		{
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			nghttp2_submit_trailer(ng, id, trailers, ntrailers);
		}
	}
	return n;
}

/* Does it send what the file says? */
static bool
is_let_in(const Stream *stream)
{
	char		wanted[256] = "";
	FILE	   *file = options.authorization ? fopen(options.authorization, "r") : NULL;

	if (options.authorization == NULL)
		return true;
	if (file != NULL)
	{
		if (fgets(wanted, sizeof(wanted), file) == NULL)
			wanted[0] = '\0';
		fclose(file);
	}
	wanted[strcspn(wanted, "\r\n")] = '\0';
	return strcmp(wanted, stream->authorization) == 0;
}

static void
note_request(const Stream *stream)
{
	X509	   *certificate = stream->session->ssl ? SSL_get_peer_certificate(stream->session->ssl) : NULL;
	char		name[64] = "-";

	if (certificate != NULL)
	{
		X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
		X509_free(certificate);
	}
	fprintf(options.requests_file, "%ld %s%s\n", stream->session->number, name, stream->headers);
	fflush(options.requests_file);
}

/* When it came, what it is, and the id in its identity */
static void
note_call(const Stream *stream)
{
	const char *end = stream->body + (stream->body_len < sizeof(stream->body) ? stream->body_len : sizeof(stream->body));
	const char *at = memmem(stream->body, end - stream->body, "postgresql:", 11);
	const char *id = at ? memchr(at, '/', end - at) : NULL;

	fprintf(options.calls_file, "%lld %s %ld\n", (long long) now_ms(), stream->path, id ? atol(id + 1) : 0);
	fflush(options.calls_file);
}

static void
answer(Stream *stream)
{
	Session    *session = stream->session;
	bool		refused = !stream->hangs && !is_let_in(stream);
	bool		failed = refused ||
		(!stream->hangs && options.grpc_status != 0 &&
		 (options.fail_first < 0 || stream->number <= options.fail_first));
	nghttp2_nv	headers[6];
	size_t		n = 0;

	if (options.reset_code >= 0)
	{
		nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, stream->id, options.reset_code);
		return;
	}
	counts.answered++;
	headers[n++] = header(":status", options.http_status_text);
	headers[n++] = header("content-type", options.http_status == 200 ? "application/grpc" : "text/html");
	if (options.date != NULL)
		headers[n++] = header("date", options.date);
	if (options.http_status != 200)
		nghttp2_submit_response(session->ng, stream->id, headers, n, NULL);
	else if (failed)
	{
		n += status_headers(headers + n, true, refused);
		nghttp2_submit_response(session->ng, stream->id, headers, n, NULL);
	}
	else
	{
		nghttp2_data_provider provider;

		provider.source.ptr = stream;
		provider.read_callback = read_reply;
		nghttp2_submit_response(session->ng, stream->id, headers, n, &provider);
	}
}

/*
 * A request is complete.
 */
static void
take_request(Stream *stream)
{
	Session    *session = stream->session;

	if (session->goaway && stream->id > session->last_id)
	{
		counts.disowned++;
		return;
	}
	stream->number = ++counts.requests;
	session->requests++;
	if (options.requests_file != NULL)
		note_request(stream);
	if (options.calls_file != NULL)
		note_call(stream);
	counts.bytes += stream->body_len > 5 ? stream->body_len - 5 : 0;

	if (options.goaway_after > 0 && session->requests >= options.goaway_after && !session->goaway)
	{
		session->goaway = true;
		session->last_id = stream->id;
		counts.goaways++;
		nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE, stream->id, options.goaway_code, NULL, 0);
	}
	if (options.close_after > 0 && session->requests >= options.close_after)
	{
		session->closing = true;
		return;
	}
	stream->hangs |= options.hang || (options.hang_after >= 0 && stream->number > options.hang_after);
	if (stream->hangs && options.unfinished == 0)
		return;
	if (options.delay_ms > 0)
	{
		stream->due = now_ms() + options.delay_ms;
		stream->queued = true;
		stream->next_due = NULL;
		if (last_due != NULL)
			last_due->next_due = stream;
		else
			first_due = stream;
		last_due = stream;
	}
	else
		answer(stream);
}

static int
on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	Session    *session = arg;
	Stream	   *stream;

	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	stream = calloc(1, sizeof(Stream));
	stream->session = session;
	stream->id = frame->hd.stream_id;
	stream->next = session->streams;
	if (stream->next != NULL)
		stream->next->prev = stream;
	session->streams = stream;
	nghttp2_session_set_stream_user_data(ng, stream->id, stream);
	return 0;
}

static int
on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		  const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	Stream	   *stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
	size_t		used;

	(void) name_len;
	(void) flags;
	(void) arg;
	if (stream == NULL)
		return 0;
	used = strlen(stream->headers);
	if (strcmp((const char *) name, ":path") == 0)
		snprintf(stream->path, sizeof(stream->path), "%s", strrchr((const char *) value, '/') + 1);
	if (strcmp((const char *) name, "authorization") == 0)
		snprintf(stream->authorization, sizeof(stream->authorization), "%s", (const char *) value);
	if (strcmp((const char *) name, "authorization") == 0 || strncmp((const char *) name, "x-", 2) == 0)
		snprintf(stream->headers + used, sizeof(stream->headers) - used, " %s=%s",
				 (const char *) name, (const char *) value);
	if (options.hang_path != NULL && strcmp((const char *) name, ":path") == 0)
		stream->hangs = memmem(value, value_len, options.hang_path, strlen(options.hang_path)) != NULL;
	return 0;
}

static int
on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	Stream	   *stream = nghttp2_session_get_stream_user_data(ng, id);

	(void) flags;
	(void) arg;
	if (stream == NULL)
		return 0;
	if (options.calls_file != NULL && stream->body_len < sizeof(stream->body))
	{
		size_t		room = sizeof(stream->body) - stream->body_len;

		memcpy(stream->body + stream->body_len, data, len < room ? len : room);
	}
	stream->body_len += len;
	return 0;
}

static int
on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
	Stream	   *stream;

	(void) arg;
	switch (frame->hd.type)
	{
		case NGHTTP2_HEADERS:
		case NGHTTP2_DATA:
			stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
			if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
				take_request(stream);
			break;
		case NGHTTP2_RST_STREAM:
			counts.reset++;
			break;
		case NGHTTP2_PING:
			counts.pings++;
			break;
	}
	return 0;
}

void
unlink_stream(Stream *stream)
{
	Session    *session = stream->session;

	if (stream->prev != NULL)
		stream->prev->next = stream->next;
	else
		session->streams = stream->next;
	if (stream->next != NULL)
		stream->next->prev = stream->prev;
	stream->session = NULL;
	if (!stream->queued)
		free(stream);
}

static int
on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	Stream	   *stream = nghttp2_session_get_stream_user_data(ng, id);

	(void) code;
	(void) arg;
	if (stream != NULL)
		unlink_stream(stream);
	return 0;
}

/*
 * Answer the requests whose delay is over.  Returns the time until the next.
 */
int
answer_due(void)
{
	int64_t		now = first_due ? now_ms() : 0;

	while (first_due != NULL && first_due->due <= now)
	{
		Stream	   *stream = first_due;

		first_due = stream->next_due;
		if (first_due == NULL)
			last_due = NULL;
		stream->queued = false;
		if (stream->session == NULL)
			free(stream);
		else
			answer(stream);
	}
	return first_due ? (int) (first_due->due - now) : -1;
}

void
prepare_http2(void)
{
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	if (options.authorization != NULL || options.requests_file != NULL || options.calls_file != NULL || options.hang_path != NULL)
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_option_new(&http2_options);
	nghttp2_option_set_no_closed_streams(http2_options, 1);
	nghttp2_option_set_no_auto_ping_ack(http2_options, options.pong_never);
}

/* HTTP/2 on a new connection */
nghttp2_session *
begin_http2(Session *session)
{
	nghttp2_session *ng;

	nghttp2_session_server_new2(&ng, callbacks, session, http2_options);
	return ng;
}
