/*-------------------------------------------------------------------------
 *
 * failure_cause.h
 *	  Causes of failures: JSON as users have it, and Temporal's messages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_FAILURE_CAUSE_H
#define TC_FAILURE_CAUSE_H

#include "utils/jsonb.h"

#include "base/proto_reader.h"

/*
 * So many causes a failure may have, each within the one before: Temporal's
 * server keeps no more where it shortens a failure, and readers of protobuf
 * do not go down for ever.
 */
#define TC_CAUSES_MAX 20

/*
 * A cause with its own ones as Failure, ready to be encoded.  Raises an error
 * if that is no object, has a key that is not known, a value of a wrong type,
 * no message, or too many of them.  palloc'd.
 */
struct Temporal__Failure;
extern struct Temporal__Failure *tc_failure_cause(Jsonb *json);

/* The way back, from an encoded Failure; what cannot be read is left out. */
extern Jsonb *tc_failure_cause_shown(ProtoSpan failure);

#endif							/* TC_FAILURE_CAUSE_H */
