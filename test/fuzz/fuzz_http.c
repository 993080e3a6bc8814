/*-------------------------------------------------------------------------
 *
 * fuzz_http.c
 *	  Fuzzes http_*.c, proxy.c and codec.c, with libcurl, as the answers of a
 *	  server, a proxy or a codec server come in.
 *
 * The first byte says which of them it is.  Then the input is a list of what
 * happens: answers and raw bytes, calls, connections that break.
 *
 * Of every call it is checked that it ends once; that it is not taken for
 * answered with OK unless the server said so; that what changes something is
 * handed to the server once at most; and that it is not taken for unprocessed
 * when it was handed over.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "http_fuzz.h"
#include "wire/codec.h"
#include "wire/json_read.h"

#define MAX_REPLY 8192
#define MAX_OPS 64

typedef struct PendingCall
{
	bool		over;
	uint8		message[32];
} PendingCall;

static PendingCall calls[MAX_CALLS];
static int	ncalls;
static Channel *channel;
static bool destroying;
static bool is_codec;
static bool by_proxy;
static bool has_token;			/* a secret of the server's, which may say it */

/* What is shown to users has no secret in it. */
static void
check_text(const char *text, size_t size)
{
	CHECK(text !=NULL && strlen(text) < size);
	CHECK(!has_token || strstr(text, "secret-token") == NULL);
	CHECK(strstr(text, "secret-word") == NULL);
}

static void
call_done(void *arg, const CallResult *result)
{
	PendingCall *call = arg;
	int			number = call - calls;
	ProtoReader reader;
	ProtoField	field;

	CHECK(!call->over);
	call->over = true;
	CHECK(strlen(result->detail_type) < JSON_DETAIL_TYPE_SIZE);
	check_text(result->message, JSON_MESSAGE_SIZE);
	CHECK(result->reply_len <= MAX_REPLY);
	CHECK(result->fate != CALL_ANSWERED ||
		  (result->grpc_status >= 0 && result->grpc_status <= (is_codec ? CODEC_CLOSED : 16)));
	tc_proto_begin(&reader, result->reply, result->reply_len);
	while (tc_proto_next(&reader, &field))
		;
	CHECK(!reader.malformed);

	if (is_codec && (result->fate != CALL_ANSWERED || result->grpc_status != CODEC_OK))
		CHECK(tc_codec_result_code(result) != NULL);
	take_requests();
	if (result->fate == CALL_ANSWERED && result->grpc_status == 0)
		CHECK(said_success);
	CHECK(is_codec || received[number] <= 1);
	if (result->fate == CALL_NOT_PROCESSED && !is_codec && !said_error)
		CHECK(received[number] == 0);
}

static void
make_call(void)
{
	PendingCall *pending = &calls[ncalls];
	Call		call = {
		.path = is_codec ? TC_CODEC_ENCODE : "/S/RespondActivityTaskCompletedById",
		.namespace_name = next_byte() & 1 ? "a/b" : "default",
		.message = pending->message,
		.timeout_ms = 10000,
		.max_reply = MAX_REPLY,
		.done = call_done,
		.arg = pending
	};

	if (ncalls == MAX_CALLS || tc_channel_capacity(channel) <= 0)
		return;
	pending->over = false;
	/* namespace, activity_id; a payload */
	call.message_len = is_codec ? 0 :
		snprintf((char *) pending->message, sizeof(pending->message), "\n\001n\"\010" CALL_MARK "%03d", ncalls);
	ncalls++;
	tc_channel_call(channel, &call);
}

static void
state_changed(void *arg, Channel *changed, ChannelState state, const ChannelError *error)
{
	CHECK(arg == &channel && (changed == channel || destroying));
	CHECK(state != CHANNEL_FAILED || error != NULL);
	if (error != NULL)
	{
		CHECK(error->code != NULL && tc_codec_channel_code(error->code) != NULL);
		check_text(error->message, sizeof(error->message));
	}
}

/* Let the channel become ready, if it can be. */
static void
begin_as_usual(void)
{
	tc_channel_connect(channel, 1 + next_byte() % 6);
	run_loop();
	if (by_proxy)
	{
		answer_as_usual("");
		run_loop();
	}
	answer_as_usual(is_codec ? "{\"payloads\":[]}" : "{\"serverVersion\":\"1.31.2\"}");
	run_loop();
}

/* Let the next thing happen.  Returns false if that is the end. */
static bool
take_step(void)
{
	switch (next_byte() % 16)
	{
		case 0:
			send_bytes();
			break;
		case 1:
		case 2:
		case 3:
			answer();
			break;
		case 4:
		case 5:
			make_call();
			break;
		case 6:
			stop_sending();
			break;
		case 7:
			reset_connection();
			break;
		case 8:
			tc_channel_connect(channel, 1);
			break;
		case 9:
		case 10:
			begin_as_usual();
			break;
		case 11:
			send_again();
			break;
		case 12:
			make_call();
			run_loop();
			answer_as_usual("{}");
			break;
		case 13:
			return false;
		default:
			run_loop();
			break;
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char		address[64];
	char		proxy[64];
	uint8		flags;
	ChannelOptions options = {
		.http = true,
		.address = address,
		.connect_timeout_ms = 10000
	};

	begin_input(data, size);
	ncalls = 0;
	destroying = false;
	begin_server();

	flags = next_byte();
	is_codec = flags & 1;
	by_proxy = flags & 2;
	has_token = flags & 8;
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", server_port);
	snprintf(address, sizeof(address), "127.0.0.1:%d", server_port);
	if (by_proxy)
	{
		strcpy(address, "server.invalid:7233");
		options.proxy = proxy;
		options.proxy_auth = flags & 4 ? "user:secret-word" : NULL;
	}
	options.codec_path = is_codec ? "/codec/{namespace}/{namespace}" : NULL;
	options.codec_auth = is_codec && has_token ? "Bearer secret-token" : NULL;
	options.api_key = !is_codec && has_token ? "secret-token" : NULL;

	channel = tc_channel_create(&options, state_changed, &channel);
	if (flags & 16)
		begin_as_usual();
	for (int ops = 0; ops < MAX_OPS && input_left() > 0 && take_step(); ops++)
		;
	run_loop();
	CHECK(tc_channel_sessions(channel) >= 0);

	/* at last all calls are over, because the channel goes */
	destroying = true;
	tc_channel_destroy(channel);
	for (int i = 0; i < ncalls; i++)
		CHECK(calls[i].over);
	check_loop_is_empty();
	end_server();
	for (int i = 0; i < ncalls; i++)
		CHECK(is_codec || received[i] <= 1);
	return 0;
}
