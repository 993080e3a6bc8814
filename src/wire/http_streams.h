/*-------------------------------------------------------------------------
 *
 * http_streams.h
 *	  Calls over HTTP/JSON that are streams of HTTP/2 sessions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP_STREAMS_H
#define TC_HTTP_STREAMS_H

#include "wire/http_exchange.h"
#include "wire/stream_calls.h"

extern const StreamKind tc_http_streams;

/* Which paths the server of a session has, as far as that was found out */
extern HttpPaths *tc_http_stream_paths(const StreamSession *session);

#endif							/* TC_HTTP_STREAMS_H */
