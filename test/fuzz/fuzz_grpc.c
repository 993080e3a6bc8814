/*-------------------------------------------------------------------------
 *
 * fuzz_grpc.c
 *	  Fuzzes grpc*.c, stream*.c, http_streams.c and http2*.c, with nghttp2, as
 *	  a server's bytes come in.
 *
 * Instead of connection.c and event_loop.c there are connections without
 * sockets and a clock that stands still until it is moved (grpc_loop.c); what
 * the server says is made in grpc_server.c.  The input is a
 * list of what happens: frames and raw bytes from the server, calls, time
 * that passes, connections that break.  Every other input is about calls of JSON.
 *
 * Of every call it is checked that it ends once; that it is not taken for
 * answered with OK unless a grpc-status 0 was sent on its stream, or DATA if it
 * is one of JSON; and that it
 * is not taken for unprocessed when the server was handed all of it and did
 * not disown it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <nghttp2/nghttp2.h>

#include "backend.h"
#include "grpc_fuzz.h"
#include "wire/channel_error.h"
#include "wire/grpc_answer.h"

#define MAX_REPLY (8 * 1024 * 1024)

#define MAX_CALLS 64
#define MAX_OPS 400

typedef struct PendingCall
{
	bool		over;
	Connection *conn;
	int			stream;
} PendingCall;

static PendingCall calls[MAX_CALLS];
static int	ncalls;
static Channel *channel;
static bool is_json;
static bool destroying;

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
		CHECK(is_json ? call->conn->data[call->stream] : call->conn->ok[call->stream]);
	if (result->fate == CALL_NOT_PROCESSED && call->conn != NULL && !call->conn->raw)
		CHECK(!call->conn->handed[call->stream] || call->conn->disowned[call->stream] ||
		/* that there is no such path */
			  (is_json && call->conn->data[call->stream]));
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

/* A server that has begun as usual */
static void
begin_as_usual(Connection *conn)
{
	finish_connect(conn);
	feed_frame(conn, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	feed_frame(conn, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
	run_loop();
}

/* Let the next thing happen.  Returns false if that is the end. */
static bool
take_step(void)
{
	uint8		op = next_byte();
	Connection *conn = &connections[nconnections - 1];

	/* Mostly the newest connection, now and then the one before */
	if ((op & 0xC0) == 0xC0 && conn > connections)
		conn--;
	switch (op & 0x1F)
	{
		case 0:
			feed_bytes(conn);
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
			tc_channel_connect(channel, 1);
			break;
		case 16:
			finish_connect(conn);
			break;
		case 17:
			begin_as_usual(conn);
			break;
		case 18:
			return false;
		case 19:
			feed_json(conn);
			break;
		default:
			run_loop();
			break;
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ChannelOptions options = {
		.address = "localhost:7233",
		.connect_timeout_ms = 1000
	};

	is_json = options.http = size / 2 % 2 == 1;

	begin_input(data, size);
	ncalls = 0;
	destroying = false;
	begin_loop();
	begin_server();

	channel = tc_channel_create(&options, state_changed, &channel);
	tc_channel_connect(channel, 1);
	for (int ops = 0; ops < MAX_OPS && input_left() > 0 && take_step(); ops++)
		;

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
	check_all_closed();
	return 0;
}
