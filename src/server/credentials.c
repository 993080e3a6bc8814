/*-------------------------------------------------------------------------
 *
 * credentials.c
 *	  Whether the credentials of a user mapping may be sent to its server.
 *
 * Where a server is and how it is reached is for its owner to say, and its
 * owner may not be who gave the credentials.  So they are sent only where it
 * is certain who gets them: by TLS, to a server that is verified, and whose
 * owner could have read them anyway; proxy_auth is for the proxy that the
 * owner names, over plain HTTP.  What goes beyond that has to be allowed
 * in the user mapping, which is the word of who gave the credentials; that a
 * server's owner cannot speak it for others is seen to in mapping_check.c.
 *
 * This is asked for each time that options are read, so what was true when
 * they were given need not be.  Must never be asked of the server's options.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"

#include "server/credentials.h"
#include "server/server_options.h"

bool
tc_owner_could_read(Oid owner, Oid umuser, List *options)
{
	ListCell   *lc;

	if (superuser_arg(owner))
		return true;
	foreach(lc, options)
	{
		const char *name = lfirst_node(DefElem, lc)->defname;

		if (!tc_option_is_credential(name))
			continue;
		if (tc_option_names_file(name) && !has_privs_of_role(owner, ROLE_PG_READ_SERVER_FILES))
			return false;
		/* options for PUBLIC are shown to the server's owner */
		if (!tc_option_names_file(name) && OidIsValid(umuser) && !has_privs_of_role(owner, umuser))
			return false;
	}
	return true;
}

char *
tc_credentials_problem(const ForeignServer *server, Oid umuser, List *options,
					   const ServerConfig *config)
{
	bool		any = false;
	bool		for_server = false; /* for others than the proxy, too */
	bool		codec = false;
	bool		files = false;
	ListCell   *lc;

	foreach(lc, options)
	{
		const char *name = lfirst_node(DefElem, lc)->defname;

		if (tc_option_is_for_codec(name))
			codec = true;
		else
			any |= tc_option_is_credential(name);
		for_server |= tc_option_is_credential(name) && !tc_option_is_for_proxy(name) &&
			!tc_option_is_for_codec(name);
		files |= tc_option_names_file(name);
	}
	/* without a codec server there is nobody to whom its credential would go */
	codec &= config->codec.codec_path != NULL;
	if (!any && !codec)
		return NULL;

	if (codec && !config->codec.tls && !config->allow_plaintext_credentials)
		return psprintf("the credential of the user mapping for the codec server is not sent without TLS: set the option \"codec_endpoint\" of foreign server \"%s\" to a URL with https, or \"allow_plaintext_credentials\" of the user mapping",
						server->servername);

	/*
	 * whoever gives a credential for an HTTP proxy knows that it goes there
	 * as it is
	 */
	if (for_server && !config->channel.tls && !config->allow_plaintext_credentials)
		return psprintf("the credentials of the user mapping are not sent without TLS: set the option \"tls\" of foreign server \"%s\", or \"allow_plaintext_credentials\" of the user mapping",
						server->servername);
	if (for_server && config->channel.tls && config->channel.tls_disable_host_verification &&
		!config->allow_unverified_server)
		return psprintf("the credentials of the user mapping are not sent to a server that is not verified: unset the option \"tls_disable_host_verification\" of foreign server \"%s\", or set \"allow_unverified_server\" of the user mapping",
						server->servername);
	if (!config->trust_server_owner && !tc_owner_could_read(server->owner, umuser, options))
		return psprintf(files ?
						"the owner of foreign server \"%s\" could not have read the files that the user mapping names: he needs the privileges of \"pg_read_server_files\", or the option \"trust_server_owner\" of the user mapping" :
						"the owner of foreign server \"%s\" could not have read the credentials of the user mapping: he needs the privileges of its role, or its option \"trust_server_owner\"",
						server->servername);
	return NULL;
}
