/*-------------------------------------------------------------------------
 *
 * grpc_answer.c
 *	  The answer to a gRPC call: gathered as it comes in, then judged.
 *
 * Success is HTTP 200 and grpc-status 0 and a message; whatever is missing is
 * never taken for success.
 *
 * The input comes from the network and may be anything: what is kept of it is
 * bounded.  Used beneath nghttp2, so nothing here raises errors, and memory
 * is malloc's.  Nothing here knows of sessions or channels.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/grpc_answer.h"
#include "wire/grpc_reply.h"
#include "wire/reply_memory.h"

#define MAX_MESSAGE 4096

void
tc_grpc_answer_init(GrpcAnswer *answer, size_t max_reply)
{
	answer->http_status = 0;
	answer->is_grpc = false;
	answer->grpc_status = -1;
	answer->reply = answer->small;
	answer->reply_len = 0;
	answer->reply_size = GRPC_SMALL_REPLY;
	answer->max_reply = max_reply;
	answer->reply_problem = NULL;
	answer->message = NULL;
	answer->message_size = 0;
	answer->detail_type[0] = '\0';
}

void
tc_grpc_answer_free(GrpcAnswer *answer, size_t *held)
{
	if (answer->reply != answer->small)
	{
		(void) tc_reply_hold(held, answer->reply_size, 0);
		free(answer->reply);
	}
	(void) tc_reply_hold(held, answer->message_size, 0);
	free(answer->message);
}

void
tc_grpc_answer_header(GrpcAnswer *answer, const char *name, size_t name_len,
					  const char *value, size_t value_len, size_t *held)
{
#define IS(header) (name_len == sizeof(header) - 1 && memcmp(name, header, sizeof(header) - 1) == 0)

	if (IS("grpc-status"))
	{
		/* Of several, an OK is the last to be believed. */
		if (answer->grpc_status <= GRPC_STATUS_OK)
			answer->grpc_status = tc_grpc_status(value, value_len);
	}
	else if (IS(":status"))
	{
		answer->grpc_status = -1;	/* what an interim answer said */
		answer->http_status = 0;
		for (size_t i = 0; i < value_len && i < 3; i++)
			answer->http_status = answer->http_status * 10 + (value[i] - '0');
	}
	else if (IS("content-type"))
		answer->is_grpc = tc_grpc_content_type(value, value_len);
	else if (IS("grpc-message") && value_len > 0)
	{
		size_t		size = Min(value_len, MAX_MESSAGE) + 1;

		free(answer->message);
		answer->message = tc_reply_hold(held, answer->message_size, size) ? malloc(size) : NULL;
		if (answer->message != NULL)
			answer->message_size = size;
		else
		{
			(void) tc_reply_hold(held, answer->message_size, 0);
			answer->message_size = 0;
		}
		if (answer->message != NULL)
			tc_grpc_message(value, value_len, answer->message, size);
	}
	else if (IS("grpc-status-details-bin"))
		tc_grpc_detail_type(value, value_len, answer->detail_type, sizeof(answer->detail_type));
#undef IS
}

bool
tc_grpc_answer_data(GrpcAnswer *answer, const uint8 *data, size_t len, size_t *held)
{
	size_t		needed = answer->reply_len + len;

	/* A status comes with the end: what came before the message was none. */
	answer->grpc_status = -1;

	/* The page of a proxy is of no interest. */
	if (!answer->is_grpc)
		return true;

	if (needed > answer->reply_size)
	{
		bool		is_small = answer->reply == answer->small;
		size_t		before = is_small ? 0 : answer->reply_size;
		size_t		max = answer->max_reply + GRPC_PREFIX_SIZE;
		size_t		size = Min(Max(needed, 2 * answer->reply_size), max);
		uint8	   *grown = NULL;

		if (needed > max)
			answer->reply_problem = TC_REPLY_TOO_LARGE;
		else
			grown = tc_reply_grow(held, is_small ? NULL : answer->reply, before, size,
								  &answer->reply_problem);
		if (grown == NULL)
			return false;
		if (is_small)
			memcpy(grown, answer->small, answer->reply_len);
		answer->reply = grown;
		answer->reply_size = size;
	}
	memcpy(answer->reply + answer->reply_len, data, len);
	answer->reply_len = needed;
	return true;
}

CallFate
tc_grpc_answer_judge(GrpcAnswer *answer)
{
	uint32		len;

	if (answer->http_status != 200 || !answer->is_grpc)
	{
		if (answer->grpc_status > 0)
			return CALL_ANSWERED;
		answer->grpc_status = tc_grpc_status_of_http(answer->http_status);
		tc_grpc_answer_say(answer, answer->http_status == 200 ?
						   "the answer is not a gRPC message (HTTP %d)" :
						   "HTTP status %d without a gRPC status", answer->http_status);
		answer->reply_len = 0;
		return CALL_ANSWERED;
	}
	if (answer->grpc_status > 0)
	{
		answer->reply_len = 0;
		return CALL_ANSWERED;
	}
	if (answer->grpc_status < 0)
	{
		answer->reply_len = 0;
		tc_grpc_answer_say(answer, "the answer has no gRPC status");
		return CALL_AMBIGUOUS;
	}

	/* Exactly one message, not compressed, for we do not offer to take it so */
	len = answer->reply_len < GRPC_PREFIX_SIZE ? 0 :
		(uint32) answer->reply[1] << 24 | (uint32) answer->reply[2] << 16 |
		(uint32) answer->reply[3] << 8 | answer->reply[4];
	if (answer->reply_len < GRPC_PREFIX_SIZE || answer->reply[0] != 0 ||
		len != answer->reply_len - GRPC_PREFIX_SIZE)
	{
		answer->reply_len = 0;
		tc_grpc_answer_say(answer, "the answer is OK, but holds no single gRPC message");
		return CALL_AMBIGUOUS;
	}
	return CALL_ANSWERED;
}

bool
tc_grpc_answer_refuses_credentials(const GrpcAnswer *answer)
{
	/*
	 * PERMISSION_DENIED, which is Temporal's word for both, and
	 * UNAUTHENTICATED
	 */
	return answer->grpc_status == 7 || answer->grpc_status == 16;
}

void
tc_grpc_answer_say(GrpcAnswer *answer, const char *fmt,...)
{
	char		buf[512];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	free(answer->message);
	answer->message = strdup(buf);
}

void
tc_grpc_answer_result(const GrpcAnswer *answer, CallFate fate, CallResult *result)
{
	result->fate = fate;
	result->grpc_status = fate == CALL_ANSWERED ? answer->grpc_status : 0;
	result->message = answer->message ? answer->message : "";
	result->detail_type = answer->detail_type;
	result->reply = answer->reply + GRPC_PREFIX_SIZE;	/* not NULL, even if it
														 * is empty */
	result->reply_len = answer->reply_len > GRPC_PREFIX_SIZE ?
		answer->reply_len - GRPC_PREFIX_SIZE : 0;
}
