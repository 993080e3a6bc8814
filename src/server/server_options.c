/*-------------------------------------------------------------------------
 *
 * server_options.c
 *	  Options of foreign servers and user mappings: which there are, what
 *	  they may be, and their validator.
 *
 * One table says where an option belongs, what it may be and what it is if it
 * is not given; the validator and the look-up (server.c) read values by the
 * same code.  Names are those of Temporal's own client configuration.
 * Nothing is connected to and no file is read here.  Values of options, which
 * may be secrets, are never put into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/address.h"
#include "compat.h"
#include "process/wakeup.h"
#include "server/namespaces.h"
#include "server/server_options.h"
#include "wire/codec.h"
#include "wire/grpc_headers.h"

PG_FUNCTION_INFO_V1(temporal_complete_fdw_validator);

/* Port of Temporal's frontend, for messages */
#define EXAMPLE_ADDRESS "localhost:7233"

/* How proxies are spoken to */
#define PROXY_SCHEME "http://"

/* Prefix of the options that become gRPC metadata */
#define METADATA_PREFIX "grpc_meta_"

/* Of the path of a codec endpoint; "{namespace}" in it stands for the namespace */
#define CODEC_PATH_CHARS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/%:@!$&'()*+,;={}"

typedef enum OptionKind
{
	OPTION_NAMESPACE,
	OPTION_NAMESPACES,
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
	OPTION_API_KEY,
	OPTION_TRANSPORT,
	OPTION_PROXY,
	OPTION_PROXY_AUTH,
	OPTION_CODEC_ENDPOINT,
	OPTION_HEADER
} OptionKind;

