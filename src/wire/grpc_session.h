/*-------------------------------------------------------------------------
 *
 * grpc_session.h
 *	  An HTTP/2 session of a channel, with what was read to make it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_SESSION_H
#define TC_GRPC_SESSION_H

#include "lib/ilist.h"

#include "wire/grpc_headers.h"
#include "wire/http2.h"
#include "wire/transport.h"

typedef struct GrpcSession
{
	dlist_node	node;			/* among the channel's */
	Channel    *channel;
	Http2Session *http2;		/* NULL = closed, to be freed */
	bool		answered;		/* a call was answered */
	int64		ready_at;
	GrpcHeaders *headers;		/* of its requests */

	/* private to grpc_session.c */
	const ChannelOptions *options;
	uint64		files;			/* stamp of the files that were read for it */
	bool		stale;			/* they have changed since */
} GrpcSession;

/*
 * Read what the options name, and connect; events are called with the
 * session.  The options must stay valid.  NULL, with *error filled in, if that
 * cannot even be tried.
 */
extern GrpcSession *tc_grpc_session_open(Channel *channel, const ChannelOptions *options,
										 const Http2Events *events, ChannelError *error);

/*
 * Close it; its calls end.  It is freed apart, when nothing can refer to it any
 * more.
 */
extern void tc_grpc_session_close(GrpcSession *session);
extern void tc_grpc_session_free(GrpcSession *session);

/*
 * Have the files from which it has its credentials changed?  They are looked
 * at; was_stale() says what was seen so far.
 */
extern bool tc_grpc_session_is_stale(GrpcSession *session);
extern bool tc_grpc_session_was_stale(const GrpcSession *session);

#endif							/* TC_GRPC_SESSION_H */
