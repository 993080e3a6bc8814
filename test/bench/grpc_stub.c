/*-------------------------------------------------------------------------
 *
 * grpc_stub.c
 *	  A gRPC server that answers every call alike, as fast as it can.
 *
 * For measuring the extension without the cost of a real server, and for
 * faults that a real server does not make on demand.  HTTP/2 in cleartext or
 * by TLS, one thread.  Counts are printed as JSON on SIGUSR1, and at exit on SIGTERM or
 * SIGINT.
 *
 *	  grpc_stub [--port N] [--delay MS] [--status N] [--message TEXT]
 *				[--detail TYPE] [--reply HEX] [--fail-first N]
 *				[--http-status N] [--no-status] [--reset CODE]
 *				[--goaway-after N] [--goaway-code N] [--close-after N]
 *				[--reset-connection-after N] [--max-streams N] [--hang]
 *				[--hang-after N] [--hang-path PART] [--unfinished N]
 *				[--silent] [--pong-never] [--junk SEED]
 *				[--tls-cert FILE --tls-key FILE] [--client-ca FILE]
 *				[--authorization FILE [--refuse STATUS]] [--requests FILE]
 *
 * --hang never answers, --hang-after not after the first N requests,
 * --hang-path not those whose path has that part; --unfinished gives what
 * hangs the first N bytes of a reply.
 *
 * --port 0 takes a free port; the port is printed in the first line.
 * --client-ca wants a client certificate.  --authorization lets in who sends
 * what the file, looked at for each request, says; others are refused as by
 * --refuse (16, UNAUTHENTICATED).  --requests writes a line for each request:
 * the number of its connection, the common name of the client certificate,
 * and the headers that a test may look for.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_TARGET (64 * 1024)
#define MAX_REPLY 4096

typedef struct Stream Stream;

typedef struct Session
{
	int			fd;
	long		number;
	SSL		   *ssl;			/* NULL in cleartext */
	nghttp2_session *ng;
	uint8_t		out[2 * OUTPUT_TARGET];
	size_t		out_start;
	size_t		out_len;
	bool		waits_to_write;
	bool		closing;		/* once all is sent */
	bool		goaway;
	int32_t		last_id;		/* of a request that is taken, with goaway */
	bool		half_closed;	/* the client is to close it */
	bool		dead;
	long		requests;
	Stream	   *streams;		/* all that are open */
	struct Session *next;		/* among all sessions */
} Session;

struct Stream
{
	Session    *session;		/* NULL = closed meanwhile */
	int32_t		id;
	long		number;			/* of the request */
	size_t		body_len;
	size_t		sent;			/* of the reply */
	char		authorization[256];
	char		headers[512];	/* for the file of requests */
	bool		hangs;			/* by its path */
	int64_t		due;			/* if the answer is delayed */
	bool		queued;			/* among the delayed ones */
	Stream	   *next_due;
	Stream	   *prev;			/* among the session's */
	Stream	   *next;
};

/* Options */
static int	port = 7233;
static int	delay_ms = 0;
static int	grpc_status = 0;
static const char *grpc_message = NULL;
static const char *detail = NULL;
static long fail_first = -1;	/* requests that are answered by status */
static int	http_status = 200;
static bool no_status = false;
static long reset_code = -1;
static long goaway_after = 0;
static long goaway_code = 0;
static long close_after = 0;
static bool close_hard = false;
static long max_streams = 0;
static bool hang = false;
static long hang_after = -1;
static const char *hang_path = NULL;
static size_t unfinished = 0;
static bool silent = false;
static bool pong_never = false;
static const char *tls_cert = NULL;
static const char *tls_key = NULL;
static const char *client_ca = NULL;
static const char *authorization = NULL;	/* file that says who is let in */
static int	refusal = 16;
static FILE *requests_file = NULL;
static SSL_CTX *tls = NULL;
static bool junk = false;		/* messages are made of pieces of text that is
								 * none */

/* The reply with its prefix, and the headers of status */
static uint8_t reply[5 + MAX_REPLY];
static size_t reply_len = 5;
static char status_text[12];
static char http_status_text[12];
static char detail_text[512];

static struct
{
	long		connections;
	long		requests;
	long		answered;
	long		reset;			/* by the client */
	long		lost;			/* streams open when a connection ended */
	long		disowned;		/* requests above the last one of a GOAWAY */
	long		goaways;
	long		pings;
	long		bytes;			/* of request messages */
}			counts;

