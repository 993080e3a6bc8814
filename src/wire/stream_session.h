/*-------------------------------------------------------------------------
 *
 * stream_session.h
 *	  An HTTP/2 session of a channel, with what was read to make it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_STREAM_SESSION_H
#define TC_STREAM_SESSION_H

#include "lib/ilist.h"

#include "wire/grpc_headers.h"
#include "wire/http2.h"
#include "wire/transport.h"

typedef struct StreamSession
{
	dlist_node	node;			/* among the channel's */
	Channel    *channel;
	struct Streams *streams;	/* whose it is */
	Http2Session *http2;		/* NULL = closed, to be freed */
	bool		opened;			/* requests could be made */
	bool		answered;		/* a call was answered */
	bool		wants_http1;	/* a call was told so */
	int64		ready_at;
	GrpcHeaders *headers;		/* what is in its requests, secrets included */
	void	   *own;			/* its calls' kind's, or NULL */

	/* private to stream_session.c */
	const ChannelOptions *options;
	uint64		files;			/* stamp of the files that were read for it */
	bool		stale;			/* they have changed since */
} StreamSession;

/*
 * Read what the options name, and connect; events are called with the
 * session.  The options must stay valid.  NULL, with *error filled in, if that
 * cannot even be tried.
 */
extern StreamSession *tc_stream_session_open(Channel *channel, const ChannelOptions *options,
											 const Http2Events *events, ChannelError *error);

/*
 * Close it; its calls end.  It is freed apart, when nothing can refer to it any
 * more.
 */
extern void tc_stream_session_close(StreamSession *session);
extern void tc_stream_session_free(StreamSession *session);

/*
 * Have the files from which it has its credentials changed?  They are looked
 * at; was_stale() says what was seen so far.
 */
extern bool tc_stream_session_is_stale(StreamSession *session);
extern bool tc_stream_session_was_stale(const StreamSession *session);

#endif							/* TC_STREAM_SESSION_H */
