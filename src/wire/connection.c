/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  A byte stream to a server, in cleartext or by TLS, made by libcurl.
 *
 * libcurl looks up the name, connects and shakes hands (CONNECT_ONLY), and
 * then carries raw bytes.  Each connection has a multi handle of its own:
 * libcurl closes idle connections of a common one as it sees fit.
 *
 * libcurl looks up names in a thread.  A signal that arrives there would run
 * PostgreSQL's handlers on a foreign thread, therefore all signals are
 * blocked around every call of libcurl, and the thread inherits that.
 * Nothing here may raise an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include "lib/ilist.h"
#include "storage/fd.h"
#include "storage/latch.h"

#include "base/address.h"
#include "base/event_loop.h"
#include "wire/channel_error.h"
#include "wire/connection.h"
#include "wire/tls.h"

/* TCP keepalive, seconds; the session above has its own, which is faster */
#define TCP_KEEPALIVE 60

/* A socket that libcurl waits for while it connects */
typedef struct CurlSocket
{
	dlist_node	node;
	Connection *conn;
	curl_socket_t sock;
	SocketWatch *watch;
} CurlSocket;

struct Connection
{
	const ChannelOptions *options;
	ConnectionDone done;
	ConnectionIo io;
	void	   *arg;

	CURLM	   *multi;
	CURL	   *easy;
	struct curl_slist *connect_to;
	TlsSettings *tls;			/* NULL in cleartext */
	int			files;			/* counted as external file descriptors */

	LoopTimer	timer;
	dlist_head	curl_sockets;	/* while connecting */
	SocketWatch *watch;			/* once connected */

	CURLcode	code;			/* of what went wrong last */
	bool		closed_by_peer;
	ChannelError error;			/* found before libcurl was asked */
	char		curl_error[CURL_ERROR_SIZE];
};

static bool set_up(Connection *conn);
static bool set_options(Connection *conn, const char *url, const char *connect_to);
static void on_timer(void *arg);
static void on_curl_socket_ready(void *arg, uint32 events);
static void on_ready(void *arg, uint32 events);
static int	on_curl_socket(CURL *easy, curl_socket_t sock, int what, void *userp, void *socketp);
static int	on_curl_timer(CURLM *multi, long timeout_ms, void *userp);
static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *userp);
static void drive(Connection *conn, curl_socket_t sock, int events);
static void connected(Connection *conn);
static void explain_connect(Connection *conn, ChannelError *error);
static void forget_curl_sockets(Connection *conn);
static void block_signals(sigset_t *old);
static void restore_signals(const sigset_t *old);

Connection *
tc_connection_open(const ChannelOptions *options, ConnectionDone done, ConnectionIo io, void *arg)
{
	Connection *conn = calloc(1, sizeof(Connection));
	sigset_t	old;

	if (conn == NULL)
		return NULL;
	conn->options = options;
	conn->done = done;
	conn->io = io;
	conn->arg = arg;
	dlist_init(&conn->curl_sockets);

	block_signals(&old);
	if (!set_up(conn))
	{
		/* libcurl's timer may be set already: this one takes its place. */
		if (conn->easy != NULL)
		{
			curl_easy_cleanup(conn->easy);
			conn->easy = NULL;
		}
		tc_timer_set(&conn->timer, 0, on_timer, conn);
	}
	restore_signals(&old);
	return conn;
}

void
tc_connection_close(Connection *conn)
{
	sigset_t	old;

	if (conn->watch != NULL)
		tc_event_loop_unwatch(conn->watch);
	forget_curl_sockets(conn);

	block_signals(&old);
	if (conn->multi != NULL)
	{
		curl_multi_setopt(conn->multi, CURLMOPT_SOCKETFUNCTION, NULL);
		curl_multi_setopt(conn->multi, CURLMOPT_TIMERFUNCTION, NULL);
		if (conn->easy != NULL)
			curl_multi_remove_handle(conn->multi, conn->easy);
	}
	if (conn->easy != NULL)
		curl_easy_cleanup(conn->easy);
	if (conn->multi != NULL)
		curl_multi_cleanup(conn->multi);
	curl_slist_free_all(conn->connect_to);
	tc_tls_free(conn->tls);
	restore_signals(&old);

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
	sigset_t	old;
	size_t		n = 0;

	block_signals(&old);
	conn->code = curl_easy_recv(conn->easy, buf, len, &n);
	restore_signals(&old);

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
	sigset_t	old;
	size_t		n = 0;

	block_signals(&old);
	conn->code = curl_easy_send(conn->easy, buf, len, &n);
	restore_signals(&old);

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
	return conn->tls ? tc_tls_version(conn->tls) : NULL;
}

