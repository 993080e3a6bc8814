/*-------------------------------------------------------------------------
 *
 * fuzz_grpc.c
 *	  Fuzzes grpc*.c and http2*.c, with nghttp2, as a server's bytes come in.
 *
 * Instead of connection.c and event_loop.c there are connections without
 * sockets and a clock that stands still until it is moved.  The input is a
 * list of what happens: frames and raw bytes from the server, calls, time
 * that passes, connections that break.
 *
 * Of every call it is checked that it ends once; that it is not taken for
 * answered with OK unless a grpc-status 0 was sent on its stream; and that it
 * is not taken for unprocessed when the server was handed all of it and did
 * not disown it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <nghttp2/nghttp2.h>

#include "lib/ilist.h"
#include "storage/latch.h"

#include "backend.h"
#include "base/event_loop.h"
#include "wire/channel_error.h"
#include "wire/connection.h"
#include "wire/grpc_answer.h"

#define MAX_REPLY (8 * 1024 * 1024)

#define MAX_CONNECTIONS 16
#define MAX_CALLS 64
#define MAX_STREAMS 64			/* of a connection, that are kept account of */
#define MAX_OPS 400

/* What is fed at most by one input, and by mere repetition, so that an execution stays short */
#define MAX_FED (10 * 1024 * 1024)
#define MAX_FED_AGAIN (128 * 1024)

struct Connection
{
	bool		used;
	bool		open;
	bool		connected;
	bool		ended;			/* the server has closed it */
	ConnectionDone done;
	ConnectionIo io;
	void	   *arg;
	uint32		wanted;
	const char *tls_version;

	/* Bytes to be received */
	uint8	   *in;
	size_t		in_len;
	size_t		in_size;
	size_t		in_start;
	size_t		chunk;			/* so many at once */

	/* What the client has sent */
	size_t		budget;			/* bytes that can still be sent */
	size_t		out_len;		/* of the whole output, client's preface
								 * included */
	uint8		frame[9];		/* header of a frame, as far as it has come */
	size_t		frame_have;
	size_t		frame_left;		/* bytes of its payload that are to come */
	int			nstreams;
	bool		handed[MAX_STREAMS];	/* the whole request was sent */

	/* What the server has said of streams; raw bytes may say anything */
	bool		raw;
	bool		ok[MAX_STREAMS];	/* grpc-status 0 */
	bool		disowned[MAX_STREAMS];
};

typedef struct PendingCall
{
	bool		over;
	Connection *conn;
	int			stream;
} PendingCall;

static const char client_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#define PREFACE_LEN (sizeof(client_preface) - 1)

static Connection connections[MAX_CONNECTIONS];
static int	nconnections;
static PendingCall calls[MAX_CALLS];
static int	ncalls;
static Channel *channel;
static bool destroying;
static int64 now_ms;
static size_t fed;
static size_t fed_again;
static dlist_head timers = DLIST_STATIC_INIT(timers);

/* The input that is left */
static const uint8 *input;
static size_t input_len;

static uint8
next_byte(void)
{
	if (input_len == 0)
		return 0;
	input_len--;
	return *input++;
}

