/*-------------------------------------------------------------------------
 *
 * grpc_headers.c
 *	  The headers of gRPC requests.
 *
 * Names and values that all requests have in common stay where they are, so
 * nghttp2 need not copy them.  Secrets are marked, lest they are put into
 * tables for compression; no message quotes them.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md; names of metadata are those of
 * Temporal's SDKs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "wire/api_key.h"
#include "wire/channel_error.h"
#include "wire/credential_files.h"
#include "wire/grpc_headers.h"

#define BEARER "Bearer "

/* Shorter values of metadata are not hidden in what the other side says */
#define MIN_SECRET_LEN 8

/* Headers of a request that are not metadata of the options */
#define MAX_FIXED_HEADERS 12

struct GrpcHeaders
{
	char	   *bearer;			/* value of authorization, or NULL */
	int			count;			/* without those of a call at the end */
	int			nmetadata;		/* the last of them */
	nghttp2_nv	array[FLEXIBLE_ARRAY_MEMBER];	/* :path comes first */
};

static bool add_metadata(GrpcHeaders *headers, const ChannelOptions *options,
						 ChannelError *error);
static char *make_bearer(const ChannelOptions *options, ChannelError *error);
static bool is_header_value(const char *value);
static void hide(char *text, const char *secret, size_t len);

void
tc_grpc_headers_add_expiry(const GrpcHeaders *headers, ChannelExpiry *expiry)
{
	expiry->api_key = headers->bearer == NULL ? 0 : tc_api_key_expires_at(headers->bearer + strlen(BEARER));
}

/*
 * Names that HTTP/2, gRPC or we ourselves have a use for are not for users.
 */
const char *
tc_grpc_metadata_problem(const char *key)
{
	static const char *const reserved[] = {
		"client-name", "client-version", "connection", "content-length", "content-type", "host",
		"keep-alive", "proxy-connection", "supported-server-versions", "te",
		"temporal-namespace", "trailer", "transfer-encoding", "upgrade", "user-agent"
	};

	if (key[0] == '\0' || strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(key))
		return "The key of a metadata entry has letters, digits, \"-\", \"_\" and \".\" only.";
	if (strncmp(key, "grpc-", 5) == 0)
		return "Keys that begin with \"grpc-\" are reserved.";
	if (strcmp(key, "authorization") == 0)
		return "The key \"authorization\" is reserved for the option \"api_key\".";
	for (int i = 0; i < lengthof(reserved); i++)
	{
		if (strcmp(key, reserved[i]) == 0)
			return "The key is reserved.";
	}
	return NULL;
}

GrpcHeaders *
tc_grpc_headers_make(const ChannelOptions *options, ChannelError *error)
{
	const struct
	{
		const char *name;
		const char *value;
	}			fixed[] = {
		{":method", "POST"},
		{":scheme", options->tls ? "https" : "http"},
		{":authority", options->authority ? options->authority : options->address},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"user-agent", "temporal-complete-postgresql/" TC_VERSION},
		{"client-name", "temporal-complete-postgresql"},
		{"client-version", TC_VERSION}
	};
	GrpcHeaders *headers;

	if (options->authority != NULL && !is_header_value(options->authority))
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the option authority has bytes that cannot be in a header");
		return NULL;
	}
	headers = calloc(1, offsetof(GrpcHeaders, array) +
					 (MAX_FIXED_HEADERS + options->nmetadata) * sizeof(nghttp2_nv));
	if (headers == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return NULL;
	}

	headers->count = 1;
	for (int i = 0; i < lengthof(fixed); i++)
		headers->array[headers->count++] = tc_grpc_header(fixed[i].name, fixed[i].value,
														  NGHTTP2_NV_FLAG_NO_COPY_VALUE);
	if (options->api_key != NULL || options->api_key_path != NULL)
	{
		headers->bearer = make_bearer(options, error);
		if (headers->bearer == NULL)
		{
			tc_grpc_headers_free(headers);
			return NULL;
		}
		headers->array[headers->count++] =
			tc_grpc_header("authorization", headers->bearer,
						   NGHTTP2_NV_FLAG_NO_COPY_VALUE | NGHTTP2_NV_FLAG_NO_INDEX);
	}
	if (!add_metadata(headers, options, error))
	{
		tc_grpc_headers_free(headers);
		return NULL;
	}
	return headers;
}

void
tc_grpc_headers_free(GrpcHeaders *headers)
{
	tc_free_secret(headers->bearer);
	free(headers);
}

