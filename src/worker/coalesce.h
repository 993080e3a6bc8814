/*-------------------------------------------------------------------------
 *
 * coalesce.h
 *	  Heartbeats in whose place a later request is sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_COALESCE_H
#define TC_COALESCE_H

#include "worker/in_memory.h"

/*
 * A request was read: heartbeats that wait in its activity's chain, and are of
 * no use any more, end.  It may be one of them.
 */
extern void tc_coalesce(Request *request);

/* A request failed, or was not applied: is a later one of its chain to be sent in its place? */
extern bool tc_is_overtaken(const Request *request);

#endif							/* TC_COALESCE_H */