static size_t
next_bytes(const uint8 **bytes, size_t wanted)
{
	size_t		len = Min(wanted, input_len);

	*bytes = input;
	input += len;
	input_len -= len;
	return len;
}

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
static void
run_loop(void)
{
	LoopTimer  *timer;

	for (int i = 0; i < nconnections && !destroying; i++)
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

/*---------------------------------------------------------------------------
 * The server
 *---------------------------------------------------------------------------
 */

static void
feed(Connection *conn, const void *bytes, size_t len)
{
	if (!conn->open || len == 0 || fed + len > MAX_FED)
		return;
	fed += len;
	if (conn->in_start == conn->in_len)
		conn->in_start = conn->in_len = 0;
	if (conn->in_len + len > conn->in_size)
	{
		conn->in_size = 2 * (conn->in_len + len);
		conn->in = realloc(conn->in, conn->in_size);
		CHECK(conn->in != NULL);
	}
	memcpy(conn->in + conn->in_len, bytes, len);
	conn->in_len += len;
}

static void
feed_frame(Connection *conn, uint8 type, uint8 flags, uint32 stream, const uint8 *payload, size_t len)
{
	uint8		header[9] = {len >> 16, len >> 8, len, type, flags,
	stream >> 24, stream >> 16, stream >> 8, stream};

	feed(conn, header, sizeof(header));
	feed(conn, payload, len);
}

/* A stream, mostly one that exists */
static uint32
next_stream(Connection *conn)
{
	uint8		byte = next_byte();

	if (byte == 0xFF)
		return next_byte() << 24 | next_byte();
	if (byte == 0xFE || conn->nstreams == 0)
		return byte;
	return 2 * (byte % conn->nstreams) + 1;
}

/* Headers as literals that are not indexed; what they say is noted. */
static void
feed_headers(Connection *conn)
{
	static const char *const fields[][2] = {
		{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "0"},
		{":status", NULL}, {"content-type", NULL}, {"grpc-status", NULL},
		{"grpc-message", NULL}, {"grpc-status-details-bin", NULL}, {"content-length", NULL},
		{"grpc-encoding", NULL}, {"x", NULL}, {NULL, NULL}
	};
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	int			nheaders = next_byte() % 12;
	uint8		block[8192];
	size_t		len = 0;

	for (int i = 0; i < nheaders && len + 600 < sizeof(block); i++)
	{
		int			which = next_byte() % lengthof(fields);
		const uint8 *name = (const uint8 *) fields[which][0];
		const uint8 *value = (const uint8 *) fields[which][1];
		size_t		name_len = name ? strlen((const char *) name) :
			next_bytes(&name, next_byte() % 64);
		size_t		value_len = value ? strlen((const char *) value) :
			next_bytes(&value, next_byte());

		if (name_len == strlen("grpc-status") && memcmp(name, "grpc-status", name_len) == 0 &&
			value_len > 0 && value[0] == '0' && stream / 2 < MAX_STREAMS)
			conn->ok[stream / 2] = true;
		block[len++] = 0;
		block[len++] = name_len;
		memcpy(block + len, name, name_len);
		len += name_len;
		if (value_len >= 127)
		{
			block[len++] = 127;
			block[len++] = (value_len - 127) | 0x80;
			block[len++] = (value_len - 127) >> 7;
		}
		else
			block[len++] = value_len;
		memcpy(block + len, value, value_len);
		len += value_len;
	}
	feed_frame(conn, NGHTTP2_HEADERS, (flags & NGHTTP2_FLAG_END_STREAM) |
			   (flags & 0x80 ? 0 : NGHTTP2_FLAG_END_HEADERS), stream, block, len);
}

/* A message of gRPC, with a prefix that may lie */
static void
feed_message(Connection *conn)
{
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	size_t		len = next_byte() << ((flags >> 4) & 7);
	uint8		lie = next_byte();
	uint8	   *message = calloc(1, len + 5);

	CHECK(message != NULL);
	message[0] = lie == 1;
	message[1] = lie == 2;
	message[3] = len >> 8;
	message[4] = lie == 3 ? 0 : len;
	feed_frame(conn, NGHTTP2_DATA, flags & NGHTTP2_FLAG_END_STREAM, stream, message, len + 5);
	free(message);
}

static void
disown_from(Connection *conn, uint32 last_stream)
{
	for (uint32 i = 0; i < MAX_STREAMS; i++)
		if (2 * i + 1 > last_stream)
			conn->disowned[i] = true;
}

/* Any frame, well-formed outside */
static void
feed_any_frame(Connection *conn)
{
	uint8		type = next_byte();
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	const uint8 *payload;
	size_t		len = next_byte();

	len = next_bytes(&payload, len);
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)
		conn->raw = true;
	if (type == NGHTTP2_RST_STREAM && stream / 2 < MAX_STREAMS && len >= 4 &&
		payload[3] == NGHTTP2_REFUSED_STREAM)
		conn->disowned[stream / 2] = true;
	if (type == NGHTTP2_GOAWAY && len >= 4)
		disown_from(conn, (payload[0] & 0x7F) << 24 | payload[1] << 16 | payload[2] << 8 | payload[3]);
	feed_frame(conn, type, flags, stream, payload, len);
}

static void
feed_goaway(Connection *conn)
{
	uint32		last_stream = next_stream(conn);
	uint8		payload[8] = {last_stream >> 24, last_stream >> 16, last_stream >> 8, last_stream,
	0, 0, 0, next_byte()};

	disown_from(conn, last_stream & 0x7FFFFFFF);
	feed_frame(conn, NGHTTP2_GOAWAY, 0, 0, payload, sizeof(payload));
}

static void
feed_settings(Connection *conn)
{
	uint8		payload[6 * 8];
	int			n = next_byte() % 8;

	for (int i = 0; i < n; i++)
	{
		uint8		scale = next_byte();

		memset(payload + 6 * i, 0, 6);
		payload[6 * i + 1] = next_byte();
		payload[6 * i + 2 + scale % 4] = next_byte();
		payload[6 * i + 5] |= scale >> 2;
	}
	feed_frame(conn, NGHTTP2_SETTINGS, 0, 0, payload, 6 * n);
}

/* What is waiting to be received, again and again */
static void
feed_again(Connection *conn)
{
	size_t		len = Min(conn->in_len - conn->in_start, 1024);
	int			times = next_byte() << 3;
	uint8		again[1024];

	if (len == 0)
		return;
	memcpy(again, conn->in + conn->in_len - len, len);
	for (; times > 0 && fed_again < MAX_FED_AGAIN; times--)
	{
		feed(conn, again, len);
		fed_again += len;
	}
}

/*---------------------------------------------------------------------------
 * The client
 *---------------------------------------------------------------------------
 */

