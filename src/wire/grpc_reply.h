/*-------------------------------------------------------------------------
 *
 * grpc_reply.h
 *	  Reading what a gRPC server answers: status, message, error details.
 *
 * Plain functions over bytes of the other side, without memory of their own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_REPLY_H
#define TC_GRPC_REPLY_H

/* Codes of gRPC that are used here by name (grpc/grpc doc/statuscodes.md) */
#define GRPC_STATUS_OK 0
#define GRPC_STATUS_UNKNOWN 2
#define GRPC_STATUS_INVALID_ARGUMENT 3
#define GRPC_STATUS_NOT_FOUND 5
#define GRPC_STATUS_PERMISSION_DENIED 7
#define GRPC_STATUS_UNIMPLEMENTED 12
#define GRPC_STATUS_INTERNAL 13
#define GRPC_STATUS_UNAVAILABLE 14
#define GRPC_STATUS_UNAUTHENTICATED 16

/* Each message has a prefix: a flag for compression, and its length. */
#define GRPC_PREFIX_SIZE 5

/* Room for the header grpc-timeout */
#define GRPC_TIMEOUT_SIZE 12

/* Value of grpc-status; UNKNOWN if it is none of gRPC's. */
extern int	tc_grpc_status(const char *value, size_t len);

/* The status that an HTTP status without grpc-status stands for. */
extern int	tc_grpc_status_of_http(int http_status);

/* Is that content-type gRPC's? */
extern bool tc_grpc_content_type(const char *value, size_t len);

/*
 * Decode a grpc-message: percent-encoding undone, zero bytes made '?', cut
 * off at a character if it does not fit.  Returns the length; out is
 * zero-terminated.
 */
extern size_t tc_grpc_message(const char *value, size_t len, char *out, size_t size);

/*
 * From a grpc-status-details-bin, the last part of the first detail's
 * type_url, such as NamespaceNotFoundFailure; empty if there is none.
 */
extern void tc_grpc_detail_type(const char *value, size_t len, char *out, size_t size);

/* Value of grpc-timeout in a buffer of GRPC_TIMEOUT_SIZE bytes; returns its length. */
extern size_t tc_grpc_timeout(int timeout_ms, char *out);

#endif							/* TC_GRPC_REPLY_H */
