/*-------------------------------------------------------------------------
 *
 * grpc_calls.h
 *	  Calls of gRPC: one request, one answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_CALLS_H
#define TC_GRPC_CALLS_H

#include "wire/stream_calls.h"

extern const StreamKind tc_grpc_calls;

#endif							/* TC_GRPC_CALLS_H */
