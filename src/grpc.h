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

#endif							/* TC_GRPC_H */
