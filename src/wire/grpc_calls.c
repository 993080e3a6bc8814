/*-------------------------------------------------------------------------
 *
 * grpc_calls.c
 *	  Calls of gRPC (a kind of stream_calls.h): one request, one answer.
 *
 * What an answer says is judged by grpc_answer.c.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/grpc_answer.h"
#include "wire/grpc_calls.h"
#include "wire/grpc_reply.h"

typedef struct GrpcCall
{
	StreamCall	base;			/* must be first */
	uint8		prefix[GRPC_PREFIX_SIZE];
	GrpcAnswer	answer;
} GrpcCall;

static StreamCall *unused;

static int
begin(StreamCall *base, const nghttp2_nv **headers, CallFate *fate)
{
	static char timeout[GRPC_TIMEOUT_SIZE];
	GrpcCall   *grpc_call = (GrpcCall *) base;
	const Call *call = &base->call;
	uint32		len = (uint32) call->message_len;

	tc_grpc_answer_init(&grpc_call->answer, call->max_reply);
	grpc_call->prefix[0] = 0;
	grpc_call->prefix[1] = (uint8) (len >> 24);
	grpc_call->prefix[2] = (uint8) (len >> 16);
	grpc_call->prefix[3] = (uint8) (len >> 8);
	grpc_call->prefix[4] = (uint8) len;
	base->stream.body[0].data = grpc_call->prefix;
	base->stream.body[0].len = GRPC_PREFIX_SIZE;
	base->stream.body[1].data = call->message;
	base->stream.body[1].len = call->message_len;
	return tc_grpc_headers_of_call(base->session->headers, call, timeout, headers);
}

static void
header(StreamCall *base, const char *name, size_t name_len, const char *value, size_t value_len)
{
	tc_grpc_answer_header(&((GrpcCall *) base)->answer, name, name_len, value, value_len,
						  &base->channel->held);
}

static bool
data(StreamCall *base, const uint8 *bytes, size_t len)
{
	GrpcAnswer *answer = &((GrpcCall *) base)->answer;

	if (tc_grpc_answer_data(answer, bytes, len, &base->channel->held))
		return true;
	base->problem = answer->reply_problem;
	return false;
}

static CallFate
judge(StreamCall *base)
{
	GrpcAnswer *answer = &((GrpcCall *) base)->answer;
	CallFate	fate = tc_grpc_answer_judge(answer);

	tc_grpc_headers_hide_secrets(base->session->headers, answer->message);
	return fate;
}

static bool
refuses_credentials(const StreamCall *base)
{
	return tc_grpc_answer_refuses_credentials(&((const GrpcCall *) base)->answer);
}

static void
say(StreamCall *base, const char *words)
{
	tc_grpc_answer_say(&((GrpcCall *) base)->answer, "%s", words);
}

static void
result(const StreamCall *base, CallFate fate, CallResult *call_result)
{
	tc_grpc_answer_result(&((const GrpcCall *) base)->answer, fate, call_result);
}

static void
end(StreamCall *base)
{
	tc_grpc_answer_free(&((GrpcCall *) base)->answer, &base->channel->held);
}

const StreamKind tc_grpc_calls = {
	.call_size = sizeof(GrpcCall),
	.unused = &unused,
	.begin = begin,
	.header = header,
	.data = data,
	.judge = judge,
	.refuses_credentials = refuses_credentials,
	.say = say,
	.result = result,
	.end = end
};