void
tc_connection_explain(Connection *conn, bool is_new, ChannelError *error)
{
	const char *address = conn->options->address;

	if (is_new && conn->tls != NULL && tc_tls_explain(conn->tls, address, error))
		return;
	if (conn->closed_by_peer)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
						 !is_new ? "\"%s\" closed the connection" : conn->tls != NULL
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
	static bool initialized = false;
	const ChannelOptions *options = conn->options;
	const char *tls_name = options->tls_server_name;
	char		host[TC_HOST_SIZE];
	char		url[2 * TC_HOST_SIZE];
	char		connect_to[2 * TC_HOST_SIZE];
	int			port;

	if (tc_address_split(options->address, host, &port) != NULL || port == 0)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONFIGURATION, true,
						 "\"%s\" is not an address of the form host:port", options->address);
		return false;
	}
	if (!options->tls || (tls_name != NULL && tls_name[0] == '\0'))
		tls_name = NULL;
	if (tls_name != NULL && !tc_is_host(tls_name))
	{
		tc_channel_error(&conn->error, TC_ERROR_CONFIGURATION, true,
						 "\"%s\" is not a host name, as tls_server_name has to be", tls_name);
		return false;
	}

	/* The URL carries the name to verify, CONNECT_TO where to connect. */
	snprintf(url, sizeof(url), "%s://%s:%d/", options->tls ? "https" : "http",
			 tls_name ? tls_name : host, port);
	snprintf(connect_to, sizeof(connect_to), "::%s:%d", host, port);

	while (conn->files < TC_CONNECTION_FILES && AcquireExternalFD())
		conn->files++;
	if (conn->files < TC_CONNECTION_FILES)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not connect to \"%s\": too many open files", options->address);
		return false;
	}

	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not initialize libcurl");
		return false;
	}
	initialized = true;

	if (options->tls)
	{
		conn->tls = tc_tls_load(options, &conn->error);
		if (conn->tls == NULL)
			return false;
	}
	return set_options(conn, url, tls_name ? connect_to : NULL);
}

/*
 * Make libcurl's handles, and have it start.  Long because it is the list of
 * all that libcurl is told.
 */
static bool
set_options(Connection *conn, const char *url, const char *connect_to)
{
	const ChannelOptions *options = conn->options;
	CURL	   *easy = conn->easy = curl_easy_init();
	bool		ok = true;

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)

	conn->multi = curl_multi_init();
	if (easy == NULL || conn->multi == NULL)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return false;
	}

	SET(CURLOPT_ERRORBUFFER, conn->curl_error);
	SET(CURLOPT_URL, url);
	SET(CURLOPT_CONNECT_ONLY, 1L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, (long) TCP_KEEPALIVE);
	SET(CURLOPT_TCP_KEEPINTVL, (long) TCP_KEEPALIVE);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) options->connect_timeout_ms);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Else a look-up that hangs would be waited for. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	if (connect_to != NULL)
	{
		conn->connect_to = curl_slist_append(NULL, connect_to);
		ok = ok && conn->connect_to != NULL;
		SET(CURLOPT_CONNECT_TO, conn->connect_to);
	}
	if (conn->tls != NULL)
	{
		long		verify = options->tls_disable_host_verification ? 0 : 1;

		SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
		SET(CURLOPT_SSL_ENABLE_ALPN, 0L);	/* ours is set in on_ssl_ctx() */
		SET(CURLOPT_SSL_VERIFYPEER, verify);
		SET(CURLOPT_SSL_VERIFYHOST, 2 * verify);
		if (tc_tls_has_own_ca(conn->tls))
		{
			SET(CURLOPT_CAINFO, NULL);
			SET(CURLOPT_CAPATH, NULL);
		}
		SET(CURLOPT_SSL_CTX_DATA, conn);
		if (ok && curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) != CURLE_OK)
		{
			tc_channel_error(&conn->error, TC_ERROR_CONFIGURATION, true,
							 "TLS needs a libcurl that is built with OpenSSL");
			return false;
		}
	}
