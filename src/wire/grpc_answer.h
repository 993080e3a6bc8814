/*-------------------------------------------------------------------------
 *
 * grpc_answer.h
 *	  The answer to a gRPC call: gathered as it comes in, then judged.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_ANSWER_H
#define TC_GRPC_ANSWER_H

#include "wire/transport.h"

/* Replies of most calls fit into this, prefix included */
#define GRPC_SMALL_REPLY 128

#define GRPC_MAX_DETAIL_TYPE 128

/* Embedded in its owner; private to grpc_answer.c, but for reply_problem. */
typedef struct GrpcAnswer
{
	int			http_status;
	bool		is_grpc;
	int			grpc_status;	/* -1 = none yet */
	uint8	   *reply;			/* with prefix */
	size_t		reply_len;
	size_t		reply_size;
	size_t		max_reply;		/* without prefix */
	const char *reply_problem;	/* why it is not taken, or NULL */
	uint8		small[GRPC_SMALL_REPLY];
	char	   *message;		/* malloc'd, or NULL */
	size_t		message_size;	/* counted as held */
	char		detail_type[GRPC_MAX_DETAIL_TYPE];
} GrpcAnswer;

extern void tc_grpc_answer_init(GrpcAnswer *answer, size_t max_reply);

/* *held is the memory for the answers of a channel, but for the small ones. */
extern void tc_grpc_answer_free(GrpcAnswer *answer, size_t *held);

/* A header or trailer. */
extern void tc_grpc_answer_header(GrpcAnswer *answer, const char *name, size_t name_len,
								  const char *value, size_t value_len, size_t *held);

/* A piece of the body; false = enough of it, reply_problem says why. */
extern bool tc_grpc_answer_data(GrpcAnswer *answer, const uint8 *data, size_t len, size_t *held);

/* The whole answer is there: what does it say? */
extern CallFate tc_grpc_answer_judge(GrpcAnswer *answer);

/* Does it say that credentials are not good enough? */
extern bool tc_grpc_answer_refuses_credentials(const GrpcAnswer *answer);

/* Set the message to our words; without memory there is none. */
extern void tc_grpc_answer_say(GrpcAnswer *answer, const char *fmt,...) pg_attribute_printf(2, 3);

/* The result of a call with that fate; valid as long as the answer. */
extern void tc_grpc_answer_result(const GrpcAnswer *answer, CallFate fate, CallResult *result);

#endif							/* TC_GRPC_ANSWER_H */
