/*-------------------------------------------------------------------------
 *
 * server.c
 *	  Foreign servers and user mappings: their options.
 *
 * One table says which options there are, where they belong, what they may
 * be and what they are if they are not given; the validator and the look-up
 * read values by the same code.  Names are those of Temporal's own client
 * configuration.  Nothing is connected to and no file is read here.  Values
 * of options, which may be secrets, are never put into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "server.h"
#include "wakeup.h"

PG_FUNCTION_INFO_V1(temporal_complete_fdw_validator);

char	   *tc_default_server = NULL;

/* Port of Temporal's frontend, for messages */
#define EXAMPLE_ADDRESS "localhost:7233"

/* Prefix of the options that become gRPC metadata */
#define METADATA_PREFIX "grpc_meta_"

typedef enum OptionKind
{
	OPTION_NAMESPACE,
	OPTION_ADDRESS,
	OPTION_HOST,
	OPTION_AUTHORITY,
	OPTION_BOOL,
	OPTION_INT,
	OPTION_TIME_MS,
	OPTION_TIME_S,
	OPTION_PATH,
	OPTION_CERTIFICATE,
	OPTION_PRIVATE_KEY,
	OPTION_API_KEY
} OptionKind;

/* What to write, by kind: the HINT of an error */
static const char *const kind_hints[] = {
	[OPTION_NAMESPACE] = "Write the name of a namespace, such as \"default\".",
	[OPTION_ADDRESS] = "Write host:port, such as \"" EXAMPLE_ADDRESS "\" or \"[::1]:7233\".",
	[OPTION_HOST] = "Write a host name, such as \"temporal.example.com\".",
	[OPTION_AUTHORITY] = "Write host or host:port, such as \"temporal.example.com\".",
	[OPTION_BOOL] = "Write \"true\" or \"false\".",
	[OPTION_INT] = "Write a whole number.",
	[OPTION_TIME_MS] = "Write a number with its unit (\"ms\", \"s\", \"min\", \"h\" or \"d\"), such as \"10s\".",
	[OPTION_TIME_S] = "Write a number with its unit (\"s\", \"min\", \"h\" or \"d\"), such as \"7d\", or \"0\" for never.",
	[OPTION_PATH] = "Write an absolute path on the database server.",
	[OPTION_CERTIFICATE] = "Write the text of a PEM file, from \"-----BEGIN CERTIFICATE-----\" on.",
	[OPTION_PRIVATE_KEY] = "Write the text of a PEM file, from \"-----BEGIN PRIVATE KEY-----\" on.",
	[OPTION_API_KEY] = "Write the key alone, without \"Bearer\".",
};

typedef struct ServerOption
{
	const char *name;
	Oid			catalog;		/* whose option it is */
	OptionKind	kind;
	size_t		offset;			/* of its value in ServerConfig */
	const char *default_value;
	int			min;
	int			max;
} ServerOption;

#define CONFIG(field) offsetof(ServerConfig, field)
#define MS_PER_MIN (60 * 1000)

