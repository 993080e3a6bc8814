/*-------------------------------------------------------------------------
 *
 * grpc_loop.c
 *	  Connections without sockets, and a clock that stands still.
 *
 * They stand in for connection.c and event_loop.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <nghttp2/nghttp2.h>

#include "lib/ilist.h"
#include "storage/latch.h"

#include "backend.h"
#include "grpc_fuzz.h"
#include "wire/channel.h"
#include "wire/channel_error.h"

static const char client_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#define PREFACE_LEN (sizeof(client_preface) - 1)

Connection	connections[MAX_CONNECTIONS];
int			nconnections;
int64		now_ms;

static dlist_head timers = DLIST_STATIC_INIT(timers);

/*---------------------------------------------------------------------------
 * The event loop: timers only
 *---------------------------------------------------------------------------
 */

int64
tc_monotonic_ms(void)
{
	return now_ms;
}

typedef struct TimerNode
{
	dlist_node	node;
	LoopTimer  *timer;
} TimerNode;

static TimerNode *
find_timer(const LoopTimer *timer)
{
	dlist_iter	iter;

	dlist_foreach(iter, &timers)
	{
		TimerNode  *node = dlist_container(TimerNode, node, iter.cur);

		if (node->timer == timer)
			return node;
	}
	return NULL;
}

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
	TimerNode  *node;

	if (!timer->armed)
		return;
	node = find_timer(timer);
	CHECK(node != NULL);
	dlist_delete(&node->node);
	free(node);
	timer->armed = false;
}

static LoopTimer *
first_due(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &timers)
	{
		TimerNode  *node = dlist_container(TimerNode, node, iter.cur);

		if (node->timer->when.due <= now_ms)
			return node->timer;
	}
	return NULL;
}

/* One turn */
void
run_loop(void)
{
	LoopTimer  *timer;

	for (int i = 0; i < nconnections; i++)
	{
		Connection *conn = &connections[i];
		uint32		ready = 0;

		if (!conn->open || !conn->connected)
			continue;
		if ((conn->wanted & WL_SOCKET_READABLE) && (conn->in_start < conn->in_len || conn->ended))
			ready |= WL_SOCKET_READABLE;
		if ((conn->wanted & WL_SOCKET_WRITEABLE) && (conn->budget > 0 || conn->ended))
			ready |= WL_SOCKET_WRITEABLE;
		if (ready != 0)
			conn->io(conn->arg, ready);
	}
	for (int i = 0; i < 100 && (timer = first_due()) != NULL; i++)
	{
		tc_timer_cancel(timer);
		timer->callback(timer->arg);
	}
}

/*---------------------------------------------------------------------------
 * Connections
 *---------------------------------------------------------------------------
 */

Connection *
tc_connection_open(const ChannelOptions *options, ConnectionDone done, ConnectionIo io, void *arg)
{
	Connection *conn = &connections[nconnections];

	if (nconnections == MAX_CONNECTIONS)
		return NULL;
	nconnections++;
	memset(conn, 0, sizeof(*conn));
	conn->used = conn->open = true;
	conn->done = done;
	conn->io = io;
	conn->arg = arg;
	conn->wanted = WL_SOCKET_READABLE;
	conn->chunk = SIZE_MAX;
	conn->budget = SIZE_MAX;
	return conn;
}

void
tc_connection_close(Connection *conn)
{
	CHECK(conn->open);
	conn->open = false;
	free(conn->in);
	conn->in = NULL;
	conn->in_start = conn->in_len = 0;
}

ssize_t
tc_connection_recv(Connection *conn, void *buf, size_t len)
{
	CHECK(conn->open && conn->connected);
	len = Min(Min(len, conn->chunk), conn->in_len - conn->in_start);
	if (len == 0)
		return conn->ended ? -1 : 0;
	memcpy(buf, conn->in + conn->in_start, len);
	conn->in_start += len;
	return len;
}

/* Follow the frames that the client sends, and note which requests are complete. */
static void
watch_output(Connection *conn, const uint8 *bytes, size_t len)
{
	while (len > 0)
	{
		size_t		n = 1;

		if (conn->out_len < PREFACE_LEN)
			CHECK(*bytes == (uint8) client_preface[conn->out_len]);
		else if (conn->frame_have < 9)
		{
			conn->frame[conn->frame_have++] = *bytes;
			conn->frame_left = conn->frame[0] << 16 | conn->frame[1] << 8 | conn->frame[2];
		}
		else
		{
			n = Min(len, conn->frame_left);
			conn->frame_left -= n;
		}
		conn->out_len += n;
		bytes += n;
		len -= n;
		if (conn->frame_have == 9 && conn->frame_left == 0)
		{
			uint32		id = conn->frame[5] << 24 | conn->frame[6] << 16 |
				conn->frame[7] << 8 | conn->frame[8];

			conn->frame_have = 0;
			if (conn->frame[3] <= NGHTTP2_HEADERS && (conn->frame[4] & NGHTTP2_FLAG_END_STREAM) &&
				id / 2 < MAX_STREAMS)
				conn->handed[id / 2] = true;
		}
	}
}

ssize_t
tc_connection_send(Connection *conn, const void *buf, size_t len)
{
	CHECK(conn->open && conn->connected);
	if (conn->ended && conn->in_start == conn->in_len)
		return -1;
	len = Min(len, conn->budget);
	conn->budget -= len;
	watch_output(conn, buf, len);
	return len;
}

void
tc_connection_wait_for(Connection *conn, uint32 events)
{
	CHECK(conn->open && (events & WL_SOCKET_READABLE));
	conn->wanted = events;
}

void
tc_connection_explain(Connection *conn, bool is_new, ChannelError *error)
{
	CHECK(conn->open);
	tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "lost");
}

const char *
tc_connection_tls_version(const Connection *conn)
{
	CHECK(conn->open);
	return conn->connected ? conn->tls_version : NULL;
}

void
tc_connection_add_expiry(const Connection *conn, ChannelExpiry *expiry)
{
	CHECK(conn->open);
}

void
begin_loop(void)
{
	nconnections = 0;
	now_ms = 1000000;
}

void
check_all_closed(void)
{
	for (int i = 0; i < nconnections; i++)
		CHECK(!connections[i].open);
	CHECK(dlist_is_empty(&timers));
}
