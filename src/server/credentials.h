/*-------------------------------------------------------------------------
 *
 * credentials.h
 *	  Whether the credentials of a user mapping may be sent to its server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CREDENTIALS_H
#define TC_CREDENTIALS_H

#include "foreign/foreign.h"

#include "server/server_config.h"

/*
 * Why the credentials of a user mapping must not be sent as the configuration
 * says: a palloc'd sentence that tells what to do, or NULL.  umuser is the
 * mapping's role, InvalidOid for PUBLIC; options are the mapping's.
 */
extern char *tc_credentials_problem(const ForeignServer *server, Oid umuser, List *options,
									const ServerConfig *config);

/*
 * Could a role that owns the server have read these options of a user
 * mapping, and the files that they name?  A role can be told by what
 * PostgreSQL shows to it, see the view pg_user_mappings.
 */
extern bool tc_owner_could_read(Oid owner, Oid umuser, List *options);

#endif							/* TC_CREDENTIALS_H */
