/*-------------------------------------------------------------------------
 *
 * default_server.h
 *	  The setting temporal_complete.default_server, and whose word it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DEFAULT_SERVER_H
#define TC_DEFAULT_SERVER_H

/* For _PG_init(). */
extern void tc_default_server_define(void);

/*
 * Its value, for a request of the current user.  Raises an error if it is
 * empty, or if it was set by somebody who may not decide for that user.
 */
extern const char *tc_default_server(void);

#endif							/* TC_DEFAULT_SERVER_H */
