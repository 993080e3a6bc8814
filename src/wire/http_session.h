/*-------------------------------------------------------------------------
 *
 * http_session.h
 *	  Connections of a channel over HTTP/1.1, with what was read to make them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP_SESSION_H
#define TC_HTTP_SESSION_H

#include "lib/ilist.h"

#include "wire/grpc_headers.h"
#include "wire/http_exchange.h"
#include "wire/libcurl.h"
#include "wire/transport.h"

typedef struct HttpSession
{
	dlist_node	node;			/* among the channel's */
	Channel    *channel;
	CurlMulti  *multi;			/* NULL = closed, to be freed */
	int			connections;	/* that it may have, in terms of open files */
	int			max_calls;		/* sockets that it may open */
	int			ncalls;
	dlist_head	calls;			/* in flight; these and the following are
								 * http_calls.c's */
	dlist_head	unused_calls;	/* with their handles of libcurl, for reuse */
	GrpcHeaders *headers;		/* of its requests, secrets included */
	struct curl_slist *lines;	/* the same for libcurl */
	CurlTarget	target;
	CurlTls		tls;
	ChannelError error;			/* why it cannot connect; code NULL = it can */

	HttpPaths	paths;

	/* private to http_session.c */
	const ChannelOptions *options;
	int			files_open;		/* counted as external file descriptors */
	uint64		files;			/* stamp of the files that were read for it */
	bool		stale;			/* they have changed since */
} HttpSession;

/*
 * Read what the options name.  Nothing is connected before there is a call.
 * driven() is called with the session when calls may be over.  NULL, with
 * *error filled in, if that cannot be.
 */
extern HttpSession *tc_http_session_open(Channel *channel, const ChannelOptions *options,
										 int connections, CurlDriven driven, ChannelError *error);

/* Close it, once it has no calls; it is freed apart, when nothing can refer to it. */
extern void tc_http_session_close(HttpSession *session);
extern void tc_http_session_free(HttpSession *session);

/* Has the server chosen HTTP/2 for a connection?  Nothing is sent over that. */
extern bool tc_http_session_wants_http2(const HttpSession *session);

/* Have the files from which it has its credentials changed? */
extern bool tc_http_session_is_stale(HttpSession *session);

#endif							/* TC_HTTP_SESSION_H */
