/*-------------------------------------------------------------------------
 *
 * http_exchange.c
 *	  What a call says over HTTP/JSON, and what its answer says, whichever HTTP
 *	  carries it.
 *
 * Callers speak protobuf: requests are written as JSON, answers are read from
 * it (json_write.c, json_read.c).  Success is HTTP 200 and a JSON object that
 * is no error; a status of gRPC in the answer counts more than that of HTTP,
 * of which one stands for several.
 *
 * The answer comes from the network and may be anything: what is kept of it is
 * bounded.  Used beneath libcurl and nghttp2, so nothing here raises errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/grpc_reply.h"
#include "wire/http_exchange.h"
#include "wire/json_write.h"
#include "wire/reply_memory.h"

/* Ids of 1,000 bytes, each of which may take three; two of them, and a page token */
#define MAX_PATH 65536

/* A request may have 4 MB; as JSON, with JSON escaped in base64 in it, it is longer */
#define MAX_BODY (24 * 1024 * 1024)

/* JSON is longer than protobuf; what an error says is read, whatever a reply may have */
#define MAX_REPLY_TEXT(max_reply) Max((max_reply) * 4, 65536)

/* Of a path, or of what JSON adds to a request */
#define USUAL_SIZE 256
#define USUAL_BODY 4096

/* A wrong generation of paths is corrected that often without a success */
#define MAX_CORRECTIONS 2

static bool is_wrong_path(const HttpExchange *exchange);
static bool correct_generation(const HttpExchange *exchange, HttpPaths *paths);

void
tc_http_exchange_init(HttpExchange *exchange, const Call *call)
{
	memset(exchange, 0, offsetof(HttpExchange, read));
	memset(&exchange->read.reply, 0, sizeof(JsonBuffer));
	exchange->method = tc_http_method(call->path);
	exchange->path.max = MAX_PATH;
	exchange->body.max = MAX_BODY;
	exchange->read.reply.max = call->max_reply;
	exchange->read.message[0] = '\0';
	exchange->read.detail_type[0] = '\0';
	exchange->read.has_details = exchange->read.is_object = false;
	exchange->max_reply = call->max_reply;
	exchange->answer = NULL;
	exchange->answer_len = exchange->answer_size = 0;
}

void
tc_http_exchange_free(HttpExchange *exchange, size_t *held)
{
	if (exchange->answer != NULL)
		(void) tc_reply_hold(held, exchange->answer_size, 0);
	free(exchange->path.bytes);
	free(exchange->body.bytes);
	free(exchange->read.reply.bytes);
	free(exchange->answer);
}

bool
tc_http_exchange_write(HttpExchange *exchange, const Call *call, const HttpPaths *paths,
					   CallFate *fate)
{
	exchange->generation = paths->generation;
	if (exchange->method == NULL)
		return false;
	(void) tc_json_room(&exchange->path, USUAL_SIZE);
	if (!tc_json_write_path(&exchange->path, exchange->method, exchange->generation,
							call->message, call->message_len))
	{
		exchange->read.status = GRPC_STATUS_INVALID_ARGUMENT;
		tc_http_exchange_say(exchange, "ids with \"/\" cannot be sent over the server's HTTP API, but by a task token or over gRPC");
		*fate = CALL_ANSWERED;
		return false;
	}
	tc_http_exchange_write_body(exchange, call);
	return !exchange->path.failed && !exchange->body.failed;
}

void
tc_http_exchange_write_body(HttpExchange *exchange, const Call *call)
{
	if (exchange->method->is_get)
		return;
	/* mostly enough, so that it need not grow */
	(void) tc_json_room(&exchange->body, Min(2 * call->message_len, USUAL_BODY) + USUAL_SIZE);
	tc_json_write_body(&exchange->body, exchange->method, call->message, call->message_len);
}

bool
tc_http_exchange_data(HttpExchange *exchange, const void *data, size_t len, size_t *held)
{
	size_t		max = MAX_REPLY_TEXT(exchange->max_reply);
	size_t		needed = exchange->answer_len + len;

	if (needed > exchange->answer_size)
	{
		size_t		new_size = Min(Max(needed, 2 * exchange->answer_size), max);
		char	   *grown = NULL;

		if (needed > max)
			exchange->problem = TC_REPLY_TOO_LARGE;
		else
			grown = tc_reply_grow(held, exchange->answer, exchange->answer_size, new_size,
								  &exchange->problem);
		if (grown == NULL)
			return false;
		exchange->answer = grown;
		exchange->answer_size = new_size;
	}
	memcpy(exchange->answer + exchange->answer_len, data, len);
	exchange->answer_len = needed;
	return true;
}

