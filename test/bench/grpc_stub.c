/*-------------------------------------------------------------------------
 *
 * grpc_stub.c
 *	  A gRPC server that answers every call alike, as fast as it can.
 *
 * Here is what listens, and the loop; connections are in stub_session.c,
 * requests and their answers in stub_answers.c, options in stub_options.c.
 *
 * For measuring the extension without the cost of a real server, and for
 * faults that a real server does not make on demand.  HTTP/2 in cleartext or
 * by TLS, one thread.  Counts are printed as JSON on SIGUSR1, and at exit on SIGTERM or
 * SIGINT.
 *
 *	  grpc_stub [--port N] [--delay MS] [--status N] [--message TEXT]
 *				[--detail TYPE] [--date TEXT] [--reply HEX] [--fail-first N]
 *				[--http-status N] [--no-status] [--reset CODE]
 *				[--goaway-after N] [--goaway-code N] [--close-after N]
 *				[--reset-connection-after N] [--max-streams N] [--hang]
 *				[--hang-after N] [--hang-path PART] [--unfinished N]
 *				[--silent] [--pong-never] [--junk SEED]
 *				[--tls-cert FILE --tls-key FILE] [--client-ca FILE]
 *				[--authorization FILE [--refuse STATUS]] [--requests FILE]
 *				[--calls FILE]
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
 * and the headers that a test may look for.  --calls, too: a time in ms, what
 * it calls, and the id in its identity (of a request, or of a recording).
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stub.h"

StubCounts	counts;
int			epoll_fd;

static int	listener;
static int	signal_fd;

static void
print_counts(void)
{
	printf("{\"connections\": %ld, \"requests\": %ld, \"answered\": %ld, \"reset\": %ld, "
		   "\"lost\": %ld, \"disowned\": %ld, \"goaways\": %ld, \"pings\": %ld, \"bytes\": %ld}\n",
		   counts.connections, counts.requests, counts.answered, counts.reset,
		   counts.lost, counts.disowned, counts.goaways, counts.pings, counts.bytes);
	fflush(stdout);
}

static int
listen_on_port(void)
{
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) options.port),
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
	printf("listening on options.port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void
watch(int *fd)
{
	struct epoll_event event = {.data.ptr = fd};

	event.events = EPOLLIN;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, *fd, &event);
}

static void
take_connection(void)
{
	int			fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

	if (fd >= 0)
		begin_session(fd);
}

static void
take_signals(void)
{
	struct signalfd_siginfo info;

	while (read(signal_fd, &info, sizeof(info)) == sizeof(info))
	{
		print_counts();
		if (info.ssi_signo != SIGUSR1)
			exit(0);
	}
}

int
main(int argc, char **argv)
{
	sigset_t	signals;
	int			timeout = -1;

	parse_options(argc, argv);
	if (options.tls_cert != NULL)
		prepare_tls();
	prepare_http2();

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_NONBLOCK);
	listener = listen_on_port();
	epoll_fd = epoll_create1(0);
	watch(&listener);
	watch(&signal_fd);

	for (;;)
	{
		struct epoll_event events[64];
		int			n = epoll_wait(epoll_fd, events, 64, timeout);

		for (int i = 0; i < n; i++)
		{
			void	   *what = events[i].data.ptr;

			if (what == &listener)
				take_connection();
			else if (what == &signal_fd)
				take_signals();
			else if (!((Session *) what)->dead && (events[i].events & ~EPOLLOUT))
				read_session(what);
		}
		timeout = answer_due();
		flush_sessions();
		reap_sessions();
	}
}
