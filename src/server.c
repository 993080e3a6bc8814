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
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "server.h"
#include "server_options.h"
#include "temporal_complete.h"

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
 * the role, or that for PUBLIC.  None is needed.
 */
static List *
user_mapping_options(Oid serverid, Oid role, Oid *umid)
{
	HeapTuple	tuple;
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	*umid = InvalidOid;
	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
							ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		return NIL;

	*umid = ((Form_pg_user_mapping) GETSTRUCT(tuple))->oid;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

static bool
is_our_server(const ForeignServer *server)
{
	return strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, TC_WRAPPER_NAME) == 0;
}

ServerConfig *
tc_server_config(const char *server_name, Oid role, char **error)
{
	ForeignServer *server = GetForeignServerByName(server_name, true);
	List	   *mapping;
	ServerConfig *config;
	ChannelOptions *channel;
	const char *problem;

	if (server == NULL)
	{
		*error = psprintf("there is no foreign server \"%s\"", server_name);
		return NULL;
	}
	if (!is_our_server(server))
	{
		*error = psprintf("foreign server \"%s\" belongs to another foreign-data wrapper",
						  server_name);
		return NULL;
	}

	config = palloc(sizeof(ServerConfig));
	channel = &config->channel;
	tc_options_init(config, list_length(server->options));
	config->serverid = server->serverid;
	mapping = user_mapping_options(server->serverid, role, &config->umid);

	*error = tc_options_apply(server->options, ForeignServerRelationId, config);
	if (*error == NULL)
		*error = tc_options_apply(mapping, UserMappingRelationId, config);
	if (*error == NULL && (problem = tc_options_conflict(config)) != NULL)
		*error = pstrdup(problem);
	if (*error != NULL)
		return NULL;

	/* as in Temporal's client configuration: whatever needs TLS turns it on */
	if (!has_option(server->options, "tls"))
		channel->tls = channel->tls_server_name != NULL ||
			has_option(server->options, "tls_disable_host_verification") ||
			channel->tls_server_ca_cert_path != NULL ||
			channel->tls_server_ca_cert_data != NULL ||
			channel->tls_client_cert_path != NULL ||
			channel->tls_client_cert_data != NULL ||
			channel->api_key != NULL ||
			channel->api_key_path != NULL;
	return config;
}

/* The namespace that a server's options say; points into them, or is constant. */
static const char *
namespace_option(const ForeignServer *server)
{
	ListCell   *lc;

	foreach(lc, server->options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "namespace") == 0)
			return strVal(def->arg);
	}
	return TC_DEFAULT_NAMESPACE;
}

char *
tc_server_namespace(const char *server_name)
{
	ForeignServer *server = GetForeignServerByName(server_name, true);

	if (server == NULL || !is_our_server(server))
		return NULL;
	return pstrdup(namespace_option(server));
}

/*---------------------------------------------------------------------------
 * For callers of verbs
 *---------------------------------------------------------------------------
 */

/*
 * A server that a role was found to be allowed to use.  Whatever that rests
 * on (the server, its wrapper, its privileges, the role and its memberships)
 * empties the cache when it changes.
 */
typedef struct CachedServer
{
	Oid			role;
	char		name[NAMEDATALEN];
	const char *namespace_name;
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
		static const int depends_on[] = {
			FOREIGNSERVEROID, FOREIGNDATAWRAPPEROID, AUTHOID, AUTHMEMROLEMEM, DATABASEOID
		};

		cache_context = AllocSetContextCreate(CacheMemoryContext,
											  "temporal_complete servers",
											  ALLOCSET_SMALL_SIZES);
		for (int i = 0; i < lengthof(depends_on); i++)
			CacheRegisterSyscacheCallback(depends_on[i], invalidate_cache, (Datum) 0);
	}
	ncached_servers = 0;
	MemoryContextReset(cache_context);
	cache_valid = true;
}

/* Look up a server and check that the role may use it. */
static const CachedServer *
cache_server(const char *name, Oid role)
{
	ForeignServer *server;
	CachedServer *cached;

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
	if (!is_our_server(server))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not a server of Temporal", name),
				 errdetail("It belongs to the foreign-data wrapper \"%s\".",
						   GetForeignDataWrapper(server->fdwid)->fdwname),
				 errhint("Name a server of the foreign-data wrapper \"%s\".",
						 TC_WRAPPER_NAME)));
	if (tc_server_aclcheck(server->serverid, role) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);

	/*
	 * If something changed meanwhile, the cache is no longer valid: then this
	 * is used once.
	 */
	cached = &cached_servers[ncached_servers];
	cached->role = role;
	strlcpy(cached->name, server->servername, NAMEDATALEN);
	cached->namespace_name = MemoryContextStrdup(cache_context, namespace_option(server));
	ncached_servers++;
	return cached;
}

void
tc_server_for_caller(const char *server_arg, const char *namespace_arg,
					 const char **server, const char **namespace_name)
{
	const char *name = (server_arg != NULL) ? server_arg : tc_default_server;
	Oid			role = GetUserId();
	const CachedServer *cached = NULL;

	if (name == NULL || name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no server given"),
				 errdetail("The setting \"temporal_complete.default_server\" is empty."),
				 errhint("Name a foreign server with the argument \"server\" or with that setting.")));
	if (namespace_arg != NULL && namespace_arg[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("namespace must not be empty"),
				 errdetail("No namespace of Temporal has an empty name."),
				 errhint("Pass NULL for the namespace of the server.")));

	if (!cache_valid)
		empty_cache();
	for (int i = 0; i < ncached_servers && cached == NULL; i++)
	{
		if (cached_servers[i].role == role && strcmp(cached_servers[i].name, name) == 0)
			cached = &cached_servers[i];
	}
	if (cached == NULL)
		cached = cache_server(name, role);

	*server = cached->name;
	*namespace_name = (namespace_arg != NULL) ? namespace_arg : cached->namespace_name;
}