JsonAnswer
tc_http_exchange_read(HttpExchange *exchange)
{
	return tc_json_read(exchange->answer != NULL ? exchange->answer : "", exchange->answer_len,
						exchange->method->reply, &exchange->read);
}

CallFate
tc_http_exchange_judge(HttpExchange *exchange, int http_status, HttpPaths *paths,
					   const GrpcHeaders *headers)
{
	JsonAnswerRead *read = &exchange->read;
	JsonAnswer	answer = tc_http_exchange_read(exchange);

	if (http_status == 200)
	{
		if (answer == JSON_REPLY)
		{
			read->status = GRPC_STATUS_OK;
			paths->corrections = 0;
			return CALL_ANSWERED;
		}
		tc_http_exchange_say(exchange, "the answer has HTTP status 200, but %s",
							 answer == JSON_ERROR ? "is an error" : read->problem);
		return CALL_AMBIGUOUS;
	}
	if (answer != JSON_ERROR)
	{
		read->status = tc_grpc_status_of_http(http_status);
		tc_http_exchange_say(exchange, "HTTP status %d without a word of Temporal's", http_status);
	}
	else if (is_wrong_path(exchange))
	{
		if (correct_generation(exchange, paths))
		{
			tc_http_exchange_say(exchange, "the server has other paths for it");
			return CALL_NOT_PROCESSED;
		}
		read->status = GRPC_STATUS_UNIMPLEMENTED;
		tc_http_exchange_say(exchange, "the server's HTTP API has no path for %s",
							 exchange->method->name);
	}
	tc_grpc_headers_hide_secrets(headers, read->message);
	return CALL_ANSWERED;
}

bool
tc_http_exchange_refuses_credentials(const HttpExchange *exchange)
{
	return exchange->read.status == GRPC_STATUS_PERMISSION_DENIED ||
		exchange->read.status == GRPC_STATUS_UNAUTHENTICATED;
}

/*
 * Does the answer say that the server does not know the path, which is not to
 * be taken for an activity that is not found?  A path of 2023 is on newer
 * servers one by which an activity is started, with other fields.
 */
static bool
is_wrong_path(const HttpExchange *exchange)
{
	const JsonAnswerRead *read = &exchange->read;

	return read->status == GRPC_STATUS_UNIMPLEMENTED ||
		(read->status == GRPC_STATUS_NOT_FOUND && !read->has_details &&
		 strcmp(read->message, "Not Found") == 0) ||
		(exchange->generation == HTTP_PATHS_2023 && !exchange->method->is_get &&
		 read->status == GRPC_STATUS_INVALID_ARGUMENT &&
		 strstr(read->message, "unknown field") != NULL);
}

/* Take the other generation of paths from now on; false if that was tried, too. */
static bool
correct_generation(const HttpExchange *exchange, HttpPaths *paths)
{
	/* another call may have found out meanwhile */
	if (exchange->generation != paths->generation)
		return true;
	if (exchange->method->is_get || paths->corrections >= MAX_CORRECTIONS)
		return false;
	paths->corrections++;
	paths->generation = paths->generation == HTTP_PATHS_2026 ? HTTP_PATHS_2023 : HTTP_PATHS_2026;
	return true;
}

void
tc_http_exchange_say(HttpExchange *exchange, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	vsnprintf(exchange->read.message, sizeof(exchange->read.message), fmt, args);
	va_end(args);
}

void
tc_http_exchange_result(const HttpExchange *exchange, CallFate fate, CallResult *result)
{
	const JsonAnswerRead *read = &exchange->read;

	result->fate = fate;
	result->grpc_status = fate == CALL_ANSWERED ? read->status : 0;
	result->message = read->message;
	result->detail_type = read->detail_type;
	result->reply = read->reply.bytes != NULL ? read->reply.bytes : (const uint8 *) "";
	result->reply_len = fate == CALL_ANSWERED && read->status == GRPC_STATUS_OK ?
		read->reply.len : 0;
}
