/*-------------------------------------------------------------------------
 *
 * http_calls.h
 *	  Calls over HTTP/1.1, which libcurl carries: their requests and ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HTTP_CALLS_H
#define TC_HTTP_CALLS_H

#include "wire/http_session.h"

/* Embedded in the channel; private to http_calls.c. */
typedef struct HttpCalls
{
	dlist_head	finished;		/* calls whose callbacks are to be run */
} HttpCalls;

extern void tc_http_calls_init(HttpCalls *calls);

/*
 * Start a call on a session; NULL if there is none.  False if it is over at
 * once, and tc_http_calls_tell() is to be called, but not now.
 */
extern bool tc_http_call_start(HttpCalls *calls, HttpSession *session, const Call *call);

/* Take from libcurl the calls of a session that are over; see its error, too. */
extern void tc_http_calls_take(HttpCalls *calls, HttpSession *session);

/* All calls of a session are over, whatever becomes of them, and it has no memory of calls any more. */
extern void tc_http_calls_abandon(HttpCalls *calls, HttpSession *session);

/*
 * Offer HTTP/2 with connections to come, too, to notice when the server has learnt
 * it.  No call is made over such a connection.
 */
extern void tc_http_calls_offer_http2(HttpSession *session);

/* Run the callbacks of calls that are over. */
extern void tc_http_calls_tell(HttpCalls *calls);

#endif							/* TC_HTTP_CALLS_H */