static int	epoll_fd;
static Session *sessions = NULL;
static Stream *first_due = NULL;
static Stream *last_due = NULL;
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;

static void flush_session(Session *session);
static void end_session(Session *session);

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
print_counts(void)
{
	printf("{\"connections\": %ld, \"requests\": %ld, \"answered\": %ld, \"reset\": %ld, "
		   "\"lost\": %ld, \"disowned\": %ld, \"goaways\": %ld, \"pings\": %ld, \"bytes\": %ld}\n",
		   counts.connections, counts.requests, counts.answered, counts.reset,
		   counts.lost, counts.disowned, counts.goaways, counts.pings, counts.bytes);
	fflush(stdout);
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
	static char refusal_text[12];
	size_t		n = 0;

	if (refused)
	{
		snprintf(refusal_text, sizeof(refusal_text), "%d", refusal);
		nv[n++] = header("grpc-status", refusal_text);
		return n;
	}
	if (no_status)
		return 0;
	nv[n++] = header("grpc-status", failed ? status_text : "0");
	if (failed && junk)
	{
		/* copied, for each answer has its own */
		nv[n] = header("grpc-message", make_junk());
		nv[n++].flags = NGHTTP2_NV_FLAG_NONE;
	}
	else if (failed && grpc_message != NULL)
		nv[n++] = header("grpc-message", grpc_message);
	if (failed && detail_text[0] != '\0')
		nv[n++] = header("grpc-status-details-bin", detail_text);
	return n;
}

/*
 * The beginning of a reply that is said to be longer.
 */
static ssize_t
read_unfinished(Stream *stream, uint8_t *buf, size_t len)
{
	static const uint8_t prefix[5] = {0, 0x7f, 0xff, 0xff, 0xff};
	size_t		n = unfinished - stream->sent;

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
	size_t		n = reply_len - stream->sent;
	nghttp2_nv	trailers[3];
	size_t		ntrailers;

	(void) arg;
	if (stream->hangs)
		return read_unfinished(stream, buf, len);
	if (n > len)
		n = len;
	memcpy(buf, reply + stream->sent, n);
	stream->sent += n;
	if (stream->sent == reply_len)
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
	FILE	   *file = authorization ? fopen(authorization, "r") : NULL;

	if (authorization == NULL)
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
	fprintf(requests_file, "%ld %s%s\n", stream->session->number, name, stream->headers);
	fflush(requests_file);
}

static void
answer(Stream *stream)
{
	Session    *session = stream->session;
	bool		refused = !stream->hangs && !is_let_in(stream);
	bool		failed = refused ||
		(!stream->hangs && grpc_status != 0 && (fail_first < 0 || stream->number <= fail_first));
	nghttp2_nv	headers[5];
	size_t		n = 0;

	if (reset_code >= 0)
	{
		nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, stream->id, reset_code);
		return;
	}
	counts.answered++;
	headers[n++] = header(":status", http_status_text);
	headers[n++] = header("content-type", http_status == 200 ? "application/grpc" : "text/html");
	if (http_status != 200)
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
	if (requests_file != NULL)
		note_request(stream);
	counts.bytes += stream->body_len > 5 ? stream->body_len - 5 : 0;

	if (goaway_after > 0 && session->requests >= goaway_after && !session->goaway)
	{
		session->goaway = true;
		session->last_id = stream->id;
		counts.goaways++;
		nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE, stream->id, goaway_code, NULL, 0);
	}
	if (close_after > 0 && session->requests >= close_after)
	{
		session->closing = true;
		return;
	}
	stream->hangs |= hang || (hang_after >= 0 && stream->number > hang_after);
	if (stream->hangs && unfinished == 0)
		return;
	if (delay_ms > 0)
	{
		stream->due = now_ms() + delay_ms;
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
	if (strcmp((const char *) name, "authorization") == 0)
		snprintf(stream->authorization, sizeof(stream->authorization), "%s", (const char *) value);
	if (strcmp((const char *) name, "authorization") == 0 || strncmp((const char *) name, "x-", 2) == 0)
		snprintf(stream->headers + used, sizeof(stream->headers) - used, " %s=%s",
				 (const char *) name, (const char *) value);
	if (hang_path != NULL && strcmp((const char *) name, ":path") == 0)
		stream->hangs = memmem(value, value_len, hang_path, strlen(hang_path)) != NULL;
	return 0;
}

