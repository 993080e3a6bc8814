/*-------------------------------------------------------------------------
 *
 * http_loop.c
 *	  An event loop that never waits, in place of event_loop.c.
 *
 * Beside it what else of a backend the channels of HTTP ask for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <poll.h>
#include <time.h>

#include "lib/ilist.h"
#include "storage/fd.h"
#include "storage/latch.h"

#include "backend.h"
#include "base/event_loop.h"
#include "http_fuzz.h"
#include "wire/channel.h"
#include "wire/tls.h"

/* The most turns without the server having a word */
#define MAX_TURNS 64

struct SocketWatch
{
	dlist_node	node;
	bool		gone;
	pgsocket	sock;
	uint32		events;
	SocketCallback callback;
	void	   *arg;
};

typedef struct TimerNode
{
	dlist_node	node;
	LoopTimer  *timer;
} TimerNode;

static dlist_head watches = DLIST_STATIC_INIT(watches);
static dlist_head timers = DLIST_STATIC_INIT(timers);
static int	external_files;

/* Nobody asks for it. */
const Transport tc_grpc_transport = {0};

int64
tc_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*---- sockets ----*/

SocketWatch *
tc_event_loop_watch(pgsocket sock, uint32 events, SocketCallback callback, void *arg)
{
	SocketWatch *watch = calloc(1, sizeof(SocketWatch));

	CHECK(watch != NULL);
	watch->sock = sock;
	watch->events = events;
	watch->callback = callback;
	watch->arg = arg;
	dlist_push_tail(&watches, &watch->node);
	return watch;
}

void
tc_event_loop_modify(SocketWatch *watch, uint32 events)
{
	CHECK(!watch->gone);
	watch->events = events;
}

/* Freed at the end of a turn, for a callback may unwatch any socket. */
void
tc_event_loop_unwatch(SocketWatch *watch)
{
	CHECK(!watch->gone);
	watch->gone = true;
}

static void
free_unwatched(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &watches)
	{
		SocketWatch *watch = dlist_container(SocketWatch, node, iter.cur);

		if (watch->gone)
		{
			dlist_delete(&watch->node);
			free(watch);
		}
	}
}

static bool
run_sockets(void)
{
	bool		any = false;
	dlist_iter	iter;

	dlist_foreach(iter, &watches)
	{
		SocketWatch *watch = dlist_container(SocketWatch, node, iter.cur);
		struct pollfd ready = {watch->sock};

		if (watch->gone || watch->events == 0)
			continue;
		ready.events = ((watch->events & WL_SOCKET_READABLE) ? POLLIN : 0) |
			((watch->events & WL_SOCKET_WRITEABLE) ? POLLOUT : 0);
		if (poll(&ready, 1, 0) <= 0)
			continue;
		any = true;
		watch->callback(watch->arg,
						((ready.revents & ~POLLOUT) ? WL_SOCKET_READABLE : 0) |
						((ready.revents & ~POLLIN) ? WL_SOCKET_WRITEABLE : 0));
	}
	free_unwatched();
	return any;
}

/*---- timers ----*/

void
tc_timer_set(LoopTimer *timer, int64 due, TimerCallback callback, void *arg)
{
	TimerNode  *node;

	tc_timer_cancel(timer);
	node = malloc(sizeof(TimerNode));
	CHECK(node != NULL);
	node->timer = timer;
	timer->when.due = due;
	timer->callback = callback;
	timer->arg = arg;
	timer->armed = true;
	dlist_push_tail(&timers, &node->node);
}

void
tc_timer_cancel(LoopTimer *timer)
{
	dlist_iter	iter;

	if (!timer->armed)
		return;
	timer->armed = false;
	dlist_foreach(iter, &timers)
	{
		TimerNode  *node = dlist_container(TimerNode, node, iter.cur);

		if (node->timer != timer)
			continue;
		dlist_delete(&node->node);
		free(node);
		return;
	}
	CHECK(false);
}

static bool
run_timer(void)
{
	int64		now = tc_monotonic_ms();
	dlist_iter	iter;

	dlist_foreach(iter, &timers)
	{
		LoopTimer  *timer = dlist_container(TimerNode, node, iter.cur)->timer;

		if (timer->when.due > now)
			continue;
		tc_timer_cancel(timer);
		timer->callback(timer->arg);
		return true;
	}
	return false;
}

/* Until nothing happens any more */
void
run_loop(void)
{
	bool		any = true;

	for (int i = 0; any && i < MAX_TURNS; i++)
	{
		any = run_timer();
		any |= run_sockets();
		take_requests();
	}
}

void
check_loop_is_empty(void)
{
	free_unwatched();
	CHECK(dlist_is_empty(&watches) && dlist_is_empty(&timers));
	CHECK(external_files == 0);
}

/*---- files ----*/

bool
AcquireExternalFD(void)
{
	external_files++;
	return true;
}

void
ReleaseExternalFD(void)
{
	external_files--;
	CHECK(external_files >= 0);
}

/*---- TLS, which is not fuzzed ----*/

TlsSettings *
tc_tls_load(const ChannelOptions *options, TlsProtocols protocols, ChannelError *error)
{
	abort();
}

void
tc_tls_free(TlsSettings *tls)
{
	CHECK(tls == NULL);
}

bool
tc_tls_has_own_ca(const TlsSettings *tls)
{
	abort();
}

bool
tc_tls_apply(TlsSettings *tls, void *ssl_ctx, ChannelError *error)
{
	abort();
}

const char *
tc_tls_version(const TlsSettings *tls)
{
	abort();
}

void
tc_tls_add_expiry(const TlsSettings *tls, ChannelExpiry *expiry)
{
	abort();
}

bool
tc_tls_explain(const TlsSettings *tls, const char *address, ChannelError *error)
{
	abort();
}

void
tc_tls_offer(TlsSettings *tls, TlsProtocols protocols)
{
}

bool
tc_tls_is_http2(const TlsSettings *tls)
{
	return false;
}