int
tc_grpc_headers_common(const GrpcHeaders *headers, const nghttp2_nv **array, int *nmetadata)
{
	*array = headers->array + 1;
	*nmetadata = headers->nmetadata;
	return headers->count - 1;
}

int
tc_grpc_headers_of_call(GrpcHeaders *headers, const Call *call, char *timeout,
						const nghttp2_nv **array)
{
	int			count = headers->count;

	/* Copied by nghttp2, for the call can be over before they are sent */
	headers->array[0] = tc_grpc_header(":path", call->path, 0);
	tc_grpc_timeout(call->timeout_ms, timeout);
	headers->array[count++] = tc_grpc_header("grpc-timeout", timeout, 0);
	if (call->namespace_name != NULL && is_header_value(call->namespace_name))
		headers->array[count++] = tc_grpc_header("temporal-namespace", call->namespace_name, 0);
	*array = headers->array;
	return count;
}

void
tc_grpc_headers_hide_secrets(const GrpcHeaders *headers, char *text)
{
	if (text == NULL)
		return;
	for (int i = 1; i < headers->count; i++)
	{
		const nghttp2_nv *header = &headers->array[i];
		const char *secret = (const char *) header->value;
		size_t		len;

		if ((header->flags & NGHTTP2_NV_FLAG_NO_INDEX) == 0)
			continue;
		if (secret == headers->bearer)
			secret += strlen(BEARER);
		len = strlen(secret);
		/* what is shorter can be any word */
		if (len >= MIN_SECRET_LEN)
			hide(text, secret, len);
	}
}

static void
hide(char *text, const char *secret, size_t len)
{
	char	   *end = &text[strlen(text)];

	for (char *found = text; (found = strstr(found, secret)) != NULL; found += len)
		memset(found, '*', len);

	/* a text that was cut off can end with the first part of it */
	for (size_t n = Min(len, end - text); n >= MIN_SECRET_LEN; n--)
	{
		if (memcmp(end - n, secret, n) == 0)
		{
			memset(end - n, '*', n);
			break;
		}
	}
}

/*
 * Add the metadata of the options.  They may be secrets, too.
 */
static bool
add_metadata(GrpcHeaders *headers, const ChannelOptions *options, ChannelError *error)
{
	for (int i = 0; i < options->nmetadata; i++)
	{
		const char *key = options->metadata_keys[i];
		const char *value = options->metadata_values[i];

		if (tc_grpc_metadata_problem(key) != NULL || !is_header_value(value))
		{
			tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
							 "the option grpc_meta_%s cannot be sent as a header", key);
			return false;
		}
		headers->array[headers->count++] =
			tc_grpc_header(key, value, NGHTTP2_NV_FLAG_NO_COPY_VALUE | NGHTTP2_NV_FLAG_NO_INDEX);
		headers->nmetadata++;
	}
	return true;
}

/*
 * Value of the header authorization; malloc'd.
 */
static char *
make_bearer(const ChannelOptions *options, ChannelError *error)
{
	static const char scheme[] = BEARER;
	const char *option = options->api_key ? "api_key" : "api_key_path";
	char	   *contents = NULL;
	const char *key = options->api_key;
	char	   *bearer = NULL;

	if (key == NULL)
	{
		size_t		len;

		contents = tc_channel_read_file(option, options->api_key_path, true, error);
		if (contents == NULL)
			return NULL;
		for (len = strlen(contents); len > 0 && isspace((unsigned char) contents[len - 1]); len--)
			contents[len - 1] = '\0';
		for (key = contents; isspace((unsigned char) *key);)
			key++;
	}

	if (key[0] == '\0')
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true, "the API key of %s is empty", option);
	else if (!is_header_value(key))
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the API key of %s has bytes that cannot be in a header", option);
	else if ((bearer = malloc(sizeof(scheme) + strlen(key))) == NULL)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	else
	{
		strcpy(bearer, scheme);
		strcat(bearer, key);
	}
	tc_free_secret(contents);
	return bearer;
}

nghttp2_nv
tc_grpc_header(const char *name, const char *value, uint8 flags)
{
	nghttp2_nv	header;

	header.name = (uint8_t *) name;
	header.namelen = strlen(name);
	header.value = (uint8_t *) value;
	header.valuelen = strlen(value);
	header.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | flags;
	return header;
}

/*
 * Is it of printable ASCII, as gRPC asks of metadata?
 */
static bool
is_header_value(const char *value)
{
	for (; *value; value++)
	{
		if (*value < ' ' || *value > '~')
			return false;
	}
	return true;
}
