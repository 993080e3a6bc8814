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

#include "lib/ilist.h"

#include "wire/transport.h"

typedef struct Http2Session Http2Session;

typedef enum Http2State
{
	HTTP2_CONNECTING,			/* no SETTINGS of the server yet */
	HTTP2_OPEN,
	HTTP2_DRAINING,				/* GOAWAY: streams end, new ones are not
								 * allowed */
	HTTP2_LOST					/* see tc_http2_error() */
} Http2State;

/* A piece of a request's body */
typedef struct Http2Piece
{
	const uint8 *data;
	size_t		len;
} Http2Piece;

#define HTTP2_PIECES 2

/*
 * A request.  Embedded in its owner, who fills in the pieces and keeps them
 * until over() is called or tc_http2_cancel() returns.
 */
typedef struct Http2Stream
{
	Http2Piece	body[HTTP2_PIECES];

	/* private to http2.c */
	dlist_node	node;
	int32		id;
	bool		answered;		/* END_STREAM was received */
	int			piece;			/* the next byte of the body to send */
	size_t		offset;
	uint64		end;			/* where in the session's output the request
								 * ends; 0 = not yet written */
} Http2Stream;

/* How a stream ended */
typedef enum Http2End
{
	HTTP2_ANSWERED,				/* the whole answer was received */
	HTTP2_NOT_PROCESSED,		/* certainly not processed by the server */
	HTTP2_RESET,				/* by the server, or for a faulty answer */
	HTTP2_CONNECTION_LOST
} Http2End;

/*
 * What a session tells.  The first three are called beneath nghttp2, must not
 * call anything of this file, and never hear of a stream again once it is
 * over.  changed() is called from the event loop when streams are over or the
 * state may be another one; the session may be closed in there.
 */
typedef struct Http2Events
{
	void		(*header) (Http2Stream *stream, const char *name, size_t name_len,
						   const char *value, size_t value_len);
	bool		(*data) (Http2Stream *stream, const uint8 *data, size_t len);	/* false = reset it */
	void		(*over) (Http2Stream *stream, Http2End end, uint32 error_code,
						 const ChannelError *why);	/* of a session that is
													 * lost, or NULL */
	void		(*changed) (void *arg);
} Http2Events;

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

extern const char *tc_http2_tls_version(const Http2Session *session);

/* Requests that can be started now, and those that are not over. */
extern int	tc_http2_capacity(const Http2Session *session);
extern int	tc_http2_nstreams(const Http2Session *session);

/* Start a request; false if that is impossible.  It leaves with tc_http2_flush(). */
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
