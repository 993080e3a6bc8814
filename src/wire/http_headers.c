/*-------------------------------------------------------------------------
 *
 * http_headers.c
 *	  The headers of requests over HTTP/JSON, from those that gRPC has.
 *
 * Nothing here raises errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/address.h"
#include "wire/grpc_reply.h"
#include "wire/http_headers.h"

/* Metadata goes to Temporal's services by this name, and to proxies by its own. */
#define METADATA_PREFIX "grpc-metadata-"

/* :method and :path come first; content-length and grpc-timeout last */
#define FIRST_HEADERS 2
#define LAST_HEADERS 2

struct HttpHeaders
{
	char	   *names;			/* of metadata, with their prefix */
	char		authority[TC_HOST_SIZE + 8];	/* if it is another one than
												 * gRPC's */
	int			count;			/* without the last ones */
	nghttp2_nv	array[FLEXIBLE_ARRAY_MEMBER];
};

static void choose_authority(HttpHeaders *headers, const ChannelOptions *options);

HttpHeaders *
tc_http_headers_make(const GrpcHeaders *grpc, const ChannelOptions *options)
{
	const nghttp2_nv *from;
	int			nmetadata;
	int			n = tc_grpc_headers_common(grpc, &from, &nmetadata);
	size_t		names_size = 1;
	HttpHeaders *headers;
	char	   *name;

	for (int i = n - nmetadata; i < n; i++)
		names_size += strlen(METADATA_PREFIX) + from[i].namelen + 1;
	headers = calloc(1, offsetof(HttpHeaders, array) +
					 (FIRST_HEADERS + n + nmetadata + LAST_HEADERS) * sizeof(nghttp2_nv));
	name = malloc(names_size);
	if (headers == NULL || name == NULL)
	{
		free(headers);
		free(name);
		return NULL;
	}

	headers->names = name;
	headers->count = FIRST_HEADERS;
	choose_authority(headers, options);
	for (int i = 0; i < n; i++)
	{
		const char *own = (const char *) from[i].name;
		nghttp2_nv *header = &headers->array[headers->count];

		if (strcmp(own, ":method") == 0 || strcmp(own, "te") == 0)
			continue;
		*header = from[i];
		if (strcmp(own, "content-type") == 0)
			*header = tc_grpc_header(own, HTTP_CONTENT_TYPE, from[i].flags);
		else if (strcmp(own, ":authority") == 0 && headers->authority[0] != '\0')
			*header = tc_grpc_header(own, headers->authority, from[i].flags);
		headers->count++;
		if (i < n - nmetadata)
			continue;

		/* the same by another name */
		headers->array[headers->count] = from[i];
		headers->array[headers->count].name = (uint8_t *) name;
		headers->array[headers->count].namelen =
			snprintf(name, names_size, METADATA_PREFIX "%s", own);
		name += headers->array[headers->count].namelen + 1;
		names_size -= headers->array[headers->count].namelen + 1;
		headers->count++;
	}
	return headers;
}

/* As libcurl has it over HTTP/1.1: by the name that the certificate is to have. */
static void
choose_authority(HttpHeaders *headers, const ChannelOptions *options)
{
	char		host[TC_HOST_SIZE];
	int			port;

	if (options->authority == NULL && options->tls_server_name != NULL &&
		options->tls_server_name[0] != '\0' &&
		tc_address_split(options->address, host, &port) == NULL)
		snprintf(headers->authority, sizeof(headers->authority), "%s:%d",
				 options->tls_server_name, port);
}

void
tc_http_headers_free(HttpHeaders *headers)
{
	free(headers->names);
	free(headers);
}

int
tc_http_headers_of_request(HttpHeaders *headers, const HttpRequestLine *line,
						   const nghttp2_nv **array)
{
	static char length[24];
	static char timeout[GRPC_TIMEOUT_SIZE];
	int			count = headers->count;

	/*
	 * Values are copied by nghttp2, for the call can be over before they are
	 * sent.
	 */
	headers->array[0] = tc_grpc_header(":method", line->is_get ? "GET" : "POST", 0);
	headers->array[1] = tc_grpc_header(":path", line->path, 0);
	if (!line->is_get)
	{
		snprintf(length, sizeof(length), "%zu", line->body_len);
		headers->array[count++] = tc_grpc_header("content-length", length, 0);
	}
	tc_grpc_timeout(line->timeout_ms, timeout);
	headers->array[count++] = tc_grpc_header("grpc-timeout", timeout, 0);
	*array = headers->array;
	return count;
}
