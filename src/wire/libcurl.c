/*-------------------------------------------------------------------------
 *
 * libcurl.c
 *	  libcurl in the event loop: what all who use it have in common.
 *
 * libcurl looks up names in a thread.  A signal that arrives there would run
 * PostgreSQL's handlers on a foreign thread, therefore all signals are
 * blocked where libcurl may start one, and the thread inherits that.
 * Nothing here may raise an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <pthread.h>

#include "lib/ilist.h"
#include "storage/latch.h"

#include "base/event_loop.h"
#include "wire/channel_error.h"
#include "wire/libcurl.h"
#include "wire/proxy.h"

/* TCP keepalive, seconds */
#define TCP_KEEPALIVE 60

/* A socket that libcurl waits for */
typedef struct CurlSocket
{
	dlist_node	node;
	CurlMulti  *multi;
	curl_socket_t sock;
	SocketWatch *watch;
} CurlSocket;

struct CurlMulti
{
	CURLM	   *handle;
	LoopTimer	timer;
	dlist_head	sockets;
	CurlDriven	driven;
	void	   *arg;
};

static void on_timer(void *arg);
static void on_socket_ready(void *arg, uint32 events);
static int	on_curl_socket(CURL *easy, curl_socket_t sock, int what, void *userp, void *socketp);
static int	on_curl_timer(CURLM *handle, long timeout_ms, void *userp);
static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *userp);
static void drive(CurlMulti *multi, curl_socket_t sock, int events);

void
tc_curl_enter(sigset_t *old)
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

void
tc_curl_leave(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

bool
tc_curl_target_make(CurlTarget *target, const ChannelOptions *options, ChannelError *error)
{
	static bool initialized = false;
	const char *tls_name = options->tls_server_name;
	char		host[TC_HOST_SIZE];
	char		connect_to[2 * TC_HOST_SIZE];
	int			port;

	target->connect_to = target->proxy_lines = NULL;
	if (tc_address_split(options->address, host, &port) != NULL || port == 0)
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "\"%s\" is not an address of the form host:port", options->address);
		return false;
	}
	if (!options->tls || (tls_name != NULL && tls_name[0] == '\0'))
		tls_name = NULL;
	if (tls_name != NULL && !tc_is_host(tls_name))
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "\"%s\" is not a host name, as tls_server_name has to be", tls_name);
		return false;
	}
	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not initialize libcurl");
		return false;
	}
	initialized = true;

	/* The URL carries the name to verify, CONNECT_TO where to connect. */
	snprintf(target->base, sizeof(target->base), "%s://%s:%d", options->tls ? "https" : "http",
			 tls_name ? tls_name : host, port);
	if (!tc_proxy_lines(options, &target->proxy_lines, error))
		return false;
	if (tls_name == NULL)
		return true;
	snprintf(connect_to, sizeof(connect_to), "::%s:%d", host, port);
	target->connect_to = curl_slist_append(NULL, connect_to);
	if (target->connect_to == NULL)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	return target->connect_to != NULL;
}

void
tc_curl_target_free(CurlTarget *target)
{
	curl_slist_free_all(target->connect_to);
	target->connect_to = NULL;
	tc_proxy_lines_free(target->proxy_lines);
	target->proxy_lines = NULL;
}

bool
tc_curl_set_common(CURL *easy, const ChannelOptions *options, const CurlTarget *target,
				   CurlTls *tls, char *error_buffer)
{
	bool		ok = true;

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)

	SET(CURLOPT_ERRORBUFFER, error_buffer);
	SET(CURLOPT_URL, target->base);
	SET(CURLOPT_NOSIGNAL, 1L);
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
	ok = ok && tc_proxy_set(easy, options, target->proxy_lines);
	if (target->connect_to != NULL)
		SET(CURLOPT_CONNECT_TO, target->connect_to);
	if (tls->settings != NULL)
	{
		long		verify = options->tls_disable_host_verification ? 0 : 1;

		SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
		SET(CURLOPT_SSL_ENABLE_ALPN, 0L);	/* ours is set in on_ssl_ctx() */
		SET(CURLOPT_SSL_VERIFYPEER, verify);
		SET(CURLOPT_SSL_VERIFYHOST, 2 * verify);
		if (tc_tls_has_own_ca(tls->settings))
		{
			SET(CURLOPT_CAINFO, NULL);
			SET(CURLOPT_CAPATH, NULL);
		}
		SET(CURLOPT_SSL_CTX_DATA, tls);
		if (ok && curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) != CURLE_OK)
		{
			tc_channel_error(&tls->error, TC_ERROR_CONFIGURATION, true,
							 "TLS needs a libcurl that is built with OpenSSL");
			return false;
		}
	}
#undef SET
	if (!ok)
		tc_channel_error(&tls->error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not set up libcurl to connect to \"%s\"", options->address);
	return ok;
}

static CURLcode
on_ssl_ctx(CURL *easy, void *ssl_ctx, void *userp)
{
	CurlTls    *tls = userp;

	return tc_tls_apply(tls->settings, ssl_ctx, &tls->error) ? CURLE_OK : CURLE_SSL_CERTPROBLEM;
}