/* What to write, by kind: the HINT of an error */
static const char *const kind_hints[] = {
	[OPTION_NAMESPACE] = "Write the name of a namespace, such as \"default\".",
	[OPTION_NAMESPACES] = "Write names of namespaces with commas between them, such as \"billing,shipping\", or \"*\" for any.",
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
	[OPTION_TRANSPORT] = "Write \"grpc\" or \"http\".",
	[OPTION_PROXY] = "Write http://host:port, such as \"http://proxy.example.com:3128\". User and password are the option \"proxy_auth\" of a user mapping.",
	[OPTION_PROXY_AUTH] = "Write user:password, as they are.",
	[OPTION_CODEC_ENDPOINT] = "Write the URL below which \"/encode\" is, such as \"https://codec.example.com\".",
	[OPTION_HEADER] = "Write the whole value of the header \"Authorization\", such as \"Bearer ...\".",
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
	{"transport", ForeignServerRelationId, OPTION_TRANSPORT, CONFIG(channel.http)},
	{"proxy", ForeignServerRelationId, OPTION_PROXY, CONFIG(channel.proxy)},
	{"namespace", ForeignServerRelationId, OPTION_NAMESPACE, CONFIG(own_namespace), TC_DEFAULT_NAMESPACE},
	{"namespaces", ForeignServerRelationId, OPTION_NAMESPACES, CONFIG(namespaces)},
	{"tls", ForeignServerRelationId, OPTION_BOOL, CONFIG(channel.tls)},
	{"tls_server_name", ForeignServerRelationId, OPTION_HOST, CONFIG(channel.tls_server_name)},
	{"tls_disable_host_verification", ForeignServerRelationId, OPTION_BOOL, CONFIG(channel.tls_disable_host_verification)},
	{"tls_server_ca_cert_path", ForeignServerRelationId, OPTION_PATH, CONFIG(channel.tls_server_ca_cert_path)},
	{"tls_server_ca_cert_data", ForeignServerRelationId, OPTION_CERTIFICATE, CONFIG(channel.tls_server_ca_cert_data)},
	{"require_user_mapping", ForeignServerRelationId, OPTION_BOOL, CONFIG(require_user_mapping)},
	{"authority", ForeignServerRelationId, OPTION_AUTHORITY, CONFIG(channel.authority)},
	{"max_in_flight", ForeignServerRelationId, OPTION_INT, CONFIG(max_in_flight), "1000", 1, 4096},
	{"max_heartbeats_per_second", ForeignServerRelationId, OPTION_INT, CONFIG(max_heartbeats_per_second), "0", 0, 1000000},
	{"max_requests_per_second", ForeignServerRelationId, OPTION_INT, CONFIG(max_requests_per_second), "0", 0, 1000000},
	{"connect_timeout", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(channel.connect_timeout_ms), "10s", 100, 10 * MS_PER_MIN},
	{"request_timeout", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(request_timeout_ms), "10s", 100, 60 * MS_PER_MIN},
	{"retry_initial_interval", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(retry_initial_interval_ms), "200ms", 1, 24 * 60 * MS_PER_MIN},
	{"retry_max_interval", ForeignServerRelationId, OPTION_TIME_MS, CONFIG(retry_max_interval_ms), "10s", 1, 24 * 60 * MS_PER_MIN},
	{"codec_endpoint", ForeignServerRelationId, OPTION_CODEC_ENDPOINT, CONFIG(codec)},
	{"codec_tls_server_ca_cert_path", ForeignServerRelationId, OPTION_PATH, CONFIG(codec.tls_server_ca_cert_path)},
	{"codec_tls_server_ca_cert_data", ForeignServerRelationId, OPTION_CERTIFICATE, CONFIG(codec.tls_server_ca_cert_data)},
	{"encode_common_attributes", ForeignServerRelationId, OPTION_BOOL, CONFIG(encode_common_attributes)},
	{"expire_after", ForeignServerRelationId, OPTION_TIME_S, CONFIG(expire_after_s), "0", 0, PG_INT32_MAX},

	{"api_key", UserMappingRelationId, OPTION_API_KEY, CONFIG(channel.api_key)},
	{"api_key_path", UserMappingRelationId, OPTION_PATH, CONFIG(channel.api_key_path)},
	{"proxy_auth", UserMappingRelationId, OPTION_PROXY_AUTH, CONFIG(channel.proxy_auth)},
	{"tls_client_cert_path", UserMappingRelationId, OPTION_PATH, CONFIG(channel.tls_client_cert_path)},
	{"tls_client_cert_data", UserMappingRelationId, OPTION_CERTIFICATE, CONFIG(channel.tls_client_cert_data)},
	{"tls_client_key_path", UserMappingRelationId, OPTION_PATH, CONFIG(channel.tls_client_key_path)},
	{"tls_client_key_data", UserMappingRelationId, OPTION_PRIVATE_KEY, CONFIG(channel.tls_client_key_data)},
	{"codec_auth", UserMappingRelationId, OPTION_HEADER, CONFIG(codec.codec_auth)},
	{"allow_plaintext_credentials", UserMappingRelationId, OPTION_BOOL, CONFIG(allow_plaintext_credentials)},
	{"allow_unverified_server", UserMappingRelationId, OPTION_BOOL, CONFIG(allow_unverified_server)},
	{"trust_server_owner", UserMappingRelationId, OPTION_BOOL, CONFIG(trust_server_owner)},
};

/* What names of secrets have in them: options of a server are seen by everybody */
static const char *const secret_words[] = {
	"authorization", "api-key", "apikey", "access-key", "private-key", "cookie", "credential",
	"passphrase", "password", "passwd", "secret", "token"
};

/*---------------------------------------------------------------------------
 * Values
 *---------------------------------------------------------------------------
 */

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
	char		host[TC_HOST_SIZE];
	int			port;
	const char *problem = tc_address_split(value, host, &port);

	if (problem == NULL && needs_port && port == 0)
		problem = "It has no port.";
	return problem;
}

