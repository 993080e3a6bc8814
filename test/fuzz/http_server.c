/*-------------------------------------------------------------------------
 *
 * http_server.c
 *	  A server or proxy of HTTP, whose answers are well-formed or not.
 *
 * It has sockets, as libcurl wants them, but is in the same process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend.h"
#include "http_fuzz.h"

#define MAX_SOCKETS 24
#define MAX_TAKEN 65536

/* What is sent at most for one input */
#define MAX_SENT (256 * 1024)

typedef struct Peer
{
	int			sock;			/* -1 = closed */
	char		taken[MAX_TAKEN + 1];
	size_t		ntaken;
} Peer;

int			server_port;
int			received[MAX_CALLS];
bool		said_success;
bool		said_error;

static int	listener = -1;
static Peer peers[MAX_SOCKETS];
static int	npeers;
static size_t nsent;

void
begin_server(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	len = sizeof(address);

	npeers = 0;
	nsent = 0;
	said_success = said_error = false;
	memset(received, 0, sizeof(received));
	if (listener >= 0)
		return;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(listener >= 0);
	CHECK(bind(listener, (struct sockaddr *) &address, len) == 0);
	CHECK(listen(listener, MAX_SOCKETS) == 0);
	CHECK(getsockname(listener, (struct sockaddr *) &address, &len) == 0);
	server_port = ntohs(address.sin_port);
}

