/*-------------------------------------------------------------------------
 *
 * server_options.h
 *	  Reading the options of foreign servers and user mappings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SERVER_OPTIONS_H
#define TC_SERVER_OPTIONS_H

#include "nodes/pg_list.h"

#include "server/server_config.h"

/* Default of the option "namespace" */
#define TC_DEFAULT_NAMESPACE "default"

/*
 * Set all options to their defaults.  noptions is how many options are
 * going to be applied, those of a server and those of a user mapping together.
 */
extern void tc_options_init(ServerConfig *config, int noptions);

/*
 * Apply a list of DefElem, options of a server (ForeignServerRelationId) or of
 * a user mapping (UserMappingRelationId); the configuration then points to
 * their values.  Returns NULL, or a palloc'd sentence about the first option
 * that cannot be used.
 */
extern char *tc_options_apply(List *options, Oid catalog, ServerConfig *config);

/* Is an option of a user mapping a credential?  One for the proxy?  Does it name a file that is one? */
extern bool tc_option_is_credential(const char *name);
extern bool tc_option_is_for_proxy(const char *name);
extern bool tc_option_names_file(const char *name);

/* Is it one for the codec server, not for Temporal? */
extern bool tc_option_is_for_codec(const char *name);

/* What is wrong with options that exclude or need each other: a sentence, or NULL. */
extern const char *tc_options_conflict(const ServerConfig *config);

#endif							/* TC_SERVER_OPTIONS_H */