/* The same for the URL of a proxy */
static const char *
proxy_problem(const char *value)
{
	if (strncmp(value, PROXY_SCHEME, strlen(PROXY_SCHEME)) != 0)
		return "It does not begin with \"" PROXY_SCHEME "\".";
	if (strchr(value, '@') != NULL)
		return "User and password are no part of it.";
	return address_problem(value + strlen(PROXY_SCHEME), true);
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
		return "It is not a time, or too long a time.";
	if (*result < option->min || *result > option->max)
		return milliseconds ?
			psprintf("It is outside of the range from %d ms to %d ms.", option->min, option->max) :
			psprintf("It is outside of the range from %d s to %d s.", option->min, option->max);
	return NULL;
}

/*
 * Take a URL apart, into what a channel has of it.  What is not sent, or would be
 * taken for something else, is no part of one: user and password, a query.
 */
static const char *
codec_endpoint_problem(const char *value, ChannelOptions *codec)
{
	const char *host_part = value;
	char		host[TC_HOST_SIZE];
	size_t		len;
	char	   *address;
	int			port;
	const char *problem;

	if (strncmp(value, "https://", 8) == 0)
		host_part += 8;
	else if (strncmp(value, "http://", 7) == 0)
		host_part += 7;
	else
		return "It does not begin with \"https://\" or \"http://\".";
	codec->tls = (value[4] == 's');
	len = strcspn(host_part, "/");
	address = pnstrdup(host_part, len);
	if (strchr(address, '@') != NULL)
		return "There is a user in it, and credentials belong into user mappings.";
	problem = tc_address_split(address, host, &port);
	if (problem != NULL)
		return problem;
	if (strspn(host_part + len, CODEC_PATH_CHARS) != strlen(host_part + len))
		return "The path has characters that are not for it.";
	codec->http = true;
	codec->address = port != 0 ? address : psprintf("%s:%d", host, codec->tls ? 443 : 80);
	codec->codec_path = pnstrdup(host_part + len, strlen(host_part + len) -
								 (strlen(host_part + len) > 0 && value[strlen(value) - 1] == '/'));
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

/* The same for what is kept secret */
static const char *
secret_problem(OptionKind kind, const char *value)
{
	const char *problem;

	switch (kind)
	{
		case OPTION_PRIVATE_KEY:
			problem = pem_problem(value, "PRIVATE KEY");
			if (problem == NULL && strstr(value, "ENCRYPTED") != NULL)
				problem = "The key is encrypted, and there is no option for a passphrase.";
			return problem;
		case OPTION_API_KEY:
			if (!is_printable_ascii(value) || strchr(value, ' ') != NULL)
				return "It has spaces, line ends or other characters that an API key cannot have.";
			return NULL;
		case OPTION_PROXY_AUTH:
			if (!is_printable_ascii(value))
				return "It has characters other than printable ASCII.";
			return strchr(value, ':') == NULL ? "There is no colon between user and password." : NULL;
		default:
			return NULL;
	}
}

/*
 * Put the value of an option into its place in the configuration, which then
 * points to it.  Returns NULL, or a sentence that says what is wrong with it.
 * Long because each kind of option has its case.
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

		case OPTION_TRANSPORT:
			*(bool *) place = (strcmp(value, "http") == 0);
			if (!*(bool *) place && strcmp(value, "grpc") != 0)
				problem = "It is neither \"grpc\" nor \"http\".";
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

		case OPTION_NAMESPACES:
			problem = tc_namespaces_problem(value);
			break;

		case OPTION_ADDRESS:
			problem = address_problem(value, true);
			break;

		case OPTION_AUTHORITY:
			problem = address_problem(value, false);
			break;

		case OPTION_HOST:
			if (!tc_is_host(value))
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
		case OPTION_API_KEY:
		case OPTION_PROXY_AUTH:
			problem = secret_problem(option->kind, value);
			break;

		case OPTION_PROXY:
			problem = proxy_problem(value);
			break;

		case OPTION_CODEC_ENDPOINT:
			return codec_endpoint_problem(value, (ChannelOptions *) place);

		case OPTION_HEADER:
			if (!is_printable_ascii(value))
				problem = "It has line ends or other characters that a header cannot have.";
			break;
	}

	if (problem == NULL)
		*(const char **) place = value;
	return problem;
}

/*
 * Key of the metadata entry that an option grpc_meta_* means: as in Temporal's
 * client configuration what follows, in lower case, with '-' for '_'.
 */
static char *
metadata_key(const char *name)
{
	char	   *key = pstrdup(name + strlen(METADATA_PREFIX));

	for (char *c = key; *c != '\0'; c++)
		*c = (*c == '_') ? '-' : pg_ascii_tolower((unsigned char) *c);
	return key;
}

static bool
looks_like_secret(const char *key)
{
	for (int i = 0; i < lengthof(secret_words); i++)
	{
		if (strstr(key, secret_words[i]) != NULL)
			return true;
	}
	return false;
}

/*
 * The same for an option grpc_meta_*.  What a user mapping says takes the
 * place of what the server says.
 */
static const char *
set_metadata(const char *name, Oid catalog, const char *value, ServerConfig *config)
{
	ChannelOptions *channel = &config->channel;
	char	   *key = metadata_key(name);
	bool		is_users = (catalog == UserMappingRelationId);
	const char *problem = tc_grpc_metadata_problem(key);
	int			place;

	if (problem != NULL)
		return problem;
	if (!is_users && looks_like_secret(key))
		return "It looks like a secret, and options of servers are seen by everybody.";
	for (place = 0; place < channel->nmetadata; place++)
	{
		if (strcmp(key, channel->metadata_keys[place]) == 0)
			break;
	}
	if (place < channel->nmetadata && (!is_users || place >= config->nserver_metadata))
		return psprintf("The key \"%s\" is there twice.", key);
	if (value[0] == '\0')
		return "It is empty.";
	if (!is_printable_ascii(value))
		return "It has characters other than printable ASCII.";

	channel->metadata_keys[place] = key;
	channel->metadata_values[place] = value;
	if (place == channel->nmetadata)
		channel->nmetadata++;
	if (is_users)
		config->has_user_metadata = true;
	else
		config->nserver_metadata = channel->nmetadata;
	return NULL;
}

/* The option of that name of that catalog, or NULL */
static const ServerOption *
option_named(const char *name, Oid catalog)
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
	return (catalog == ForeignServerRelationId || catalog == UserMappingRelationId) &&
		strncmp(name, METADATA_PREFIX, strlen(METADATA_PREFIX)) == 0;
}

