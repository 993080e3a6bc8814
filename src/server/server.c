/*-------------------------------------------------------------------------
 *
 * server.c
 *	  Foreign servers and user mappings: finding those that a caller of a
 *	  verb, or the worker, has to do with.
 *
 * What their options may be is in server_options.c.  Nothing is connected to
 * and no file is read here, and values of options are never put into a
 * message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/dependency.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_user_mapping.h"
#include "commands/extension.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "base/settings.h"
#include "compat.h"
#include "request/request.h"
#include "server/credentials.h"
#include "server/default_server.h"
#include "server/namespaces.h"
#include "server/server.h"
#include "server/server_options.h"

/* Words for error_code */
#define CONFIGURATION "CONFIGURATION"
#define NOT_PERMITTED "NOT_PERMITTED"

const int	tc_server_catalogs[] = {
	FOREIGNSERVEROID, FOREIGNDATAWRAPPEROID, USERMAPPINGUSERSERVER, AUTHOID, AUTHMEMROLEMEM,
	DATABASEOID, -1
};

static ServerConfig *config_for(const QueueRow *queue, bool to_look, ServerProblem *problem);

/*---------------------------------------------------------------------------
 * For the worker
 *---------------------------------------------------------------------------
 */

static bool
has_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, name) == 0)
			return true;
	}
	return false;
}

/*
 * The options of the user mapping that applies, as for postgres_fdw: that of
 * the role, or that for PUBLIC (*umuser is InvalidOid).  None is needed.
 */
static List *
user_mapping_options(Oid serverid, Oid role, Oid *umid, Oid *umuser)
{
	HeapTuple	tuple;
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	*umid = *umuser = InvalidOid;
	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
							ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		return NIL;

	*umid = ((Form_pg_user_mapping) GETSTRUCT(tuple))->oid;
	*umuser = ((Form_pg_user_mapping) GETSTRUCT(tuple))->umuser;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

/* The wrapper that was found to be ours, and of which extension that was */
static Oid	our_wrapper = InvalidOid;
static Oid	our_extension;
static bool wrappers_unchanged;

static void
wrapper_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	our_wrapper = InvalidOid;
	wrappers_unchanged = false;
}

/*
 * The wrapper is known by what the install script made, not by its name: a
 * member of the extension, with a validator that is one, too.
 */
static bool
is_our_wrapper(Oid fdwid)
{
	static bool registered = false;
	Oid			extension = tc_extension_oid();
	Oid			validator;

	if (OidIsValid(our_wrapper) && fdwid == our_wrapper && extension == our_extension)
		return true;
	if (!registered)
		CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, wrapper_changed, (Datum) 0);
	registered = true;
	wrappers_unchanged = true;

	validator = GetForeignDataWrapper(fdwid)->fdwvalidator;
	if (!OidIsValid(extension) || !OidIsValid(validator) ||
		getExtensionOfObject(ForeignDataWrapperRelationId, fdwid) != extension ||
		getExtensionOfObject(ProcedureRelationId, validator) != extension)
		return false;
	if (wrappers_unchanged)
	{
		our_wrapper = fdwid;
		our_extension = extension;
	}
	return true;
}

static char *
role_needs_mapping(const ForeignServer *server, Oid role)
{
	const char *name = OidIsValid(role) ? GetUserNameFromId(role, true) : NULL;

	if (!OidIsValid(role))
		return psprintf("foreign server \"%s\" requires a user mapping of each role's own, and does not use that for PUBLIC",
						server->servername);
	return psprintf("foreign server \"%s\" requires a user mapping of the role's own, and role \"%s\" has none",
					server->servername, name ? name : psprintf("%u", role));
}

static void
set_problem(ServerProblem *problem, const char *code, char *message)
{
	problem->code = code;
	problem->message = message;
}