static void
call_done(void *arg, const CallResult *result)
{
	PendingCall *call = arg;

	CHECK(!call->over);
	call->over = true;
	CHECK(result->message != NULL && result->detail_type != NULL);
	CHECK(strlen(result->message) <= 4096 && strlen(result->detail_type) < 128);
	CHECK(result->grpc_status >= 0 && result->grpc_status <= 16);
	CHECK(result->reply_len <= MAX_REPLY);
	for (size_t i = 0; i < result->reply_len; i += Max(1, result->reply_len - 1))
		CHECK(result->reply[i] <= 0xFF);

	if (result->fate == CALL_ANSWERED && result->grpc_status == 0 && !call->conn->raw)
		CHECK(call->conn->ok[call->stream]);
	if (result->fate == CALL_NOT_PROCESSED && call->conn != NULL && !call->conn->raw)
		CHECK(!call->conn->handed[call->stream] || call->conn->disowned[call->stream]);
}

static void
make_call(void)
{
	static uint8 message[70000];
	uint8		size = next_byte();
	Call		call = {
		.path = "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCompleted",
		.namespace_name = size & 1 ? "default" : NULL,
		.message = message,
		.message_len = (size >> 1) * (size & 0x40 ? 1000 : 1),
		.timeout_ms = 1 + 100 * (next_byte() % 12),
		.max_reply = MAX_REPLY,
		.done = call_done,
	};
	PendingCall *pending = &calls[ncalls];

	if (ncalls == MAX_CALLS || tc_channel_capacity(channel) <= 0)
		return;
	ncalls++;
	memset(pending, 0, sizeof(*pending));
	pending->conn = &connections[nconnections - 1];
	pending->stream = pending->conn->nstreams++;
	call.arg = pending;
	tc_channel_call(channel, &call);
}

static void
state_changed(void *arg, Channel *changed, ChannelState state, const ChannelError *error)
{
	CHECK(arg == &channel && (changed == channel || destroying));
	CHECK(state != CHANNEL_FAILED || error != NULL);
	if (error != NULL)
		CHECK(error->code != NULL && strlen(error->message) < sizeof(error->message));
}

static void
finish_connect(Connection *conn)
{
	uint8		how = next_byte();

	if (!conn->open || conn->connected)
		return;
	conn->connected = true;
	if (how == 0xFF)
	{
		ChannelError error;

		tc_channel_error(&error, TC_ERROR_CONNECTION_FAILED, false, "refused");
		conn->done(conn->arg, &error);
		return;
	}
	conn->tls_version = how & 1 ? "TLSv1.3" : NULL;
	conn->done(conn->arg, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ChannelOptions options = {
		.address = "localhost:7233",
		.connect_timeout_ms = 1000
	};
	bool		ended = false;

	input = data;
	input_len = size;
	nconnections = 0;
	ncalls = 0;
	fed = fed_again = 0;
	now_ms = 1000000;
	destroying = false;

	channel = tc_channel_create(&options, state_changed, &channel);
	tc_channel_connect(channel);
	for (int ops = 0; ops < MAX_OPS && input_len > 0 && !ended; ops++)
	{
		uint8		op = next_byte();
		Connection *conn = &connections[nconnections - 1];

		/* Mostly the newest connection, now and then the one before */
		if ((op & 0xC0) == 0xC0 && conn > connections)
			conn--;
		switch (op & 0x1F)
		{
			case 0:
				{
					const uint8 *bytes;
					size_t		len = next_bytes(&bytes, next_byte());

					conn->raw = true;
					feed(conn, bytes, len);
				}
				break;
			case 1:
				feed_any_frame(conn);
				break;
			case 2:
			case 3:
				feed_headers(conn);
				break;
			case 4:
				feed_message(conn);
				break;
			case 5:
				now_ms += next_byte() << (op >> 5);
				run_loop();
				break;
			case 6:
			case 7:
				make_call();
				break;
			case 8:
				tc_channel_flush(channel);
				break;
			case 9:
				conn->budget = op & 0x20 ? SIZE_MAX : next_byte() << 2;
				break;
			case 10:
				conn->chunk = 1 + next_byte();
				break;
			case 11:
				conn->ended = true;
				break;
			case 12:
				feed_settings(conn);
				break;
			case 13:
				feed_goaway(conn);
				break;
			case 14:
				feed_again(conn);
				break;
			case 15:
				tc_channel_connect(channel);
				break;
			case 16:
				finish_connect(conn);
				break;
			case 17:
				/* A server that has begun as usual */
				finish_connect(conn);
				feed_frame(conn, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
				feed_frame(conn, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
				run_loop();
				break;
			case 18:
				ended = true;
				break;
			default:
				run_loop();
				break;
		}
	}

	/*
	 * At last all calls are over, by their deadlines or because the channel
	 * goes.
	 */
	if (size % 2)
	{
		now_ms += 3600 * 1000;
		run_loop();
		run_loop();
	}
	destroying = true;
	tc_channel_destroy(channel);
	for (int i = 0; i < ncalls; i++)
		CHECK(calls[i].over);
	for (int i = 0; i < nconnections; i++)
		CHECK(!connections[i].open);
	CHECK(dlist_is_empty(&timers));
	return 0;
}
