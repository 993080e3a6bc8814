/*-------------------------------------------------------------------------
 *
 * session_call.h
 *	  Having the worker call a server for this session, and waiting for it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SESSION_CALL_H
#define TC_SESSION_CALL_H

#include "lib/stringinfo.h"

#include "process/session_calls.h"

/*
 * Make a call whose kind and ids are filled in, and wait for what becomes of it.
 * The server (NULL = default_server) and namespace (NULL = that of the server)
 * are those that the caller names; it may be a member of pg_monitor.  What the
 * server replied is appended to the reply, which may be NULL for a ping.  Raises
 * errors if there can be no call, or no answer in time; what the server said,
 * or why it could not be reached, is in *answer.
 */
extern void tc_session_call_run(SessionCall *call, const char *server_arg, const char *namespace_arg,
								StringInfo reply, SessionAnswer *answer);

#endif							/* TC_SESSION_CALL_H */