/* As options say, whoever may use the server. */
static ServerConfig *
read_config(const ForeignServer *server, Oid role, ServerProblem *problem)
{
	ServerConfig *config = palloc(sizeof(ServerConfig));
	ChannelOptions *channel = &config->channel;
	List	   *mapping;
	char	   *error;
	const char *conflict;
	Oid			umid;
	Oid			umuser;

	mapping = user_mapping_options(server->serverid, role, &umid, &umuser);
	tc_options_init(config, list_length(server->options) + list_length(mapping));
	config->serverid = server->serverid;
	config->umid = umid;

	error = tc_options_apply(server->options, ForeignServerRelationId, config);
	if (error == NULL)
		error = tc_options_apply(mapping, UserMappingRelationId, config);
	if (error == NULL && (conflict = tc_options_conflict(config)) != NULL)
		error = pstrdup(conflict);
	if (error == NULL && config->require_user_mapping && !OidIsValid(umuser))
		error = role_needs_mapping(server, role);
	if (error != NULL)
	{
		set_problem(problem, CONFIGURATION, error);
		return NULL;
	}

	/* as in Temporal's client configuration: whatever needs TLS turns it on */
	if (!has_option(server->options, "tls"))
		channel->tls = channel->tls_server_name != NULL ||
			has_option(server->options, "tls_disable_host_verification") ||
			channel->tls_server_ca_cert_path != NULL ||
			channel->tls_server_ca_cert_data != NULL ||
			channel->tls_client_cert_path != NULL ||
			channel->tls_client_cert_data != NULL ||
			channel->api_key != NULL ||
			channel->api_key_path != NULL ||
			config->has_user_metadata;

	config->codec.connect_timeout_ms = channel->connect_timeout_ms;

	error = tc_credentials_problem(server, umuser, mapping, config);
	if (error != NULL)
	{
		set_problem(problem, CONFIGURATION, error);
		return NULL;
	}
	return config;
}

/* Who monitors may see what a server says, and ask of it nothing else. */
static bool
may_look(Oid serverid, Oid role)
{
	return tc_server_aclcheck(serverid, role) == ACLCHECK_OK ||
		has_privs_of_role(role, ROLE_PG_MONITOR);
}

ServerConfig *
tc_server_config(const QueueRow *queue, ServerProblem *problem)
{
	return config_for(queue, false, problem);
}

ServerConfig *
tc_server_config_to_look(const QueueRow *queue, ServerProblem *problem)
{
	return config_for(queue, true, problem);
}

static ServerConfig *
config_for(const QueueRow *queue, bool to_look, ServerProblem *problem)
{
	const QueueKey *key = &queue->key;
	ForeignServer *server = GetForeignServerExtended(key->server, FSV_MISSING_OK);
	char	   *role = GetUserNameFromId(key->role, true);
	ServerConfig *config;

	if (server == NULL)
		set_problem(problem, CONFIGURATION,
					psprintf("foreign server \"%s\" was dropped", queue->server_name));
	else if (!is_our_wrapper(server->fdwid))
		set_problem(problem, CONFIGURATION,
					psprintf("foreign server \"%s\" belongs to another foreign-data wrapper",
							 server->servername));
	else if (role == NULL)
		set_problem(problem, NOT_PERMITTED,
					psprintf("role \"%s\" was dropped", queue->role_name));
	else if (to_look ? !may_look(key->server, key->role) :
			 tc_server_aclcheck(key->server, key->role) != ACLCHECK_OK)
		set_problem(problem, NOT_PERMITTED,
					psprintf("role \"%s\" may no longer use foreign server \"%s\"",
							 role, server->servername));
	else if ((config = read_config(server, key->role, problem)) != NULL)
	{
		const char *conflict = tc_namespace_problem(key->namespace_name != NULL ?
													key->namespace_name : config->own_namespace);

		if (conflict != NULL)
		{
			set_problem(problem, CONFIGURATION, pstrdup(conflict));
			return NULL;
		}
		if (key->namespace_name == NULL ||
			tc_namespace_allowed(key->namespace_name, config->own_namespace, config->namespaces))
			return config;
		set_problem(problem, NOT_PERMITTED,
					psprintf("namespace \"%s\" may not be named for foreign server \"%s\"",
							 key->namespace_name, server->servername));
	}
	return NULL;
}

char *
tc_server_mapping_problem(Oid serverid, Oid role)
{
	ServerProblem problem;

	return read_config(GetForeignServer(serverid), role, &problem) == NULL ? problem.message : NULL;
}

Oid
tc_server_of_name(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	return server != NULL && tc_server_is_ours(server) ? server->serverid : InvalidOid;
}

bool
tc_server_is_ours(const ForeignServer *server)
{
	return is_our_wrapper(server->fdwid);
}

/* The value of an option of a server, which it points into; NULL if it is not given. */
static const char *
option_of(const ForeignServer *server, const char *name)
{
	ListCell   *lc;

	foreach(lc, server->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, name) == 0)
			return strVal(def->arg);
	}
	return NULL;
}

const char *
tc_server_own_namespace(const ForeignServer *server)
{
	const char *option = option_of(server, "namespace");

	return option != NULL ? option : TC_DEFAULT_NAMESPACE;
}

/*---------------------------------------------------------------------------
 * For callers of verbs
 *---------------------------------------------------------------------------
 */

/*
 * A server, and whether a role was found to be allowed to use it.  Whatever that rests
 * on (the server, its wrapper, its privileges, the role and its memberships)
 * empties the cache when it changes.
 */