#undef SET

	ok = ok &&
		curl_multi_setopt(conn->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket) == CURLM_OK &&
		curl_multi_setopt(conn->multi, CURLMOPT_SOCKETDATA, conn) == CURLM_OK &&
		curl_multi_setopt(conn->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer) == CURLM_OK &&
		curl_multi_setopt(conn->multi, CURLMOPT_TIMERDATA, conn) == CURLM_OK;

	/*
	 * This sets the timer, and so libcurl starts in the next turn of the
	 * loop.
	 */
	if (!ok || curl_multi_add_handle(conn->multi, easy) != CURLM_OK)
	{
		tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not set up libcurl to connect to \"%s\"", options->address);
		return false;
	}
	return true;
}

static void
on_timer(void *arg)
{
	Connection *conn = arg;

	if (conn->easy == NULL)
		conn->done(conn->arg, &conn->error);
	else
		drive(conn, CURL_SOCKET_TIMEOUT, 0);
}

static void
on_curl_socket_ready(void *arg, uint32 events)
{
	CurlSocket *watched = arg;

	drive(watched->conn, watched->sock,
		  ((events & WL_SOCKET_READABLE) ? CURL_CSELECT_IN : 0) |
		  ((events & WL_SOCKET_WRITEABLE) ? CURL_CSELECT_OUT : 0));
}

static void
on_ready(void *arg, uint32 events)
{
	Connection *conn = arg;

	conn->io(conn->arg, events);
}

/*
 * libcurl tells which sockets it waits for.
 */
static int
on_curl_socket(CURL *easy, curl_socket_t sock, int what, void *userp, void *socketp)
{
	Connection *conn = userp;
	CurlSocket *watched = socketp;
	uint32		events = ((what & CURL_POLL_IN) ? WL_SOCKET_READABLE : 0) |
		((what & CURL_POLL_OUT) ? WL_SOCKET_WRITEABLE : 0);

	if (what == CURL_POLL_REMOVE)
	{
		if (watched != NULL)
		{
			tc_event_loop_unwatch(watched->watch);
			dlist_delete(&watched->node);
			free(watched);
		}
		return 0;
	}
	if (watched != NULL)
	{
		tc_event_loop_modify(watched->watch, events);
		return 0;
	}

	watched = malloc(sizeof(CurlSocket));
	if (watched == NULL)
		return -1;
	watched->conn = conn;
	watched->sock = sock;
	watched->watch = tc_event_loop_watch(sock, events, on_curl_socket_ready, watched);
	if (watched->watch == NULL)
	{
		free(watched);
		return -1;
	}
	dlist_push_tail(&conn->curl_sockets, &watched->node);
	curl_multi_assign(conn->multi, sock, watched);
	return 0;
}

static int
on_curl_timer(CURLM *multi, long timeout_ms, void *userp)
{
	Connection *conn = userp;

	if (timeout_ms < 0)
		tc_timer_cancel(&conn->timer);
	else
		tc_timer_set(&conn->timer, tc_monotonic_ms() + timeout_ms, on_timer, conn);
	return 0;
}

static CURLcode
on_ssl_ctx(CURL *easy, void *ssl_ctx, void *userp)
{
	Connection *conn = userp;

	return tc_tls_apply(conn->tls, ssl_ctx, &conn->error) ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
}

/*
 * Let libcurl go on connecting; tell when that is over.  The connection may
 * be gone on return.
 */
