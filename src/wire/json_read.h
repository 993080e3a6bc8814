/*-------------------------------------------------------------------------
 *
 * json_read.h
 *	  An answer in JSON, taken for what gRPC would have said.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_JSON_READ_H
#define TC_JSON_READ_H

#include "wire/json_buffer.h"
#include "wire/json_schema.h"

typedef enum JsonAnswer
{
	JSON_REPLY,					/* a message, in reply */
	JSON_ERROR,					/* a status, a message and details */
	JSON_NEITHER				/* problem says what is wrong; a constant */
} JsonAnswer;

#define JSON_MESSAGE_SIZE 512
#define JSON_DETAIL_TYPE_SIZE 64

typedef struct JsonAnswerRead
{
	JsonBuffer	reply;			/* protobuf; max is the caller's to set */
	int			status;			/* as gRPC's */
	char		message[JSON_MESSAGE_SIZE];
	char		detail_type[JSON_DETAIL_TYPE_SIZE];
	bool		has_details;
	bool		is_object;		/* whatever is in it */
	const char *problem;
} JsonAnswerRead;

/*
 * The text may be anything.  Of a reply, what the method's schema does not
 * have is passed over.
 */
extern JsonAnswer tc_json_read(const char *text, size_t len, const JsonMessage *reply,
							   JsonAnswerRead *read);

#endif							/* TC_JSON_READ_H */
