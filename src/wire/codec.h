/*-------------------------------------------------------------------------
 *
 * codec.h
 *	  Codec servers: where payloads are posted, and what is answered.
 *
 * A channel to a codec server is one over HTTP whose options have a
 * codec_path.  Its calls have one of these paths, a Payloads message, and a
 * Payloads message as reply, which has as many if all is right: that is for the
 * caller to see.
 *
 * Source: temporalio/samples-go codec-server, sdk-go converter/codec.go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CODEC_H
#define TC_CODEC_H

#include "wire/json_buffer.h"
#include "wire/transport.h"

#define TC_CODEC_ENCODE "/encode"
#define TC_CODEC_DECODE "/decode"

/*
 * What an answer says: grpc_status of a CallResult with CALL_ANSWERED.  Whatever
 * else a codec server answers is in no message: it may repeat what it was
 * given.
 */
typedef enum CodecVerdict
{
	CODEC_OK,					/* there are payloads */
	CODEC_REFUSED,				/* it does not take these payloads */
	CODEC_GARBLED,				/* what it made of these payloads are none */
	CODEC_STUMBLED,				/* it failed, maybe because of these payloads */
	CODEC_FAILED,				/* it failed, or somebody before it */
	CODEC_NONSENSE,				/* the answer is none of a codec server */
	CODEC_CLOSED				/* it takes nothing at present, whatever it
								 * is: the channel is idle, and says why */
} CodecVerdict;

/* Codes: why nothing can be encoded, or why a request was rejected for it */
#define TC_CODEC_UNAVAILABLE "CODEC_UNAVAILABLE"
#define TC_CODEC_UNAUTHENTICATED "CODEC_UNAUTHENTICATED"
#define TC_CODEC_TLS_FAILED "CODEC_TLS_FAILED"
#define TC_CODEC_CONFIGURATION "CODEC_CONFIGURATION"
#define TC_CODEC_BAD_ANSWER "CODEC_BAD_ANSWER"
#define TC_CODEC_IS_REFUSED "CODEC_REFUSED"

/* What an HTTP status means; of 200 that has to be read. */
extern CodecVerdict tc_codec_verdict(long http_status);

/* The error of a channel that is closed by such a status. */
extern void tc_codec_closed(long http_status, const char *address, ChannelError *error);

/* The code for the result of a call that is not CODEC_OK. */
extern const char *tc_codec_result_code(const CallResult *result);

/* The code for the error of a channel to a codec server. */
extern const char *tc_codec_channel_code(const char *code);

/* Path of a call, and the line for its namespace, zero-terminated; see their failed. */
extern void tc_codec_write_path(JsonBuffer *buffer, const ChannelOptions *options, const Call *call);
extern void tc_codec_write_line(JsonBuffer *buffer, const Call *call);

#endif							/* TC_CODEC_H */
