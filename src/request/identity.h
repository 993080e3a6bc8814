/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  What tells requests apart, also in the history that Temporal keeps.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_IDENTITY_H
#define TC_IDENTITY_H

#include "datatype/timestamp.h"

/*
 * What a request is told apart by, from all others that were ever made: ids
 * and transaction ids come again after recovery to an earlier point in time,
 * but not at the same microsecond.
 */
typedef struct RequestIdentity
{
	int64		id;
	uint64		xid;
	TimestampTz requested_at;
} RequestIdentity;

/*
 * The identity with which a request is sent, and which Temporal keeps in the
 * history: "postgresql:<dbname>/<id>@<system identifier>/<database oid>/<xid>/
 * <when it was made, in microseconds since 1970>".  Printable ASCII; other
 * bytes of the database's name become '?'.  Zero-terminated, in a buffer of
 * TC_IDENTITY_MAX bytes; returns the length.
 *
 * The first call of a process needs a transaction, to look up the name.
 */
#define TC_IDENTITY_MAX 256
extern size_t tc_request_identity(const RequestIdentity *identity, char *buf);

/*
 * Is that the identity of that request, or one of its former ones?  The
 * database's name is not looked at: it may have changed since the request was
 * made or sent.  former holds what comes behind the database's name, with
 * blanks between them; it may be NULL.
 */
extern bool tc_identity_matches(const char *string, size_t len,
								const RequestIdentity *identity, const char *former);

/* When the request was made that had this former identity, the first of a list of them. */
extern TimestampTz tc_former_identity_time(const char *former);

#endif							/* TC_IDENTITY_H */
