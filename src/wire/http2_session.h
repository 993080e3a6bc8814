/*-------------------------------------------------------------------------
 *
 * http2_session.h
 *	  The inside of an HTTP/2 session: for http2.c and http2_callbacks.c only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP2_SESSION_H
#define TC_HTTP2_SESSION_H

#include <nghttp2/nghttp2.h>

#include "base/event_loop.h"
#include "wire/connection.h"
#include "wire/http2_stream.h"

struct Http2Session
{
	const ChannelOptions *options;
	const Http2Events *events;
	void	   *arg;
	Connection *conn;			/* NULL once lost */
	nghttp2_session *ng;
	dlist_head	streams;		/* not over */
	int			nstreams;
	int			nopen;			/* the same and cancelled ones, to nghttp2 */

	bool		connected;
	bool		settled;		/* SETTINGS received */
	bool		goaway;
	uint32		goaway_code;
	bool		lost;
	bool		broken;			/* nothing can be sent any more */
	bool		first_bytes;	/* nothing received yet */
	char		fault[128];		/* what nghttp2 says is wrong */
	ChannelError error;

	/* Output not sent yet, and counts of bytes since the beginning */
	uint8	   *out;
	size_t		out_size;
	size_t		out_start;
	size_t		out_len;
	uint64		written;		/* by nghttp2 */
	uint64		handed;			/* the server may have got so many */

	int64		last_read;
	int64		ping_sent;		/* 0 = no PING on its way */
	LoopTimer	keepalive;
	LoopTimer	later;			/* changed() is to be called */
	bool		read_more;		/* and input to be read before */
	bool		news;			/* streams were over since changed() */
};

/*
 * Give the session its nghttp2, which calls http2_callbacks.c, and queue our
 * SETTINGS; false for lack of memory.
 */
extern bool tc_http2_start_nghttp2(Http2Session *session);

/* nghttp2's source for the bodies of requests. */
extern ssize_t tc_http2_read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t len,
								  uint32_t *flags, nghttp2_data_source *source, void *arg);

/* A stream is over: its owner hears of it, and nothing more. */
extern void tc_http2_end_stream(Http2Session *session, Http2Stream *stream, Http2End end,
								uint32 error_code);

#endif							/* TC_HTTP2_SESSION_H */
