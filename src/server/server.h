/*-------------------------------------------------------------------------
 *
 * server.h
 *	  Foreign servers and user mappings: their options.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SERVER_H
#define TC_SERVER_H

#include "foreign/foreign.h"

#include "request/queue_key.h"
#include "server/server_config.h"

/* Name of the foreign-data wrapper */
#define TC_WRAPPER_NAME "temporal_complete"

/* Why nothing can be sent */
typedef struct ServerProblem
{
	const char *code;			/* for error_code; constant */
	char	   *message;		/* palloc'd sentence for operators */
} ServerProblem;

/*
 * Options of the server of a queue for its role, in CurrentMemoryContext: with
 * the role's user mapping, else the one for PUBLIC, else without any.  NULL,
 * and *problem, if the server or the role is gone, if the role may not use the
 * server or name the namespace (any more), or if options cannot be used.  Needs
 * a transaction.
 *
 * What that rests on are the catalogs of tc_server_catalogs: after a change in
 * one of them it has to be asked again.
 */
extern ServerConfig *tc_server_config(const QueueRow *queue, ServerProblem *problem);

/*
 * The same for looking only, which members of pg_monitor may do without being
 * allowed to use the server.
 */
extern ServerConfig *tc_server_config_to_look(const QueueRow *queue, ServerProblem *problem);

/* Their caches; ends with -1. */
extern const int tc_server_catalogs[];

/* The namespace into which requests of a queue go by that configuration. */
static inline const char *
tc_server_namespace(const ServerConfig *config, const QueueKey *key)
{
	return key->namespace_name != NULL ? key->namespace_name : config->own_namespace;
}

/* What the caller of a verb means */
typedef struct CallerServer
{
	Oid			serverid;
	const char *name;
} CallerServer;

/*
 * For the caller of a verb: the server it means (NULL = default_server), which
 * it may use, with that namespace (NULL = whatever the server's is).  Raises
 * errors for an unknown server, a server of another wrapper, missing USAGE,
 * and a namespace that may not be named.  What is returned is valid until the
 * next call.
 */
extern CallerServer tc_server_for_caller(const char *server_arg, const char *namespace_arg);

/* The same for a caller who only wants to look, as above. */
extern CallerServer tc_server_to_look_at(const char *server_arg, const char *namespace_arg);

/* The namespace that the options of a server say; points into them, or is constant. */
extern const char *tc_server_own_namespace(const ForeignServer *server);

/* OID of the server of our wrapper that has that name; InvalidOid if there is none. */
extern Oid	tc_server_of_name(const char *name);

/* Is it of our wrapper? */
extern bool tc_server_is_ours(const ForeignServer *server);

/*
 * Why requests of a role (InvalidOid = that has no user mapping of its own)
 * cannot be sent by the options of a server and its user mapping: a palloc'd
 * sentence, or NULL.
 */
extern char *tc_server_mapping_problem(Oid server, Oid role);

#endif							/* TC_SERVER_H */
