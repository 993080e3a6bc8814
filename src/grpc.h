/*-------------------------------------------------------------------------
 *
 * grpc.h
 *	  What of grpc.c is seen by others, besides transport.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_H
#define TC_GRPC_H

/* Largest reply that is taken; one that is larger is given up. */
#define TC_MAX_REPLY (8 * 1024 * 1024)

/*
 * Memory for the replies of all calls in flight on a channel, but for the
 * small ones.  With thousands of calls, a server could fill any memory with
 * replies that are within the limit each.
 */
#define TC_MAX_REPLIES (64 * 1024 * 1024)

#endif							/* TC_GRPC_H */
