/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  A byte stream to a server, in cleartext or by TLS, made by libcurl.
 *
 * libcurl looks up the name, connects and shakes hands (CONNECT_ONLY), and
 * then carries raw bytes.  Each connection has a multi handle of its own:
 * libcurl closes idle connections of a common one as it sees fit.
 *
 * Nothing here may raise an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"
#include "storage/latch.h"

#include "base/event_loop.h"
#include "wire/channel_error.h"
#include "wire/connection.h"
#include "wire/libcurl.h"

struct Connection
{
	const ChannelOptions *options;
	ConnectionDone done;
	ConnectionIo io;
	void	   *arg;

	CurlMulti  *multi;
	CURL	   *easy;
	CurlTarget	target;
	CurlTls		tls;
	int			files;			/* counted as external file descriptors */

	LoopTimer	timer;			/* an error is to be told */
	SocketWatch *watch;			/* once connected */

	CURLcode	code;			/* of what went wrong last */
	bool		closed_by_peer;
	ChannelError error;			/* found before libcurl was asked */
	char		curl_error[CURL_ERROR_SIZE];
};

static bool set_up(Connection *conn);
static void on_failed(void *arg);
static void on_driven(void *arg, CURLMcode code);
static void on_ready(void *arg, uint32 events);
static void connected(Connection *conn);

Connection *
tc_connection_open(const ChannelOptions *options, ConnectionDone done, ConnectionIo io, void *arg)
{
	Connection *conn = calloc(1, sizeof(Connection));

	if (conn == NULL)
		return NULL;
	conn->options = options;
	conn->done = done;
	conn->io = io;
	conn->arg = arg;
	if (!set_up(conn))
		tc_timer_set(&conn->timer, 0, on_failed, conn);
	return conn;
}

void
tc_connection_close(Connection *conn)
{
	sigset_t	old;

	if (conn->watch != NULL)
		tc_event_loop_unwatch(conn->watch);
	if (conn->multi != NULL)
	{
		tc_curl_multi_forget_sockets(conn->multi);
		if (conn->easy != NULL)
			tc_curl_multi_remove(conn->multi, conn->easy);
	}
	tc_curl_enter(&old);
	if (conn->easy != NULL)
		curl_easy_cleanup(conn->easy);
	tc_curl_leave(&old);
	if (conn->multi != NULL)
		tc_curl_multi_close(conn->multi);
	tc_curl_enter(&old);
	tc_curl_target_free(&conn->target);
	tc_tls_free(conn->tls.settings);
	tc_curl_leave(&old);

	tc_timer_cancel(&conn->timer);
	for (; conn->files > 0; conn->files--)
		ReleaseExternalFD();
	free(conn);
}

bool
tc_connection_has_files(void)
{
	int			n = 0;

	while (n < TC_CONNECTION_FILES && AcquireExternalFD())
		n++;
	for (int i = 0; i < n; i++)
		ReleaseExternalFD();
	return n == TC_CONNECTION_FILES;
}

ssize_t
tc_connection_recv(Connection *conn, void *buf, size_t len)
{
	size_t		n = 0;

	conn->code = curl_easy_recv(conn->easy, buf, len, &n);
	if (conn->code == CURLE_AGAIN)
		return 0;
	if (conn->code != CURLE_OK)
		return -1;
	if (n == 0)
	{
		conn->closed_by_peer = true;
		return -1;
	}
	return n;
}

ssize_t
tc_connection_send(Connection *conn, const void *buf, size_t len)
{
	size_t		n = 0;

	conn->code = curl_easy_send(conn->easy, buf, len, &n);
	if (conn->code == CURLE_AGAIN)
		return 0;
	return conn->code == CURLE_OK ? (ssize_t) n : -1;
}

void
tc_connection_wait_for(Connection *conn, uint32 events)
{
	if (conn->watch != NULL)
		tc_event_loop_modify(conn->watch, events);
}

const char *
tc_connection_tls_version(const Connection *conn)
{
	return conn->tls.settings ? tc_tls_version(conn->tls.settings) : NULL;
}

void
tc_connection_add_expiry(const Connection *conn, ChannelExpiry *expiry)
{
	if (conn->tls.settings != NULL)
		tc_tls_add_expiry(conn->tls.settings, expiry);
}

