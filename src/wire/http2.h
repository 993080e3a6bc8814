/*-------------------------------------------------------------------------
 *
 * http2.h
 *	  An HTTP/2 session, as client, over a connection.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP2_H
#define TC_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "wire/http2_stream.h"

typedef enum Http2State
{
	HTTP2_CONNECTING,			/* no SETTINGS of the server yet */
	HTTP2_OPEN,
	HTTP2_DRAINING,				/* GOAWAY: streams end, new ones are not
								 * allowed */
	HTTP2_LOST					/* see tc_http2_error() */
} Http2State;

/* Connect; options and events must stay valid.  NULL for lack of memory. */
extern Http2Session *tc_http2_open(const ChannelOptions *options, const Http2Events *events,
								   void *arg);

/* Close and free it at once; over() is called for the streams that are left. */
extern void tc_http2_close(Http2Session *session);

extern Http2State tc_http2_state(const Http2Session *session);

/* Why it was lost, or, if draining, what the GOAWAY said. */
extern const ChannelError *tc_http2_error(const Http2Session *session);

/* Was the GOAWAY a plain one (NO_ERROR)? */
extern bool tc_http2_goaway_is_plain(const Http2Session *session);

/* Has the server chosen HTTP/1.1 in the TLS handshake, or ended the session for it? */
extern bool tc_http2_wants_http1(const Http2Session *session);

extern const char *tc_http2_tls_version(const Http2Session *session);
extern void tc_http2_add_expiry(const Http2Session *session, ChannelExpiry *expiry);

/* Requests that can be started now, and those that are not over. */
extern int	tc_http2_capacity(const Http2Session *session);
extern int	tc_http2_nstreams(const Http2Session *session);

/*
 * Start a request; false if that is impossible.  It leaves with
 * tc_http2_flush().  One without a body counts as sent with the next byte, as
 * its end is not seen.
 */
extern bool tc_http2_submit(Http2Session *session, Http2Stream *stream,
							const nghttp2_nv *headers, size_t nheaders);

/*
 * Give a request up: the server is told, nothing is heard of it any more.
 * Returns true if the server cannot have processed it, nor ever will.
 */
extern bool tc_http2_cancel(Http2Session *session, Http2Stream *stream);

/* Send what is to be sent, as far as possible; the rest follows by itself. */
extern void tc_http2_flush(Http2Session *session);

#endif							/* TC_HTTP2_H */
