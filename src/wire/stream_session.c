/*-------------------------------------------------------------------------
 *
 * stream_session.c
 *	  An HTTP/2 session of a channel, with what was read to make it.
 *
 * Nothing here raises errors, or knows what its calls are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel_error.h"
#include "wire/credential_files.h"
#include "wire/stream_session.h"

StreamSession *
tc_stream_session_open(Channel *channel, const ChannelOptions *options,
					   const Http2Events *events, ChannelError *error)
{
	StreamSession *session = calloc(1, sizeof(StreamSession));

	if (session == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return NULL;
	}
	session->channel = channel;
	session->options = options;
	/* before they are read, so that no change is missed */
	session->files = tc_channel_files_stamp(options);
	session->headers = tc_grpc_headers_make(options, error);
	if (session->headers == NULL)
	{
		free(session);
		return NULL;
	}
	session->http2 = tc_http2_open(options, events, session);
	if (session->http2 == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		tc_stream_session_free(session);
		return NULL;
	}
	return session;
}

void
tc_stream_session_close(StreamSession *session)
{
	Http2Session *http2 = session->http2;

	session->http2 = NULL;
	if (http2 != NULL)
		tc_http2_close(http2);
}

void
tc_stream_session_free(StreamSession *session)
{
	tc_grpc_headers_free(session->headers);
	free(session);
}

bool
tc_stream_session_is_stale(StreamSession *session)
{
	if (!session->stale && session->files != 0)
		session->stale = tc_channel_files_stamp(session->options) != session->files;
	return session->stale;
}

bool
tc_stream_session_was_stale(const StreamSession *session)
{
	return session->stale;
}
