/*-------------------------------------------------------------------------
 *
 * record_request.h
 *	  What every way to ask for something has in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RECORD_REQUEST_H
#define TC_RECORD_REQUEST_H

#include "request/request.h"

/* Who asks, for messages */
typedef struct RequestCaller
{
	const char *name;			/* "complete_activity()" */
	uint64		number;			/* of the call in its statement; 0 = is not
								 * told */
} RequestCaller;

/*
 * Record a request, to be sent when the transaction commits.  Returns its id.
 * server and namespace_name may be NULL.
 *
 * Runs with the caller's rights: what it may do is decided by USAGE on the
 * foreign server.  The table is written directly, so nothing has to be
 * granted on it.
 */
extern int64 tc_record_request(const RequestCaller *caller, RequestMethod method,
							   const RequestArgs *args, const char *server,
							   char *namespace_name);

/*
 * The same for the activity that was recorded under a key; method is that by
 * token, and args has all but what names the activity.
 */
extern int64 tc_record_request_by_key(const RequestCaller *caller, RequestMethod method,
									  RequestArgs *args, const text *key, const char *server,
									  char *namespace_name);

#endif							/* TC_RECORD_REQUEST_H */