bool
tc_option_is_credential(const char *name)
{
	const ServerOption *option = option_named(name, UserMappingRelationId);

	return option != NULL ? option->kind != OPTION_BOOL : is_metadata(name, UserMappingRelationId);
}

bool
tc_option_is_for_proxy(const char *name)
{
	const ServerOption *option = option_named(name, UserMappingRelationId);

	return option != NULL && option->kind == OPTION_PROXY_AUTH;
}

bool
tc_option_names_file(const char *name)
{
	const ServerOption *option = option_named(name, UserMappingRelationId);

	return option != NULL && option->kind == OPTION_PATH;
}

bool
tc_option_is_for_codec(const char *name)
{
	const ServerOption *option = option_named(name, UserMappingRelationId);

	return option != NULL && option->offset == CONFIG(codec.codec_auth);
}

void
tc_options_init(ServerConfig *config, int noptions)
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
 * Options of a server and those of a user mapping have nothing to do with
 * each other here, so this serves for one of them as for both.
 */
const char *
tc_options_conflict(const ServerConfig *config)
{
	const ChannelOptions *channel = &config->channel;

	if (channel->tls_server_ca_cert_path != NULL && channel->tls_server_ca_cert_data != NULL)
		return "Options \"tls_server_ca_cert_path\" and \"tls_server_ca_cert_data\" exclude each other.";
	if (config->codec.tls_server_ca_cert_path != NULL && config->codec.tls_server_ca_cert_data != NULL)
		return "Options \"codec_tls_server_ca_cert_path\" and \"codec_tls_server_ca_cert_data\" exclude each other.";
	if (channel->tls_client_cert_path != NULL && channel->tls_client_cert_data != NULL)
		return "Options \"tls_client_cert_path\" and \"tls_client_cert_data\" exclude each other.";
	if (channel->tls_client_key_path != NULL && channel->tls_client_key_data != NULL)
		return "Options \"tls_client_key_path\" and \"tls_client_key_data\" exclude each other.";
	if (channel->api_key != NULL && channel->api_key_path != NULL)
		return "Options \"api_key\" and \"api_key_path\" exclude each other.";
	if ((channel->tls_client_cert_path == NULL && channel->tls_client_cert_data == NULL) !=
		(channel->tls_client_key_path == NULL && channel->tls_client_key_data == NULL))
		return "A client certificate needs its key, and a key its certificate.";
	if (config->encode_common_attributes && config->codec.codec_path == NULL)
		return "Option \"encode_common_attributes\" needs \"codec_endpoint\".";
	if (config->retry_initial_interval_ms > config->retry_max_interval_ms)
		return "Option \"retry_initial_interval\" is longer than \"retry_max_interval\".";
	return NULL;
}