static const ServerOption server_options[] = {
	{"address", ForeignServerRelationId, OPTION_ADDRESS, CONFIG(channel.address), EXAMPLE_ADDRESS},
	{"namespace", ForeignServerRelationId, OPTION_NAMESPACE, CONFIG(namespace_name), "default"},
	{"tls", ForeignServerRelationId, OPTION_BOOL, CONFIG(channel.tls)},
	{"tls_server_name", ForeignServerRelationId, OPTION_HOST, CONFIG(channel.tls_server_name)},
	{"tls_disable_host_verification", ForeignServerRelationId, OPTION_BOOL, CONFIG(channel.tls_disable_host_verification)},
	{"tls_server_ca_cert_path", ForeignServerRelationId, OPTION_PATH, CONFIG(channel.tls_server_ca_cert_path)},
	{"tls_server_ca_cert_data", ForeignServerRelationId, OPTION_CERTIFICATE, CONFIG(channel.tls_server_ca_cert_data)},
	{"authority", ForeignServerRelationId, OPTION_AUTHORITY, CONFIG(channel.authority)},
	{"max_in_flight", ForeignServerRelationId, OPTION_INT, CONFIG(max_in_flight), "1000", 1, 4096},
	{"connect_timeout", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(channel.connect_timeout_ms), "10s", 100, 10 * MS_PER_MIN},
	{"request_timeout", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(request_timeout_ms), "10s", 100, 60 * MS_PER_MIN},
	{"retry_initial_interval", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(retry_initial_interval_ms), "200ms", 1, 24 * 60 * MS_PER_MIN},
	{"retry_max_interval", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(retry_max_interval_ms), "10s", 1, 24 * 60 * MS_PER_MIN},
	{"expire_after", ForeignServerRelationId, OPTION_TIME_S, CONFIG(expire_after_s), "0", 0, INT_MAX},

	{"api_key", UserMappingRelationId, OPTION_API_KEY, CONFIG(channel.api_key)},
	{"api_key_path", UserMappingRelationId, OPTION_PATH, CONFIG(channel.api_key_path)},
	{"tls_client_cert_path", UserMappingRelationId, OPTION_PATH, CONFIG(channel.tls_client_cert_path)},
	{"tls_client_cert_data", UserMappingRelationId, OPTION_CERTIFICATE, CONFIG(channel.tls_client_cert_data)},
	{"tls_client_key_path", UserMappingRelationId, OPTION_PATH, CONFIG(channel.tls_client_key_path)},
	{"tls_client_key_data", UserMappingRelationId, OPTION_PRIVATE_KEY, CONFIG(channel.tls_client_key_data)},
};

/* Metadata that is ours, or the protocol's, to set */
static const char *const reserved_metadata[] = {
	"authorization", "client-name", "client-version", "connection", "content-length",
	"content-type", "host", "keep-alive", "proxy-connection", "supported-server-versions",
	"te", "temporal-namespace", "trailer", "transfer-encoding", "upgrade", "user-agent"
};

/*---------------------------------------------------------------------------
 * Values
 *---------------------------------------------------------------------------
 */

#define LETTERS_AND_DIGITS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define HOST_CHARS LETTERS_AND_DIGITS "-._"
#define MAX_HOST_LEN 255

static bool
is_printable_ascii(const char *value)
{
	for (; *value != '\0'; value++)
	{
		if (*value < 0x20 || *value > 0x7E)
			return false;
	}
	return true;
}

/*
 * What is wrong with "host:port" or, if there need not be a port, "host":
 * a sentence, NULL if nothing is.
 */
static const char *
address_problem(const char *value, bool needs_port)
{
	const char *port;
	char	   *end;
	long		number;

	if (strncmp(value, "unix:", 5) == 0 || value[0] == '/')
		return "Sockets in the file system are not supported.";
	if (strstr(value, "://") != NULL)
		return "It is an address, not a URL.";

	if (value[0] == '[')
	{
		size_t		len = strspn(value + 1, "0123456789abcdefABCDEF:.");

		if (len < 2 || value[1 + len] != ']')
			return "There is no IPv6 address between the brackets.";
		port = value + 1 + len + 1;
	}
	else
	{
		size_t		len = strspn(value, HOST_CHARS);

		if (len == 0)
			return "It does not begin with a host name.";
		if (len > MAX_HOST_LEN)
			return "The host name is too long.";
		port = value + len;
		if (*port == ':' && strchr(port + 1, ':') != NULL)
			return "An IPv6 address needs brackets.";
	}

	if (*port == '\0')
		return needs_port ? "It has no port." : NULL;
	if (*port != ':')
		return "It has characters that neither a host name nor a port can have.";
	if (strspn(port + 1, "0123456789") == 0)
		return "It has no port.";
	number = strtol(port + 1, &end, 10);
	if (*end != '\0' || number < 1 || number > 65535)
		return "The port is not a number from 1 to 65535.";
	return NULL;
}