void
tc_curl_explain_connect(CURL *easy, CURLcode code, const char *error_buffer,
						const ChannelOptions *options, const TlsSettings *tls,
						ChannelError *error)
{
	const char *text = error_buffer[0] ? error_buffer : curl_easy_strerror(code);
	long		os_errno = 0;
	sigset_t	old;
	bool		explained;

	tc_curl_enter(&old);
	explained = tc_proxy_explain(easy, code, text, options, error);
	tc_curl_leave(&old);
	if (explained)
		return;

	switch (code)
	{
		case CURLE_COULDNT_RESOLVE_HOST:
			tc_channel_error(error, TC_ERROR_NAME_RESOLUTION_FAILED, false,
							 "could not look up the host name of \"%s\"", options->address);
			return;

		case CURLE_COULDNT_CONNECT:
			tc_curl_enter(&old);
			curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
			tc_curl_leave(&old);
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
							 "the certificate of \"%s\" is not accepted: %s%s",
							 options->address, text,
							 strstr(text, "certificate subject name") != NULL ? "; " TC_SEE_TLS_NAME : "");
			return;

		case CURLE_SSL_CACERT_BADFILE:
			tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
							 "could not read the certificates of the system's authorities: %s", text);
			return;

		case CURLE_SSL_CONNECT_ERROR:
			if (tls != NULL && tc_tls_explain(tls, options->address, error))
				return;
			if (strstr(text, "wrong version number") != NULL ||
				strstr(text, "packet length too long") != NULL)
				tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
								 "\"%s\" does not speak TLS (%s)", options->address, text);
			else if (strstr(text, "SYSCALL") != NULL || strstr(text, "Connection reset") != NULL ||
					 strstr(text, "unexpected eof") != NULL)
				tc_channel_error(error, TC_ERROR_TLS_FAILED, false,
								 "\"%s\" closed the connection during the TLS handshake; perhaps it does not speak TLS, or wants another name: " TC_SEE_TLS_NAME,
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

CurlMulti *
tc_curl_multi_open(CurlDriven driven, void *arg)
{
	CurlMulti  *multi = calloc(1, sizeof(CurlMulti));
	sigset_t	old;
	bool		ok;

	if (multi == NULL)
		return NULL;
	multi->driven = driven;
	multi->arg = arg;
	dlist_init(&multi->sockets);

	tc_curl_enter(&old);
	multi->handle = curl_multi_init();
	ok = multi->handle != NULL &&
		curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, on_curl_socket) == CURLM_OK &&
		curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi) == CURLM_OK &&
		curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, on_curl_timer) == CURLM_OK &&
		curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi) == CURLM_OK;
	if (!ok && multi->handle != NULL)
		curl_multi_cleanup(multi->handle);
	tc_curl_leave(&old);
	if (!ok)
	{
		free(multi);
		return NULL;
	}
	return multi;
}

void
tc_curl_multi_close(CurlMulti *multi)
{
	sigset_t	old;

	tc_curl_multi_forget_sockets(multi);
	tc_curl_enter(&old);
	curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, NULL);
	curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, NULL);
	curl_multi_cleanup(multi->handle);
	tc_curl_leave(&old);
	tc_timer_cancel(&multi->timer);
	free(multi);
}

CURLM *
tc_curl_multi_handle(CurlMulti *multi)
{
	return multi->handle;
}

/* This sets the timer, and so libcurl starts with the loop. */
bool
tc_curl_multi_add(CurlMulti *multi, CURL *easy)
{
	return curl_multi_add_handle(multi->handle, easy) == CURLM_OK;
}

void
tc_curl_multi_remove(CurlMulti *multi, CURL *easy)
{
	curl_multi_remove_handle(multi->handle, easy);
}

bool
tc_curl_multi_next(CurlMulti *multi, CURL **easy, CURLcode *code)
{
	CURLMsg    *message;
	int			left;

	do
		message = curl_multi_info_read(multi->handle, &left);
	while (message != NULL && message->msg != CURLMSG_DONE);
	if (message != NULL)
	{
		*easy = message->easy_handle;
		*code = message->data.result;
	}
	return message != NULL;
}

void
tc_curl_multi_forget_sockets(CurlMulti *multi)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &multi->sockets)
	{
		CurlSocket *watched = dlist_container(CurlSocket, node, iter.cur);

		curl_multi_assign(multi->handle, watched->sock, NULL);
		tc_event_loop_unwatch(watched->watch);
		dlist_delete(iter.cur);
		free(watched);
	}
	tc_timer_cancel(&multi->timer);
}

static void
on_timer(void *arg)
{
	drive((CurlMulti *) arg, CURL_SOCKET_TIMEOUT, 0);
}

static void
on_socket_ready(void *arg, uint32 events)
{
	CurlSocket *watched = arg;

	drive(watched->multi, watched->sock,
		  ((events & WL_SOCKET_READABLE) ? CURL_CSELECT_IN : 0) |
		  ((events & WL_SOCKET_WRITEABLE) ? CURL_CSELECT_OUT : 0));
}

/*
 * Let libcurl go on.  The multi handle may be gone on return.
 */
static void
drive(CurlMulti *multi, curl_socket_t sock, int events)
{
	sigset_t	old;
	int			running;
	CURLMcode	code;

	tc_curl_enter(&old);
	tc_proxy_begin_turn();
	code = curl_multi_socket_action(multi->handle, sock, events, &running);
	tc_curl_leave(&old);
	multi->driven(multi->arg, code);
}

/*
 * libcurl tells which sockets it waits for.
 */
static int
on_curl_socket(CURL *easy, curl_socket_t sock, int what, void *userp, void *socketp)
{
	CurlMulti  *multi = userp;
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
	watched->multi = multi;
	watched->sock = sock;
	watched->watch = tc_event_loop_watch(sock, events, on_socket_ready, watched);
	if (watched->watch == NULL)
	{
		free(watched);
		return -1;
	}
	dlist_push_tail(&multi->sockets, &watched->node);
	curl_multi_assign(multi->handle, sock, watched);
	return 0;
}

static int
on_curl_timer(CURLM *handle, long timeout_ms, void *userp)
{
	CurlMulti  *multi = userp;

	if (timeout_ms < 0)
		tc_timer_cancel(&multi->timer);
	else
		tc_timer_set(&multi->timer, tc_monotonic_ms() + timeout_ms, on_timer, multi);
	return 0;
}
