/*-------------------------------------------------------------------------
 *
 * request_encoding.c
 *	  Requests whose payloads go through a codec server before they are sent.
 *
 *	  READY ----> IN_FLIGHT ----> ANSWERED ----> READY ----> IN_FLIGHT
 *	   plain      to the codec                   encoded     to Temporal
 *
 * As long as it is being encoded a request is in flight, so it keeps its place
 * in the order, in the window and in the shares; but nothing of it can have
 * reached Temporal.  When it comes back it is looked at as any other that is
 * ready: rights may be gone, or the queue paused.  What it was encoded by is
 * known, so with other options it is read again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/encoding.h"
#include "worker/queue.h"
#include "worker/recording.h"
#include "worker/request_encoding.h"

static void encoded(void *arg, const EncodeResult *result);

EncodingStep
tc_request_begin_encoding(Request *request)
{
	Encodable	it = {
		.method = request->method,
		.bytes = request->bytes,
		.len = request->len,
		.alone = request->encode_alone,
		.over = encoded,
		.arg = request
	};

	if (request->encoded_by != 0)
	{
		tc_request_retry_at(request, 0);
		return ENCODING_SETTLED;
	}
	switch (tc_encode(request->queue, &it))
	{
		case ENCODE_NEEDLESS:
			request->encoded_by = request->queue->channel->serial;
			break;
		case ENCODE_BEGUN:
			return ENCODING_BEGUN;
		case ENCODE_NO_ROOM:
			return ENCODING_NO_ROOM;
		case ENCODE_MALFORMED:
			request->error_code = "MALFORMED";
			tc_request_set_message(request, "the request cannot be read");
			tc_request_finish(request, request->maybe_sent ? OUTCOME_UNCONFIRMED : OUTCOME_REJECTED);
			break;
	}
	return ENCODING_SETTLED;
}

static void
encoded(void *arg, const EncodeResult *result)
{
	Request    *request = arg;

	switch (result->verdict)
	{
		case ENCODE_DONE:
			tc_request_set_encoded(request, result->bytes, result->len, request->channel->serial);
			request->encode_alone = false;
			request->meaning = MEANING_SEND_AGAIN;
			break;
		case ENCODE_PUT_BACK:
			request->meaning = MEANING_SEND_AGAIN;
			break;
		case ENCODE_FAILED:
			request->encode_alone = true;
			request->meaning = MEANING_RETRY;
			break;
		case ENCODE_REFUSED:
			request->meaning = MEANING_REJECTED;
			break;
	}
	request->may_have_taken_effect = false;
	if (result->code != NULL)
	{
		request->error_code = result->code;
		tc_request_set_message(request, result->message);
	}
	tc_request_set_state(request, REQUEST_ANSWERED);
}