static int
on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	Stream	   *stream = nghttp2_session_get_stream_user_data(ng, id);

	(void) flags;
	(void) data;
	(void) arg;
	if (stream != NULL)
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

static void
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

static void
begin_session(int fd)
{
	Session    *session = calloc(1, sizeof(Session));
	struct epoll_event event = {
		.events = EPOLLIN,
		.data.ptr = session
	};
	nghttp2_settings_entry settings[1] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams}};
	int			one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	session->fd = fd;
	session->next = sessions;
	sessions = session;
	session->number = ++counts.connections;
	if (tls != NULL)
	{
		session->ssl = SSL_new(tls);
		SSL_set_fd(session->ssl, fd);
		SSL_set_accept_state(session->ssl);
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	nghttp2_session_server_new2(&session->ng, callbacks, session, options);
	if (silent)
		return;
	nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, settings, max_streams > 0 ? 1 : 0);
	nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0, 16 * 1024 * 1024);
	flush_session(session);
}

/*
 * The connection is over; the session itself is freed by reap_sessions().
 */
static void
end_session(Session *session)
{
	if (session->dead)
		return;
	session->dead = true;
	while (session->streams != NULL)
	{
		counts.lost++;
		unlink_stream(session->streams);
	}
	if (close_hard)
	{
		struct linger linger = {1, 0};

		setsockopt(session->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	SSL_free(session->ssl);
	close(session->fd);
	nghttp2_session_del(session->ng);
}

/* recv() and send(), by TLS if that is what it is */
static ssize_t
receive_bytes(Session *session, void *buf, size_t len)
{
	int			n;
	int			error;

	if (session->ssl == NULL)
		return recv(session->fd, buf, len, 0);
	n = SSL_read(session->ssl, buf, (int) len);
	if (n > 0)
		return n;
	error = SSL_get_error(session->ssl, n);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
	{
		errno = EAGAIN;
		return -1;
	}
	return 0;
}

static ssize_t
send_bytes(Session *session, const void *buf, size_t len)
{
	int			n;
	int			error;

	if (session->ssl == NULL)
		return send(session->fd, buf, len, MSG_NOSIGNAL);
	n = SSL_write(session->ssl, buf, (int) len);
	if (n > 0)
		return n;
	error = SSL_get_error(session->ssl, n);
	errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
	return -1;
}

static void
reap_sessions(void)
{
	Session   **link = &sessions;

	while (*link != NULL)
	{
		Session    *session = *link;

		if (session->dead)
		{
			*link = session->next;
			free(session);
		}
		else
			link = &session->next;
	}
}

static void
flush_session(Session *session)
{
	bool		blocked = false;

	while (!session->dead && !blocked && !silent)
	{
		while (session->out_len < OUTPUT_TARGET)
		{
			const uint8_t *data;
			ssize_t		n = nghttp2_session_mem_send(session->ng, &data);

			if (n <= 0)
				break;
			memcpy(session->out + session->out_len, data, n);
			session->out_len += n;
		}
		if (session->out_len == session->out_start)
			break;
		for (;;)
		{
			ssize_t		n = send_bytes(session, session->out + session->out_start,
									   session->out_len - session->out_start);

			if (n < 0 && errno != EAGAIN)
				end_session(session);
			blocked = n < 0;
			if (blocked)
				break;
			session->out_start += n;
			if (session->out_start == session->out_len)
			{
				session->out_start = session->out_len = 0;
				break;
			}
		}
	}
	if (session->dead)
		return;
	if (blocked != session->waits_to_write)
	{
		struct epoll_event event = {.data.ptr = session};

		event.events = EPOLLIN | (blocked ? EPOLLOUT : 0);
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, session->fd, &event);
		session->waits_to_write = blocked;
	}
	if (session->closing && !blocked)
		end_session(session);
	else if (!blocked && !session->half_closed &&
			 !nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng))
	{
		/* Closing with input unread would take back what was sent. */
		session->half_closed = true;
		shutdown(session->fd, SHUT_WR);
	}
}

