/*-------------------------------------------------------------------------
 *
 * http_fuzz.h
 *	  What the parts of fuzz_http share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef HTTP_FUZZ_H
#define HTTP_FUZZ_H

#include "input.h"

#define MAX_CALLS 32

/* Of calls: the server finds it in what it is sent */
#define CALL_MARK "call-"

/* http_loop.c */
extern void run_loop(void);
extern void check_loop_is_empty(void);

/* http_server.c: a server, or proxy, in this process */
extern int	server_port;
extern int	received[MAX_CALLS];	/* how often a request has come whole */
extern bool said_success;		/* or bytes that may say anything */
extern bool said_error;			/* of gRPC, in JSON */

extern void begin_server(void);
extern void end_server(void);
extern void take_requests(void);
extern void answer(void);
extern void answer_as_usual(const char *body);
extern void send_bytes(void);
extern void send_again(void);
extern void stop_sending(void);
extern void reset_connection(void);

#endif							/* HTTP_FUZZ_H */
