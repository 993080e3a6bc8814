/*-------------------------------------------------------------------------
 *
 * fuzz_options.c
 *	  Fuzzes server_options.c: names and values of options.
 *
 * The first byte says whose options they are; then names and values follow
 * by turns, each ended by a zero byte.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"

#include "backend.h"
#include "server/server_options.h"
#include "wire/channel_error.h"
#include "wire/grpc_headers.h"

#define MAX_OPTIONS 24

/* A value that holds this is a secret. */
#define SECRET "Zq7"

extern Datum temporal_complete_fdw_validator(PG_FUNCTION_ARGS);

/* Does the validator accept them? */
static bool
validates(List *options, Oid catalog)
{
	LOCAL_FCINFO(fcinfo, 2);
	sigjmp_buf	jump;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(options);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = ObjectIdGetDatum(catalog);
	fcinfo->args[1].isnull = false;

	if (sigsetjmp(jump, 0) != 0)
	{
		fuzz_catch = NULL;
		return false;
	}
	fuzz_catch = &jump;
	temporal_complete_fdw_validator(fcinfo);
	fuzz_catch = NULL;
	return true;
}

/* What was accepted can be sent.  Files are named at will, and not read here. */
static void
check_sendable(ServerConfig *config)
{
	GrpcHeaders *headers;
	ChannelError error = {0};

	config->channel.api_key_path = NULL;
	headers = tc_grpc_headers_make(&config->channel, &error);
	CHECK(headers != NULL);
	tc_grpc_headers_free(headers);
}

/* The next text of the input, in memory of its own; NULL at its end */
static char *
next_text(const uint8_t **data, size_t *size)
{
	size_t		len = strnlen((const char *) *data, *size);
	char	   *str;

	if (*size == 0)
		return NULL;
	str = palloc(len + 1);
	memcpy(str, *data, len);
	str[len] = '\0';
	*data += Min(len + 1, *size);
	*size -= Min(len + 1, *size);
	return str;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Oid			catalog;
	List	   *options;
	ServerConfig config;
	char	   *name;
	char	   *value;
	char	   *problem;
	bool		secret_name = false;

	if (size < 1)
		return 0;
	catalog = data[0] % 2 ? ForeignServerRelationId : UserMappingRelationId;
	data++;
	size--;

	options = palloc0(sizeof(List));
	options->type = T_List;
	options->max_length = MAX_OPTIONS;
	options->elements = palloc(MAX_OPTIONS * sizeof(ListCell));
	while (options->length < MAX_OPTIONS &&
		   (name = next_text(&data, &size)) != NULL &&
		   (value = next_text(&data, &size)) != NULL)
	{
		DefElem    *def = palloc0(sizeof(DefElem));
		String	   *string = palloc0(sizeof(String));

		secret_name = secret_name || strstr(name, SECRET) != NULL;
		string->type = T_String;
		string->sval = value;
		def->type = T_DefElem;
		def->defname = name;
		def->arg = (Node *) string;
		options->elements[options->length++].ptr_value = def;
	}

	tc_options_init(&config, options->length);
	problem = tc_options_apply(options, catalog, &config);
	if (problem != NULL)
		CHECK(secret_name || strstr(problem, SECRET) == NULL);
	else
	{
		CHECK(config.channel.address != NULL && config.own_namespace != NULL);
		CHECK(config.max_in_flight >= 1 && config.request_timeout_ms >= 100);
		CHECK(config.channel.connect_timeout_ms >= 100 && config.retry_initial_interval_ms >= 1);
		CHECK(config.channel.nmetadata <= options->length);
		if (tc_options_conflict(&config) == NULL)
			check_sendable(&config);
	}

	/* What can be set can be used, and the other way round. */
	CHECK(validates(options, catalog) ==
		  (problem == NULL && tc_options_conflict(&config) == NULL));
	CHECK(secret_name || strstr(fuzz_error, SECRET) == NULL);
	fuzz_reset();
	return 0;
}
