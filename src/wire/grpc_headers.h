/*-------------------------------------------------------------------------
 *
 * grpc_headers.h
 *	  The headers of gRPC requests.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_HEADERS_H
#define TC_GRPC_HEADERS_H

#include <nghttp2/nghttp2.h>

#include "wire/grpc_reply.h"
#include "wire/transport.h"

typedef struct GrpcHeaders GrpcHeaders;

/*
 * What is wrong with the key of a metadata entry that a user gives: a
 * constant sentence, or NULL.
 */
extern const char *tc_grpc_metadata_problem(const char *key);

/*
 * What all requests of a session have in common.  Reads the file of the API
 * key.  NULL, with *error filled in, if an option cannot be sent.  The options
 * must stay valid until it is freed.
 */
extern GrpcHeaders *tc_grpc_headers_make(const ChannelOptions *options, ChannelError *error);
extern void tc_grpc_headers_free(GrpcHeaders *headers);

/*
 * Those that all requests have, but for :path; metadata of the options, of
 * which there are so many, come last.  Returns the number of all.
 */
extern int	tc_grpc_headers_common(const GrpcHeaders *headers, const nghttp2_nv **array,
								   int *nmetadata);

/*
 * Headers of a call; returns their number.  The array is valid until the
 * next call of this function; timeout has room for GRPC_TIMEOUT_SIZE bytes,
 * and is needed until nghttp2 has been given the headers, like the strings of
 * the call.
 */
extern int	tc_grpc_headers_of_call(GrpcHeaders *headers, const Call *call, char *timeout,
									const nghttp2_nv **array);

/* A header of which the name need not be copied. */
extern nghttp2_nv tc_grpc_header(const char *name, const char *value, uint8 flags);

/* Of the API key. */
extern void tc_grpc_headers_add_expiry(const GrpcHeaders *headers, ChannelExpiry *expiry);

/*
 * Overwrite credentials in a text of the other side, which may repeat what it
 * was sent.  NULL is allowed.
 */
extern void tc_grpc_headers_hide_secrets(const GrpcHeaders *headers, char *text);

#endif							/* TC_GRPC_HEADERS_H */