static void
drive(Connection *conn, curl_socket_t sock, int events)
{
	sigset_t	old;
	int			running;
	int			left;
	CURLMcode	multi_code;
	CURLMsg    *message;
	bool		over = false;

	block_signals(&old);
	multi_code = curl_multi_socket_action(conn->multi, sock, events, &running);
	while ((message = curl_multi_info_read(conn->multi, &left)) != NULL)
	{
		if (message->msg == CURLMSG_DONE)
		{
			over = true;
			conn->code = message->data.result;
		}
	}
	restore_signals(&old);

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
	forget_curl_sockets(conn);
	tc_timer_cancel(&conn->timer);

	if (conn->error.code == NULL && conn->code != CURLE_OK)
		explain_connect(conn, &conn->error);
	else if (conn->error.code == NULL && conn->tls != NULL && !tc_tls_is_http2(conn->tls))
		tc_channel_error(&conn->error, TC_ERROR_NOT_HTTP2, true,
						 "\"%s\" speaks TLS, but does not offer HTTP/2 (ALPN \"h2\")", address);
	else if (conn->error.code == NULL)
	{
		block_signals(&old);
		conn->code = curl_easy_getinfo(conn->easy, CURLINFO_ACTIVESOCKET, &sock);
		restore_signals(&old);
		conn->curl_error[0] = '\0';

		if (conn->code == CURLE_OK && sock != CURL_SOCKET_BAD)
			conn->watch = tc_event_loop_watch(sock, WL_SOCKET_READABLE, on_ready, conn);
		if (conn->watch == NULL)
			tc_channel_error(&conn->error, TC_ERROR_CONNECTION_FAILED, false,
							 "connection to \"%s\" was lost at once", address);
	}
	conn->done(conn->arg, conn->error.code ? &conn->error : NULL);
}

/*
 * Why libcurl could not connect, for operators.
 */
static void
explain_connect(Connection *conn, ChannelError *error)
{
	const ChannelOptions *options = conn->options;
	const char *text = conn->curl_error[0] ? conn->curl_error : curl_easy_strerror(conn->code);
	long		os_errno = 0;
	sigset_t	old;

	switch (conn->code)
	{
		case CURLE_COULDNT_RESOLVE_HOST:
			tc_channel_error(error, TC_ERROR_NAME_RESOLUTION_FAILED, false,
							 "could not look up the host name of \"%s\"", options->address);
			return;

		case CURLE_COULDNT_CONNECT:
			block_signals(&old);
			curl_easy_getinfo(conn->easy, CURLINFO_OS_ERRNO, &os_errno);
			restore_signals(&old);
			tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
							 "could not connect to \"%s\": %s", options->address,
							 os_errno ? strerror((int) os_errno) : text);
			return;

		case CURLE_OPERATION_TIMEDOUT:
			if (strncmp(text, "Resolving", 9) == 0)
				tc_channel_error(error, TC_ERROR_NAME_RESOLUTION_FAILED, false,
								 "could not look up the host name of \"%s\" within %d ms",
								 options->address, options->connect_timeout_ms);
			else
				tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
								 "could not connect to \"%s\" within %d ms",
								 options->address, options->connect_timeout_ms);
			return;

		case CURLE_PEER_FAILED_VERIFICATION:
			tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
							 "the certificate of \"%s\" is not accepted: %s",
							 options->address, text);
			return;

		case CURLE_SSL_CACERT_BADFILE:
			tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
							 "could not read the certificates of the system's authorities: %s", text);
			return;

		case CURLE_SSL_CONNECT_ERROR:
			if (tc_tls_explain(conn->tls, options->address, error))
				return;
			if (strstr(text, "wrong version number") != NULL ||
				strstr(text, "packet length too long") != NULL)
				tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
								 "\"%s\" does not speak TLS (%s)", options->address, text);
			else if (strstr(text, "SYSCALL") != NULL || strstr(text, "Connection reset") != NULL ||
					 strstr(text, "unexpected eof") != NULL)
				tc_channel_error(error, TC_ERROR_TLS_FAILED, false,
								 "\"%s\" closed the connection during the TLS handshake; perhaps it does not speak TLS",
								 options->address);
			else
				tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
								 "TLS handshake with \"%s\" failed: %s", options->address, text);
			return;

		default:
			tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
							 "could not connect to \"%s\": %s", options->address, text);
	}
}

static void
forget_curl_sockets(Connection *conn)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &conn->curl_sockets)
	{
		CurlSocket *watched = dlist_container(CurlSocket, node, iter.cur);
		sigset_t	old;

		block_signals(&old);
		curl_multi_assign(conn->multi, watched->sock, NULL);
		restore_signals(&old);
		tc_event_loop_unwatch(watched->watch);
		dlist_delete(iter.cur);
		free(watched);
	}
}

/*
 * Block every signal but those of a fault in the code that runs.
 */
static void
block_signals(sigset_t *old)
{
	sigset_t	all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGTRAP);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &all, old);
}

static void
restore_signals(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}