/*
 * PostgreSQL's own syntax of times, but for numbers without a unit: with them
 * one would have to know which unit is meant.  "0" has none.
 */
static const char *
time_problem(const ServerOption *option, const char *value, int *result)
{
	size_t		digits = strspn(value, "0123456789.");
	size_t		unit = digits + strspn(value + digits, " ");
	bool		milliseconds = (option->kind == OPTION_TIME_MS);
	const char *hint;

	if (digits == 0)
		return "It is not a time.";
	if (value[unit] == '\0' && strcmp(value, "0") != 0)
		return "It has no unit.";
	if (!parse_int(value, result, milliseconds ? GUC_UNIT_MS : GUC_UNIT_S, &hint))
		return "It is not a time.";
	if (*result < option->min || *result > option->max)
		return milliseconds ?
			psprintf("It is outside of the range from %d ms to %d ms.", option->min, option->max) :
			psprintf("It is outside of the range from %d s to %d s.", option->min, option->max);
	return NULL;
}

static const char *
pem_problem(const char *value, const char *type)
{
	if (strstr(value, "-----BEGIN ") == NULL || strstr(value, "-----END ") == NULL ||
		strstr(value, type) == NULL)
		return psprintf("There is no %s in PEM format in it.", type);
	return NULL;
}

/*
 * Put the value of an option into its place in the configuration, which then
 * points to it.  Returns NULL, or a sentence that says what is wrong with it.
 */
static const char *
set_option(const ServerOption *option, const char *value, ServerConfig *config)
{
	void	   *place = (char *) config + option->offset;
	const char *problem = NULL;

	if (value[0] == '\0')
		return "It is empty.";

	switch (option->kind)
	{
		case OPTION_BOOL:
			if (!parse_bool(value, (bool *) place))
				problem = "It is neither true nor false.";
			return problem;

		case OPTION_INT:
			if (!parse_int(value, (int *) place, 0, NULL) ||
				*(int *) place < option->min || *(int *) place > option->max)
				problem = psprintf("It is not a whole number from %d to %d.",
								   option->min, option->max);
			return problem;

		case OPTION_TIME_MS:
		case OPTION_TIME_S:
			return time_problem(option, value, (int *) place);

		case OPTION_NAMESPACE:
			break;

		case OPTION_ADDRESS:
			problem = address_problem(value, true);
			break;

		case OPTION_AUTHORITY:
			problem = address_problem(value, false);
			break;

		case OPTION_HOST:
			if (strspn(value, HOST_CHARS ":") != strlen(value) || strlen(value) > MAX_HOST_LEN)
				problem = "It has characters that a host name cannot have, or too many.";
			break;

		case OPTION_PATH:
			if (!is_absolute_path(value))
				problem = "It is not an absolute path.";
			break;

		case OPTION_CERTIFICATE:
			problem = pem_problem(value, "CERTIFICATE");
			break;

		case OPTION_PRIVATE_KEY:
			problem = pem_problem(value, "PRIVATE KEY");
			if (problem == NULL && strstr(value, "ENCRYPTED") != NULL)
				problem = "The key is encrypted, and there is no option for a passphrase.";
			break;

		case OPTION_API_KEY:
			if (!is_printable_ascii(value) || strchr(value, ' ') != NULL)
				problem = "It has spaces, line ends or other characters that an API key cannot have.";
			break;
	}

	if (problem == NULL)
		*(const char **) place = value;
	return problem;
}

/*
 * The same for an option grpc_meta_*; as in Temporal's client configuration,
 * the key is what follows, in lower case, with '-' for '_'.
 */
