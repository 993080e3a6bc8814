/*-------------------------------------------------------------------------
 *
 * classify.h
 *	  What the result of a call means for a request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CLASSIFY_H
#define TC_CLASSIFY_H

#include "wire/transport.h"

typedef enum CallMeaning
{
	MEANING_DELIVERED,			/* done */
	MEANING_REJECTED,			/* refused for good */
	MEANING_GONE,				/* no such activity (any more): refused,
								 * unless it was an earlier attempt of ours
								 * that ended it */
	MEANING_SEND_AGAIN,			/* not processed: as if never sent */
	MEANING_RETRY,				/* try again, with backoff */
	MEANING_THROTTLED,			/* try again, and send less */
	MEANING_NEEDS_OPERATOR		/* try again slowly: somebody has to mend it */
} CallMeaning;

/* Meaning of a call's result; see the table in classify.c. */
extern CallMeaning tc_classify(const CallResult *result);

/* May a request whose call ended like that have taken effect all the same? */
extern bool tc_may_have_taken_effect(const CallResult *result);

/* Word for error_code: the name of the gRPC status, or our own word.  Constant. */
extern const char *tc_error_code(const CallResult *result);

/* Can requests have been rejected with that error_code?  All of these, for a message. */
extern bool tc_is_rejection_code(const char *code);
extern const char *tc_rejection_codes(void);

#endif							/* TC_CLASSIFY_H */