static void
read_session(Session *session)
{
	static uint8_t input[256 * 1024];

	/* with TLS, bytes may wait where epoll does not see them */
	do
	{
		ssize_t		n = receive_bytes(session, input, sizeof(input));

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
		{
			end_session(session);
			return;
		}
		if (silent || session->half_closed)
			return;
		if (nghttp2_session_mem_recv(session->ng, input, n) < 0)
			end_session(session);
	} while (!session->dead && session->ssl != NULL && SSL_has_pending(session->ssl));
}

/*
 * Answer the requests whose delay is over.  Returns the time until the next.
 */
static int
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
	for (Session *session = sessions; session != NULL; session = session->next)
		flush_session(session);
	return first_due ? (int) (first_due->due - now) : -1;
}

/*
 * grpc-status-details-bin: google.rpc.Status with one detail of that type.
 */
static void
make_detail(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char		url[128];
	uint8_t		bytes[256];
	size_t		n = 0;
	size_t		out = 0;
	size_t		url_len;

	snprintf(url, sizeof(url), "type.googleapis.com/temporal.api.errordetails.v1.%s", detail);
	url_len = strlen(url);
	if (url_len > 120)
	{
		fprintf(stderr, "the type of the detail is too long\n");
		exit(2);
	}
	bytes[n++] = 0x08;
	bytes[n++] = (uint8_t) grpc_status;
	bytes[n++] = 0x1a;
	bytes[n++] = (uint8_t) (url_len + 2);
	bytes[n++] = 0x0a;
	bytes[n++] = (uint8_t) url_len;
	memcpy(bytes + n, url, url_len);
	n += url_len;

	for (size_t i = 0; i < n; i += 3)
	{
		uint32_t	bits = bytes[i] << 16 | (i + 1 < n ? bytes[i + 1] << 8 : 0) |
			(i + 2 < n ? bytes[i + 2] : 0);
		size_t		chars = i + 2 < n ? 4 : n - i + 1;

		for (size_t c = 0; c < chars; c++)
			detail_text[out++] = digits[bits >> (18 - 6 * c) & 63];
	}
	detail_text[out] = '\0';
}

static void
make_reply(const char *hex)
{
	size_t		len = strlen(hex) / 2;

	if (len > MAX_REPLY)
	{
		fprintf(stderr, "the reply is too long\n");
		exit(2);
	}
	for (size_t i = 0; i < len; i++)
	{
		unsigned int byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		reply[5 + i] = (uint8_t) byte;
	}
	reply[3] = (uint8_t) (len >> 8);
	reply[4] = (uint8_t) len;
	reply_len = 5 + len;
}

static void
parse_options(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"port", required_argument, NULL, 'p'},
		{"delay", required_argument, NULL, 'd'},
		{"status", required_argument, NULL, 's'},
		{"message", required_argument, NULL, 'm'},
		{"detail", required_argument, NULL, 't'},
		{"reply", required_argument, NULL, 'r'},
		{"fail-first", required_argument, NULL, 'f'},
		{"http-status", required_argument, NULL, 'h'},
		{"no-status", no_argument, NULL, 'n'},
		{"reset", required_argument, NULL, 'R'},
		{"goaway-after", required_argument, NULL, 'g'},
		{"goaway-code", required_argument, NULL, 'G'},
		{"close-after", required_argument, NULL, 'c'},
		{"reset-connection-after", required_argument, NULL, 'C'},
		{"max-streams", required_argument, NULL, 'x'},
		{"hang", no_argument, NULL, 'H'},
		{"hang-after", required_argument, NULL, '1'},
		{"hang-path", required_argument, NULL, '2'},
		{"unfinished", required_argument, NULL, '3'},
		{"silent", no_argument, NULL, 'S'},
		{"pong-never", no_argument, NULL, 'P'},
		{"junk", required_argument, NULL, 'j'},
		{"tls-cert", required_argument, NULL, 'e'},
		{"tls-key", required_argument, NULL, 'k'},
		{"client-ca", required_argument, NULL, 'a'},
		{"authorization", required_argument, NULL, 'A'},
		{"refuse", required_argument, NULL, 'U'},
		{"requests", required_argument, NULL, 'q'},
		{NULL, 0, NULL, 0}
	};
	int			c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
	{
		switch (c)
		{
			case 'p':
				port = atoi(optarg);
				break;
			case 'd':
				delay_ms = atoi(optarg);
				break;
			case 's':
				grpc_status = atoi(optarg);
				break;
			case 'm':
				grpc_message = optarg;
				break;
			case 't':
				detail = optarg;
				break;
			case 'r':
				make_reply(optarg);
				break;
			case 'f':
				fail_first = atol(optarg);
				break;
			case 'h':
				http_status = atoi(optarg);
				break;
			case 'n':
				no_status = true;
				break;
			case 'R':
				reset_code = atol(optarg);
				break;
			case 'g':
				goaway_after = atol(optarg);
				break;
			case 'G':
				goaway_code = atol(optarg);
				break;
			case 'C':
				close_hard = true;
				close_after = atol(optarg);
				break;
			case 'c':
				close_after = atol(optarg);
				break;
			case 'x':
				max_streams = atol(optarg);
				break;
			case 'H':
				hang = true;
				break;
			case '1':
				hang_after = atol(optarg);
				break;
			case '2':
				hang_path = optarg;
				break;
			case '3':
				unfinished = (size_t) atol(optarg);
				break;
			case 'S':
				silent = true;
				break;
			case 'P':
				pong_never = true;
				break;
			case 'e':
				tls_cert = optarg;
				break;
			case 'k':
				tls_key = optarg;
				break;
			case 'a':
				client_ca = optarg;
				break;
			case 'A':
				authorization = optarg;
				break;
			case 'U':
				refusal = atoi(optarg);
				break;
			case 'q':
				requests_file = fopen(optarg, "a");
				break;
			case 'j':
				junk = true;
				srandom(atol(optarg));
				break;
			default:
				exit(2);
		}
	}
	snprintf(status_text, sizeof(status_text), "%d", grpc_status);
	snprintf(http_status_text, sizeof(http_status_text), "%d", http_status);
	if (detail != NULL)
		make_detail();
}

