/*-------------------------------------------------------------------------
 *
 * server.h
 *	  Foreign servers and user mappings: their options.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SERVER_H
#define TC_SERVER_H

#include "transport.h"

/* Name of the foreign-data wrapper */
#define TC_WRAPPER_NAME "temporal_complete"

/* Everything the worker needs to know to send for one role to one server */
typedef struct ServerConfig
{
	Oid			serverid;
	Oid			umid;			/* user mapping, InvalidOid if none applies */
	const char *namespace_name; /* option "namespace", in the database's encoding */
	ChannelOptions channel;
	int			max_in_flight;
	int			request_timeout_ms;
	int			retry_initial_interval_ms;
	int			retry_max_interval_ms;
	int			expire_after_s; /* 0 = never */
} ServerConfig;

/*
 * Options of a server for a role, in CurrentMemoryContext: with the role's
 * user mapping, else the one for PUBLIC, else without any.  NULL, with *error
 * pointing to a palloc'd sentence for operators, if there is no such server of
 * our wrapper or its options cannot be used.  Needs a transaction.
 */
extern ServerConfig *tc_server_config(const char *server, Oid role, char **error);

/*
 * For the caller of a verb: the server it means (NULL = default_server) and
 * the namespace (NULL = the server's).  Raises errors for an unknown server,
 * a server of another wrapper, and missing USAGE.  What is returned is valid
 * until the next call, or as long as the arguments.
 */
extern void tc_server_for_caller(const char *server_arg, const char *namespace_arg,
								 const char **server, const char **namespace_name);

/* The namespace option of a server; NULL if there is no such server.  palloc'd. */
extern char *tc_server_namespace(const char *server);

#endif							/* TC_SERVER_H */
