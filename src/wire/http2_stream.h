/*-------------------------------------------------------------------------
 *
 * http2_stream.h
 *	  A request on an HTTP/2 session, and what its owner is told.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP2_STREAM_H
#define TC_HTTP2_STREAM_H

#include "lib/ilist.h"

#include "wire/transport.h"

typedef struct Http2Session Http2Session;

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

	/* private to http2.c and http2_callbacks.c */
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
 * call anything of http2.h, and never hear of a stream again once it is
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

#endif							/* TC_HTTP2_STREAM_H */