static int
choose_http2(SSL *ssl, const unsigned char **chosen, unsigned char *len, const unsigned char *offered,
			 unsigned int offered_len, void *arg)
{
	(void) ssl;
	(void) arg;
	return SSL_select_next_proto((unsigned char **) chosen, len, (const unsigned char *) "\002h2", 3,
								 offered, offered_len) == OPENSSL_NPN_NEGOTIATED ?
		SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void
prepare_tls(void)
{
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, tls_cert) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, tls_key, SSL_FILETYPE_PEM) != 1 ||
		(client_ca != NULL && SSL_CTX_load_verify_locations(tls, client_ca, NULL) != 1))
	{
		fprintf(stderr, "the certificates cannot be used\n");
		exit(2);
	}
	if (client_ca != NULL)
		SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_select_cb(tls, choose_http2, NULL);
	/* a client that closes at once must not end the process */
	signal(SIGPIPE, SIG_IGN);
}

static int
listen_on_port(void)
{
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t	len = sizeof(address);
	int			one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(fd, 1024) != 0 || getsockname(fd, (struct sockaddr *) &address, &len) != 0)
	{
		perror("could not listen");
		exit(1);
	}
	printf("listening on port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

int
main(int argc, char **argv)
{
	struct epoll_event event;
	struct epoll_event events[64];
	sigset_t	signals;
	int			listener;
	int			signal_fd;
	int			timeout = -1;

	parse_options(argc, argv);
	if (tls_cert != NULL)
		prepare_tls();

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_NONBLOCK);
	listener = listen_on_port();
	epoll_fd = epoll_create1(0);
	event.events = EPOLLIN;
	event.data.ptr = &listener;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
	event.data.ptr = &signal_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &event);

	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	if (authorization != NULL || requests_file != NULL || hang_path != NULL)
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_option_new(&options);
	nghttp2_option_set_no_closed_streams(options, 1);
	nghttp2_option_set_no_auto_ping_ack(options, pong_never);

	for (;;)
	{
		int			n = epoll_wait(epoll_fd, events, 64, timeout);

		for (int i = 0; i < n; i++)
		{
			void	   *what = events[i].data.ptr;
			Session    *session = what;

			if (what == &listener)
			{
				int			fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

				if (fd >= 0)
					begin_session(fd);
			}
			else if (what == &signal_fd)
			{
				struct signalfd_siginfo info;

				while (read(signal_fd, &info, sizeof(info)) == sizeof(info))
				{
					print_counts();
					if (info.ssi_signo != SIGUSR1)
						exit(0);
				}
			}
			else if (!session->dead && (events[i].events & ~EPOLLOUT))
				read_session(session);
		}
		timeout = answer_due();
		reap_sessions();
	}
}