/* With a reset, so that no port stays occupied */
static void
close_peer(Peer *peer)
{
	struct linger now = {1, 0};

	if (peer->sock < 0)
		return;
	setsockopt(peer->sock, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(peer->sock);
	peer->sock = -1;
}

void
end_server(void)
{
	take_requests();
	for (int i = 0; i < npeers; i++)
		close_peer(&peers[i]);
}

/*---- requests ----*/

/* Length of the request that begins here, 0 if it is not whole. */
static size_t
request_length(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n");
	const char *length = strcasestr(request, "\r\ncontent-length:");
	size_t		len;

	if (end == NULL)
		return 0;
	len = end + 4 - request;
	if (length != NULL && length < end)
		len += strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
	return len <= strlen(request) ? len : 0;
}

/* Which call is it of? */
static void
note_request(Peer *peer, size_t len)
{
	char		after = peer->taken[len];
	const char *mark;

	peer->taken[len] = '\0';
	mark = strstr(peer->taken, CALL_MARK);
	if (mark != NULL)
	{
		int			number = atoi(mark + strlen(CALL_MARK));

		CHECK(number >= 0 && number < MAX_CALLS);
		received[number]++;
	}
	peer->taken[len] = after;
	peer->ntaken -= len;
	memmove(peer->taken, peer->taken + len, peer->ntaken + 1);
}

void
take_requests(void)
{
	int			sock;
	size_t		len;

	while ((sock = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
	{
		int			one = 1;

		if (npeers == MAX_SOCKETS)
		{
			Peer		one_too_many = {.sock = sock};

			close_peer(&one_too_many);
			continue;
		}
		setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		peers[npeers].sock = sock;
		peers[npeers].ntaken = 0;
		npeers++;
	}
	for (int i = 0; i < npeers; i++)
	{
		Peer	   *peer = &peers[i];
		ssize_t		n = -1;

		while (peer->sock >= 0 && peer->ntaken < MAX_TAKEN &&
			   (n = recv(peer->sock, peer->taken + peer->ntaken, MAX_TAKEN - peer->ntaken, 0)) > 0)
		{
			peer->ntaken += n;
			peer->taken[peer->ntaken] = '\0';
			while ((len = request_length(peer->taken)) > 0)
				note_request(peer, len);
		}
		if (n == 0)
			close_peer(peer);
	}
}

/*---- answers ----*/

/* Mostly the newest connection that is open, now and then one before */
static Peer *
next_peer(uint8 which)
{
	for (int i = npeers - 1; i >= 0; i--)
		if (peers[i].sock >= 0 && which-- % 4 == 0)
			return &peers[i];
	return NULL;
}

static void
send_to(Peer *peer, const void *bytes, size_t len)
{
	if (peer == NULL || nsent + len > MAX_SENT)
		return;
	nsent += len;
	(void) !send(peer->sock, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
answer_as_usual(const char *body)
{
	char text[	1024];

	said_success = true;
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
			 "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: %zu\r\n\r\n%s",
			 strlen(body), body);
	send_to(next_peer(0), text, strlen(text));
}

/* A status, headers and a body, each as usual or any */
void
answer(void)
{
	static const int statuses[] = {
		200, 400, 401, 403, 404, 407, 408, 413, 415, 417, 421, 429, 500, 501, 502, 503, 504, 100, 101, 103,
		204, 206, 301, 307, 308, 304, 426, 418, 999
	};
	static const char *const headers[] = {
		"Content-Type: application/json", "Connection: close", "Connection: keep-alive",
		"Location: /elsewhere", "WWW-Authenticate: Basic realm=\"x\"", "WWW-Authenticate: Negotiate",
		"Proxy-Authenticate: Digest realm=\"x\", nonce=\"y\"", "Retry-After: 100000", "Content-Encoding: gzip",
		"Transfer-Encoding: gzip", "Trailer: Date", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Upgrade: h2c",
		"Content-Length: 18446744073709551615", "Content-Length: -1", "Set-Cookie: a=b",
		"Alt-Svc: h2=\":1\"", "Keep-Alive: timeout=0"
	};
	static const char *const bodies[] = {
		"{}", "{\"code\":5,\"message\":\"Not Found\",\"details\":[]}", "{\"code\":12}",
		"{\"code\":3,\"message\":\"unknown field\"}", "{\"code\":16,\"message\":\"say secret-token\"}",
		"{\"serverVersion\":\"1.29.0\"}", "{\"serverVersion\":\"1.31.2\"}", "{\"payloads\":[]}",
		"{\"payloads\":[{\"metadata\":{\"encoding\":\"YQ==\"},\"data\":\"Yg==\"}]}",
		"{\"code\":9,\"message\":\"m\",\"details\":[{\"@type\":\"type.googleapis.com/a.NotFoundFailure\"}]}",
		"", "[]", "null", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	};
	uint8		which = next_byte();
	int			status = statuses[next_byte() % lengthof(statuses)];
	int			nheaders = next_byte() % 6;
	uint8		how = next_byte();
	const uint8 *body = (const uint8 *) bodies[how % lengthof(bodies)];
	size_t		len = strlen((const char *) body);
	char text[	8192];
	int			n;

	if (how >= 0xC0)
		len = next_bytes(&body, next_byte() << (how & 3));
	said_success |= status == 200;
	said_error |= how >= 0xC0 || memmem(body, len, "code", 4) != NULL;
	n = snprintf(text, sizeof(text), "HTTP/1.%d %d OK\r\n", which >> 7, status);
	for (int i = 0; i < nheaders; i++)
	{
		uint8		header = next_byte();

		if (header < 0x80)
			n += snprintf(text +n, sizeof(text) - n, "%s\r\n", headers[header % lengthof(headers)]);
		else
		{
			const uint8 *bytes;
			size_t		nbytes = next_bytes(&bytes, header & 0x7F);

			/* may say anything */
			said_success = said_error = true;
			memcpy(text +n, bytes, nbytes);
			n += nbytes;
			n += snprintf(text +n, sizeof(text) - n, "\r\n");
		}
	}
	switch ((which >> 4) & 7)
	{
		case 0:
			n += snprintf(text +n, sizeof(text) - n, "Content-Length: %zu\r\n\r\n", len + (which & 3));
			break;
		case 1:
			n += snprintf(text +n, sizeof(text) - n, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
			break;
		case 2:
			/* until the connection ends */
			n += snprintf(text +n, sizeof(text) - n, "\r\n");
			break;
		case 3:
			/* that was not all */
			break;
		default:
			n += snprintf(text +n, sizeof(text) - n, "Content-Length: %zu\r\n\r\n", len);
	}
	send_to(next_peer(which & 0x0C), text, n);
	send_to(next_peer(which & 0x0C), body, len);
	if (((which >> 4) & 7) == 1)
		send_to(next_peer(which & 0x0C), which & 1 ? "\r\n0\r\n\r\n" : "\r\n0\r\nDate: x\r\n\r\n",
				which & 1 ? 7 : 16);
}

/* Bytes as they are */
void
send_bytes(void)
{
	const uint8 *bytes;
	size_t		len = next_bytes(&bytes, next_byte());

	said_success = said_error = true;
	send_to(next_peer(0), bytes, len);
}

/* Some bytes many times, as headers or bodies without an end */
void
send_again(void)
{
	const uint8 *bytes;
	int			times = next_byte() << 4;
	size_t		len = next_bytes(&bytes, next_byte() % 32);

	said_success = said_error = true;
	for (; times > 0; times--)
		send_to(next_peer(0), bytes, len);
}

void
stop_sending(void)
{
	Peer	   *peer = next_peer(next_byte());

	if (peer != NULL)
		shutdown(peer->sock, SHUT_WR);
}

void
reset_connection(void)
{
	Peer	   *peer = next_peer(next_byte());

	if (peer != NULL)
		close_peer(peer);
}