void
tc_connection_explain(Connection *conn, bool is_new, ChannelError *error)
{
	const char *address = conn->options->address;

	if (is_new && conn->tls.settings != NULL &&
		tc_tls_explain(conn->tls.settings, address, error))
		return;
	if (conn->closed_by_peer)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
						 !is_new ? "\"%s\" closed the connection" : conn->tls.settings != NULL
						 ? "\"%s\" closed the connection before it said anything"
						 : "\"%s\" closed the connection before it said anything; perhaps it expects TLS",
						 address);
	else
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
						 "connection to \"%s\" lost: %s", address,
						 conn->curl_error[0] ? conn->curl_error : curl_easy_strerror(conn->code));
}

/*
 * Start connecting.  False, with conn->error filled in, if that cannot be.
 */
static bool
set_up(Connection *conn)
{
	const ChannelOptions *options = conn->options;
	sigset_t	old;
	bool		ok;

	tc_curl_enter(&old);
	ok = tc_curl_target_make(&conn->target, options, &conn->error);
	tc_curl_leave(&old);
	if (!ok)
		return false;

	while (conn->files < TC_CONNECTION_FILES && AcquireExternalFD())
		conn->files++;
	if (conn->files < TC_CONNECTION_FILES)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not connect to \"%s\": too many open files", options->address);
		return false;
	}
	if (options->tls)
	{
		conn->tls.settings = tc_tls_load(options, options->http ? TLS_HTTP2_OR_HTTP1 : TLS_HTTP2,
										 &conn->error);
		if (conn->tls.settings == NULL)
			return false;
	}

	conn->multi = tc_curl_multi_open(on_driven, conn);
	tc_curl_enter(&old);
	conn->easy = curl_easy_init();
	if (conn->multi == NULL || conn->easy == NULL)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		ok = false;
	}
	else
	{
		ok = tc_curl_set_common(conn->easy, options, &conn->target, &conn->tls, conn->curl_error);
		conn->error = conn->tls.error;
		if (ok && curl_easy_setopt(conn->easy, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK)
			ok = false;
	}
	tc_curl_leave(&old);

	if (ok && tc_curl_multi_add(conn->multi, conn->easy))
		return true;
	if (conn->error.code == NULL)
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not set up libcurl to connect to \"%s\"", options->address);
	return false;
}

static void
on_failed(void *arg)
{
	Connection *conn = arg;

	conn->done(conn->arg, &conn->error);
}

static void
on_ready(void *arg, uint32 events)
{
	Connection *conn = arg;

	conn->io(conn->arg, events);
}

/*
 * libcurl has gone on connecting: is that over?  The connection may be gone on
 * return.
 */
static void
on_driven(void *arg, CURLMcode multi_code)
{
	Connection *conn = arg;
	CURL	   *easy;
	bool		over = false;

	while (tc_curl_multi_next(conn->multi, &easy, &conn->code))
		over = true;
	if (multi_code != CURLM_OK)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not connect to \"%s\": %s", conn->options->address,
						 curl_multi_strerror(multi_code));
		over = true;
	}
	if (over)
		connected(conn);
}

/*
 * libcurl has come to an end: with a connection, or with an error in
 * conn->code or conn->error.
 */
static void
connected(Connection *conn)
{
	const char *address = conn->options->address;
	curl_socket_t sock = CURL_SOCKET_BAD;
	sigset_t	old;

	/* From here on, the socket is ours to watch. */
	tc_curl_multi_forget_sockets(conn->multi);

	if (conn->error.code == NULL)
		conn->error = conn->tls.error;
	if (conn->error.code == NULL && conn->code != CURLE_OK)
		tc_curl_explain_connect(conn->easy, conn->code, conn->curl_error, conn->options,
								conn->tls.settings, &conn->error);
	else if (conn->error.code == NULL && conn->tls.settings != NULL &&
			 !tc_tls_is_http2(conn->tls.settings))
		tc_channel_error(&conn->error, TC_ERROR_NOT_HTTP2, true,
						 "\"%s\" speaks TLS, but does not offer HTTP/2 (ALPN \"h2\")", address);
	else if (conn->error.code == NULL)
	{
		tc_curl_enter(&old);
		conn->code = curl_easy_getinfo(conn->easy, CURLINFO_ACTIVESOCKET, &sock);
		tc_curl_leave(&old);
		conn->curl_error[0] = '\0';

		if (conn->code == CURLE_OK && sock != CURL_SOCKET_BAD)
			conn->watch = tc_event_loop_watch(sock, WL_SOCKET_READABLE, on_ready, conn);
		if (conn->watch == NULL)
			tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
							 "connection to \"%s\" was lost at once", address);
	}
	conn->done(conn->arg, conn->error.code ? &conn->error : NULL);
}