char *
tc_options_apply(List *options, Oid catalog, ServerConfig *config)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		const ServerOption *option = option_named(def->defname, catalog);
		const char *problem;

		if (option != NULL)
			problem = set_option(option, strVal(def->arg), config);
		else if (is_metadata(def->defname, catalog))
			problem = set_metadata(def->defname, catalog, strVal(def->arg), config);
		else
			problem = "There is no such option.";

		if (problem != NULL)
			return psprintf("option \"%s\" cannot be used: %s", def->defname, problem);
	}
	return NULL;
}

/*---------------------------------------------------------------------------
 * Validator
 *---------------------------------------------------------------------------
 */

/*
 * Errors hide their statement from the log, because it may have secrets in
 * it: those of user mappings, or those that somebody gave to the server by
 * mistake.
 */
static void
report_unknown_option(const char *name, Oid catalog)
{
	StringInfoData names;
	const char *where = NULL;

	if (option_named(name, UserMappingRelationId) != NULL)
		where = "It is an option of user mappings.";
	else if (option_named(name, ForeignServerRelationId) != NULL)
		where = "It is an option of servers.";

	initStringInfo(&names);
	for (int i = 0; i < lengthof(server_options); i++)
	{
		if (server_options[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 server_options[i].name);
	}
	if (names.len > 0)
		appendStringInfoString(&names, ", " METADATA_PREFIX "*");

	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 where ? errdetail("%s", where) : 0,
			 names.len > 0 ?
			 errhint("Valid options in this context are: %s.", names.data) :
			 errhint("There are no valid options in this context."),
			 errhidestmt(true)));
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
			 errhidestmt(true)));
}

/*
 * Validate the options of a foreign-data wrapper, server or user mapping:
 * PostgreSQL calls it with all options that the object is about to have.
 *
 * That is also how this library learns of changes, so the worker is made to
 * look at options once they are committed: what waits because of a wrong
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

	tc_options_init(&config, list_length(options));

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		const ServerOption *option = option_named(def->defname, catalog);
		const char *hint;

		if (option != NULL)
		{
			problem = set_option(option, defGetString(def), &config);
			hint = kind_hints[option->kind];
		}
		else if (is_metadata(def->defname, catalog))
		{
			problem = set_metadata(def->defname, catalog, defGetString(def), &config);
			hint = looks_like_secret(metadata_key(def->defname)) ?
				"Give it to a user mapping; an API key is its option \"api_key\"." :
				"Write the value of a metadata entry to send with each request, such as grpc_meta_x_tenant 'blue'.";
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
					 errhidestmt(true)));
		if (option != NULL && option->kind == OPTION_PATH)
			check_may_name_file(option);
	}

	problem = tc_options_conflict(&config);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options do not go together"),
				 errdetail("%s", problem),
				 errhint("Change both in one statement, for instance with OPTIONS (ADD ..., DROP ...)."),
				 errhidestmt(true)));

	tc_look_at_options_at_commit();

	PG_RETURN_VOID();
}