static const char *
set_metadata(const char *name, const char *value, ServerConfig *config)
{
	ChannelOptions *channel = &config->channel;
	char	   *key = pstrdup(name + strlen(METADATA_PREFIX));

	for (char *c = key; *c != '\0'; c++)
		*c = (*c == '_') ? '-' : pg_ascii_tolower((unsigned char) *c);

	if (key[0] == '\0' || strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(key))
		return "The key of a metadata entry has letters, digits, \"-\", \"_\" and \".\" only.";
	if (strncmp(key, "grpc-", 5) == 0)
		return "Keys that begin with \"grpc-\" are reserved.";
	for (int i = 0; i < lengthof(reserved_metadata); i++)
	{
		if (strcmp(key, reserved_metadata[i]) == 0)
			return psprintf("The key \"%s\" is reserved.", key);
	}
	for (int i = 0; i < channel->nmetadata; i++)
	{
		if (strcmp(key, channel->metadata_keys[i]) == 0)
			return psprintf("The key \"%s\" is there twice.", key);
	}
	if (value[0] == '\0')
		return "It is empty.";
	if (!is_printable_ascii(value))
		return "It has characters other than printable ASCII.";

	channel->metadata_keys[channel->nmetadata] = key;
	channel->metadata_values[channel->nmetadata] = value;
	channel->nmetadata++;
	return NULL;
}

/* The option of that name of that catalog, or NULL */
static const ServerOption *
find_option(const char *name, Oid catalog)
{
	for (int i = 0; i < lengthof(server_options); i++)
	{
		if (server_options[i].catalog == catalog &&
			strcmp(server_options[i].name, name) == 0)
			return &server_options[i];
	}
	return NULL;
}

static bool
is_metadata(const char *name, Oid catalog)
{
	return catalog == ForeignServerRelationId &&
		strncmp(name, METADATA_PREFIX, strlen(METADATA_PREFIX)) == 0;
}

/* Defaults, and room for as many metadata entries as there are options */
static void
init_config(ServerConfig *config, int noptions)
{
	memset(config, 0, sizeof(ServerConfig));
	config->channel.metadata_keys = palloc0((noptions + 1) * sizeof(char *));
	config->channel.metadata_values = palloc0((noptions + 1) * sizeof(char *));

	for (int i = 0; i < lengthof(server_options); i++)
	{
		const ServerOption *option = &server_options[i];

		if (option->default_value != NULL &&
			set_option(option, option->default_value, config) != NULL)
			elog(ERROR, "default value of option \"%s\" is invalid", option->name);
	}
}

/*
 * What is wrong with options that exclude or need each other: a sentence, or
 * NULL.  Those of a server and those of a user mapping have nothing to do
 * with each other, so this holds for one of them as for both.
 */
static const char *
combination_problem(const ServerConfig *config)
{
	const ChannelOptions *channel = &config->channel;

	if (channel->tls_server_ca_cert_path != NULL && channel->tls_server_ca_cert_data != NULL)
		return "Options \"tls_server_ca_cert_path\" and \"tls_server_ca_cert_data\" exclude each other.";
	if (channel->tls_client_cert_path != NULL && channel->tls_client_cert_data != NULL)
		return "Options \"tls_client_cert_path\" and \"tls_client_cert_data\" exclude each other.";
	if (channel->tls_client_key_path != NULL && channel->tls_client_key_data != NULL)
		return "Options \"tls_client_key_path\" and \"tls_client_key_data\" exclude each other.";
	if (channel->api_key != NULL && channel->api_key_path != NULL)
		return "Options \"api_key\" and \"api_key_path\" exclude each other.";
	if ((channel->tls_client_cert_path == NULL && channel->tls_client_cert_data == NULL) !=
		(channel->tls_client_key_path == NULL && channel->tls_client_key_data == NULL))
		return "A client certificate needs its key, and a key its certificate.";
	if (config->retry_initial_interval_ms > config->retry_max_interval_ms)
		return "Option \"retry_initial_interval\" is longer than \"retry_max_interval\".";
	return NULL;
}

