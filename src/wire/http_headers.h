/*-------------------------------------------------------------------------
 *
 * http_headers.h
 *	  The headers of requests over HTTP/JSON, from those that gRPC has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP_HEADERS_H
#define TC_HTTP_HEADERS_H

#include "wire/grpc_headers.h"

/*
 * The content type by which Temporal's server takes payloads as they are, not as
 * JSON of its own liking
 */
#define HTTP_CONTENT_TYPE "application/json+no-payload-shorthand"

typedef struct HttpHeaders HttpHeaders;

/* What is in a request besides */
typedef struct HttpRequestLine
{
	bool		is_get;			/* else a body follows */
	const char *path;
	size_t		body_len;
	int			timeout_ms;
} HttpRequestLine;

/*
 * For HTTP/2, from what gRPC's requests have, which must stay; NULL for lack of
 * memory.
 */
extern HttpHeaders *tc_http_headers_make(const GrpcHeaders *headers,
										 const ChannelOptions *options);
extern void tc_http_headers_free(HttpHeaders *headers);

/* Headers of a request; returns their number.  The array is valid until the next call. */
extern int	tc_http_headers_of_request(HttpHeaders *headers, const HttpRequestLine *line,
									   const nghttp2_nv **array);

#endif							/* TC_HTTP_HEADERS_H */
