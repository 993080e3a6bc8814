/*-------------------------------------------------------------------------
 *
 * request_encoding.h
 *	  Requests whose payloads go through a codec server before they are sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_ENCODING_H
#define TC_REQUEST_ENCODING_H

#include "worker/in_memory.h"

/* Are its bytes what its queue's channel sends?  Where there is a codec server, not before it was encoded. */
static inline bool
tc_request_can_be_sent(const Request *request)
{
	const PooledChannel *channel = request->queue->channel;

	return request->encoded_by == (channel->codec != NULL ? channel->serial : 0);
}

typedef enum EncodingStep
{
	ENCODING_BEGUN,				/* the request is in flight now */
	ENCODING_NO_ROOM,			/* nor is there for the next one */
	ENCODING_SETTLED			/* it was nothing to do, or cannot be done:
								 * see its state */
} EncodingStep;

/*
 * What has to be done with a ready request that cannot be sent as it is.  Of one
 * that was encoded answers.c says what follows.
 */
extern EncodingStep tc_request_begin_encoding(Request *request);

#endif							/* TC_REQUEST_ENCODING_H */