/*---------------------------------------------------------------------------
 * Validator
 *---------------------------------------------------------------------------
 */

/*
 * PostgreSQL logs the statement of an error: not one that has secrets in it.
 */
static int
hide_secrets(Oid catalog)
{
	return errhidestmt(catalog == UserMappingRelationId);
}

static void
report_unknown_option(const char *name, Oid catalog)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(server_options); i++)
	{
		if (server_options[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 server_options[i].name);
	}
	if (catalog == ForeignServerRelationId)
		appendStringInfoString(&names, ", " METADATA_PREFIX "*");

	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 names.len > 0 ?
			 errhint("Valid options in this context are: %s.", names.data) :
			 errhint("There are no valid options in this context."),
			 hide_secrets(catalog)));
}

/* Naming a file makes the server read it, and its contents may be seen by others. */
static void
check_may_name_file(const ServerOption *option)
{
	if (has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to set option \"%s\"", option->name),
			 errdetail("Only roles with privileges of the \"pg_read_server_files\" role may name files of the database server."),
			 errhint("Give the contents instead of the file."),
			 hide_secrets(option->catalog)));
}

/*
 * Validate the options of a foreign-data wrapper, server or user mapping:
 * PostgreSQL calls it with all options that the object is about to have.
 *
 * That is also how this library learns of changes, so the workers are made to
 * look at all queues once they are committed: what waits because of a wrong
 * option goes on when the option is put right.
 */
Datum
temporal_complete_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ServerConfig config;
	const char *problem;
	ListCell   *lc;

	init_config(&config, list_length(options));

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		const ServerOption *option = find_option(def->defname, catalog);
		const char *hint;

		if (option != NULL)
		{
			problem = set_option(option, defGetString(def), &config);
			hint = kind_hints[option->kind];
		}
		else if (is_metadata(def->defname, catalog))
		{
			problem = set_metadata(def->defname, defGetString(def), &config);
			hint = "Write the value of a metadata entry to send with each request, such as grpc_meta_x_tenant 'blue'.";
		}
		else
		{
			report_unknown_option(def->defname, catalog);
			continue;
		}

		if (problem != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"%s\"", def->defname),
					 errdetail("%s", problem),
					 errhint("%s", hint),
					 hide_secrets(catalog)));
		if (option != NULL && option->kind == OPTION_PATH)
			check_may_name_file(option);
	}

	problem = combination_problem(&config);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options do not go together"),
				 errdetail("%s", problem),
				 errhint("Change both in one statement, for instance with OPTIONS (ADD ..., DROP ...)."),
				 hide_secrets(catalog)));

	tc_wake_all_at_commit();

	PG_RETURN_VOID();
}

/*---------------------------------------------------------------------------
 * Look-up
 *---------------------------------------------------------------------------
 */

/* Put a list of options into the configuration; NULL or what is wrong. */
static char *
apply_options(List *options, Oid catalog, ServerConfig *config)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		const ServerOption *option = find_option(def->defname, catalog);
		const char *problem;

		if (option != NULL)
			problem = set_option(option, strVal(def->arg), config);
		else if (is_metadata(def->defname, catalog))
			problem = set_metadata(def->defname, strVal(def->arg), config);
		else
			problem = "There is no such option.";

		if (problem != NULL)
			return psprintf("option \"%s\" cannot be used: %s", def->defname, problem);
	}
	return NULL;
}

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
	init_config(config, list_length(server->options));
	config->serverid = server->serverid;
	mapping = user_mapping_options(server->serverid, role, &config->umid);

	*error = apply_options(server->options, ForeignServerRelationId, config);
	if (*error == NULL)
		*error = apply_options(mapping, UserMappingRelationId, config);
	if (*error == NULL && (problem = combination_problem(config)) != NULL)
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

/* The namespace that the options of a server say; points into them, or is constant. */
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
	return find_option("namespace", ForeignServerRelationId)->default_value;
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
 * Callers of verbs
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
