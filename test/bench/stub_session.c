/*-------------------------------------------------------------------------
 *
 * stub_session.c
 *	  Connections of the stub: bytes in and out, by TLS or not.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stub.h"

static SSL_CTX *tls = NULL;
static Session *sessions = NULL;

static void flush_session(Session *session);

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

void
prepare_tls(void)
{
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, options.tls_cert) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, options.tls_key, SSL_FILETYPE_PEM) != 1 ||
		(options.client_ca != NULL && SSL_CTX_load_verify_locations(tls, options.client_ca, NULL) != 1))
	{
		fprintf(stderr, "the certificates cannot be used\n");
		exit(2);
	}
	if (options.client_ca != NULL)
		SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_select_cb(tls, choose_http2, NULL);
	/* a client that closes at once must not end the process */
	signal(SIGPIPE, SIG_IGN);
}

void
begin_session(int fd)
{
	Session    *session = calloc(1, sizeof(Session));
	struct epoll_event event = {
		.events = EPOLLIN,
		.data.ptr = session
	};
	nghttp2_settings_entry settings[1] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_streams}};
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
	session->ng = begin_http2(session);
	if (options.silent)
		return;
	nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, settings, options.max_streams > 0 ? 1 : 0);
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
	if (options.close_hard)
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

void
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

	while (!session->dead && !blocked && !options.silent)
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

void
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
		if (options.silent || session->half_closed)
			return;
		if (nghttp2_session_mem_recv(session->ng, input, n) < 0)
			end_session(session);
	} while (!session->dead && session->ssl != NULL && SSL_has_pending(session->ssl));
}

void
flush_sessions(void)
{
	for (Session *session = sessions; session != NULL; session = session->next)
		flush_session(session);
}
