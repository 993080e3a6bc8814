/*-------------------------------------------------------------------------
 *
 * http_exchange.h
 *	  What a call says over HTTP/JSON, and what its answer says, whichever HTTP
 *	  carries it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP_EXCHANGE_H
#define TC_HTTP_EXCHANGE_H

#include "wire/grpc_headers.h"
#include "wire/json_read.h"
#include "wire/transport.h"

/* Which paths a server has, as far as that was found out */
typedef struct HttpPaths
{
	HttpGeneration generation;
	int			corrections;	/* how often it was another one */
} HttpPaths;

/* Embedded in its owner, who reads what has a comment. */
typedef struct HttpExchange
{
	const HttpMethod *method;	/* NULL = there is no such method */
	JsonBuffer	path;			/* the owner may add to its beginning */
	JsonBuffer	body;			/* of what is no GET */
	const char *problem;		/* why not more of the answer was taken; a
								 * constant, or NULL */
	JsonAnswerRead read;		/* what the answer says */

	HttpGeneration generation;
	size_t		max_reply;
	char	   *answer;
	size_t		answer_len;
	size_t		answer_size;
} HttpExchange;

extern void tc_http_exchange_init(HttpExchange *exchange, const Call *call);

/* *held is the memory for the answers of a channel. */
extern void tc_http_exchange_free(HttpExchange *exchange, size_t *held);

/*
 * Write path and body.  False, what becomes of the call in *fate, and a message,
 * if there is no such path; see the buffers' failed, too.
 */
extern bool tc_http_exchange_write(HttpExchange *exchange, const Call *call,
								   const HttpPaths *paths, CallFate *fate);
extern void tc_http_exchange_write_body(HttpExchange *exchange, const Call *call);

/* A piece of the answer; false = enough of it, problem says why. */
extern bool tc_http_exchange_data(HttpExchange *exchange, const void *data, size_t len,
								  size_t *held);

/* Read the whole answer as the method has it. */
extern JsonAnswer tc_http_exchange_read(HttpExchange *exchange);

/*
 * The whole answer is there: what does it say?  Secrets of the headers are
 * hidden in its words.
 */
extern CallFate tc_http_exchange_judge(HttpExchange *exchange, int http_status, HttpPaths *paths,
									   const GrpcHeaders *headers);

/* Does it say that credentials are not good enough? */
extern bool tc_http_exchange_refuses_credentials(const HttpExchange *exchange);

/* Set the message to our words. */
extern void tc_http_exchange_say(HttpExchange *exchange, const char *fmt,...) pg_attribute_printf(2, 3);

/* The result of a call with that fate; valid as long as the exchange. */
extern void tc_http_exchange_result(const HttpExchange *exchange, CallFate fate, CallResult *result);

#endif							/* TC_HTTP_EXCHANGE_H */