typedef struct CachedServer
{
	Oid			role;
	Oid			serverid;
	bool		may_use;
	char		name[NAMEDATALEN];
	const char *own_namespace;
	const char *namespaces;		/* NULL = the option is not given */
} CachedServer;

#define CACHED_SERVERS 8

static CachedServer cached_servers[CACHED_SERVERS];
static int	ncached_servers = 0;
static MemoryContext cache_context = NULL;
static bool cache_valid = false;

/*
 * Something changed.  Not emptied here: the caller of a verb may be using
 * what it was given.
 */
static void
invalidate_cache(Datum arg, int cacheid, uint32 hashvalue)
{
	cache_valid = false;
}

static void
empty_cache(void)
{
	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(CacheMemoryContext,
											  "temporal_complete servers",
											  ALLOCSET_SMALL_SIZES);
		for (const int *cache = tc_server_catalogs; *cache >= 0; cache++)
			CacheRegisterSyscacheCallback(*cache, invalidate_cache, (Datum) 0);
	}
	ncached_servers = 0;
	MemoryContextReset(cache_context);
	cache_valid = true;
}

/* Look up a server, and whether the role may use it. */
static const CachedServer *
cache_server(const char *name, Oid role)
{
	ForeignServer *server;
	CachedServer *cached;
	const char *option;

	if (ncached_servers == CACHED_SERVERS)
		empty_cache();

	server = GetForeignServerByName(name, true);
	if (server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist", name),
				 errdetail("A foreign server says where Temporal is."),
				 errhint("Create it with CREATE SERVER ... FOREIGN DATA WRAPPER %s OPTIONS (address 'host:port'), or name another one with the argument \"server\" or the setting \"temporal_complete.default_server\".",
						 TC_WRAPPER_NAME)));
	if (!is_our_wrapper(server->fdwid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not a server of Temporal", name),
				 errdetail("It belongs to the foreign-data wrapper \"%s\".",
						   GetForeignDataWrapper(server->fdwid)->fdwname),
				 errhint("Name a server of the foreign-data wrapper \"%s\".",
						 TC_WRAPPER_NAME)));

	/*
	 * If something changed meanwhile, the cache is no longer valid: then this
	 * is used once.
	 */
	cached = &cached_servers[ncached_servers];
	cached->role = role;
	cached->serverid = server->serverid;
	cached->may_use = tc_server_aclcheck(server->serverid, role) == ACLCHECK_OK;
	strlcpy(cached->name, server->servername, NAMEDATALEN);
	cached->own_namespace =
		MemoryContextStrdup(cache_context, tc_server_own_namespace(server));
	(void) tc_namespace_to_utf8(cached->own_namespace); /* can it be sent? */
	option = option_of(server, "namespaces");
	cached->namespaces = option == NULL ? NULL : MemoryContextStrdup(cache_context, option);
	ncached_servers++;
	return cached;
}

static void
check_namespace(const CachedServer *server, const char *namespace_name)
{
	if (namespace_name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("namespace must not be empty"),
				 errdetail("No namespace of Temporal has an empty name."),
				 errhint("Pass NULL for the namespace of the server.")));
	if (!tc_namespace_allowed(namespace_name, server->own_namespace, server->namespaces))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("namespace \"%s\" may not be named for server \"%s\"",
						namespace_name, server->name),
				 errdetail("Apart from the server's own, only the namespaces that its option \"namespaces\" lists may be named."),
				 errhint("Pass NULL for the namespace of the server, or have its owner add this one to the option.")));
}

static CallerServer
find_server(const char *server_arg, const char *namespace_arg, bool to_look)
{
	const char *name = (server_arg != NULL) ? server_arg : tc_default_server();
	Oid			role = GetUserId();
	const CachedServer *cached = NULL;
	CallerServer caller;

	if (!cache_valid)
		empty_cache();
	for (int i = 0; i < ncached_servers && cached == NULL; i++)
	{
		if (cached_servers[i].role == role && strcmp(cached_servers[i].name, name) == 0)
			cached = &cached_servers[i];
	}
	if (cached == NULL)
		cached = cache_server(name, role);
	if (!cached->may_use && !(to_look && may_look(cached->serverid, role)))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, cached->name);
	if (namespace_arg != NULL)
		check_namespace(cached, namespace_arg);

	caller.serverid = cached->serverid;
	caller.name = cached->name;
	return caller;
}

CallerServer
tc_server_for_caller(const char *server_arg, const char *namespace_arg)
{
	return find_server(server_arg, namespace_arg, false);
}

CallerServer
tc_server_to_look_at(const char *server_arg, const char *namespace_arg)
{
	return find_server(server_arg, namespace_arg, true);
}
