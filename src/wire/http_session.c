/*-------------------------------------------------------------------------
 *
 * http_session.c
 *	  Connections of a channel over HTTP/1.1, with what was read to make them.
 *
 * libcurl keeps the connections; each has one call at a time.  Nothing here
 * raises errors, or knows what the calls are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"

#include "wire/channel_error.h"
#include "wire/connection.h"
#include "wire/credential_files.h"
#include "wire/http_headers.h"
#include "wire/http_session.h"

/* Of the files that are counted, those of the resolver are not for calls. */
#define RESOLVER_FILES (TC_CONNECTION_FILES - 1)

/* Metadata goes to Temporal's services by this name, and to proxies by its own. */
#define METADATA_PREFIX "Grpc-Metadata-"

static bool set_up(HttpSession *session, CurlDriven driven, int connections, ChannelError *error);
static bool add_lines(HttpSession *session);
static bool add_line(HttpSession *session, const char *prefix, const char *name, const char *value);

HttpSession *
tc_http_session_open(Channel *channel, const ChannelOptions *options, int connections,
					 CurlDriven driven, ChannelError *error)
{
	HttpSession *session = calloc(1, sizeof(HttpSession));

	if (session == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return NULL;
	}
	session->channel = channel;
	session->options = options;
	dlist_init(&session->calls);
	dlist_init(&session->unused_calls);
	if (!set_up(session, driven, connections, error))
	{
		tc_http_session_close(session);
		tc_http_session_free(session);
		return NULL;
	}
	return session;
}

void
tc_http_session_close(HttpSession *session)
{
	if (session->multi != NULL)
		tc_curl_multi_close(session->multi);
	session->multi = NULL;
	for (; session->files_open > 0; session->files_open--)
		ReleaseExternalFD();
}

void
tc_http_session_free(HttpSession *session)
{
	sigset_t	old;

	tc_curl_enter(&old);
	for (struct curl_slist *line = session->lines; line != NULL; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(session->lines);
	tc_curl_target_free(&session->target);
	tc_tls_free(session->tls.settings);
	tc_curl_leave(&old);
	if (session->headers != NULL)
		tc_grpc_headers_free(session->headers);
	free(session);
}

bool
tc_http_session_wants_http2(const HttpSession *session)
{
	return session->tls.settings != NULL && tc_tls_is_http2(session->tls.settings);
}

bool
tc_http_session_is_stale(HttpSession *session)
{
	if (!session->stale && session->files != 0)
		session->stale = tc_channel_files_stamp(session->options) != session->files;
	return session->stale;
}

static bool
set_up(HttpSession *session, CurlDriven driven, int connections, ChannelError *error)
{
	const ChannelOptions *options = session->options;
	sigset_t	old;
	bool		ok;

	tc_curl_enter(&old);
	ok = tc_curl_target_make(&session->target, options, error);
	tc_curl_leave(&old);
	if (!ok)
		return false;

	while (session->files_open < connections * TC_CONNECTION_FILES && AcquireExternalFD())
		session->files_open++;
	if (session->files_open < TC_CONNECTION_FILES)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false,
						 "could not connect to \"%s\": too many open files", options->address);
		return false;
	}
	session->connections = connections;
	session->max_calls = session->files_open - RESOLVER_FILES;

	/* before they are read, so that no change is missed */
	session->files = tc_channel_files_stamp(options);
	session->headers = tc_grpc_headers_make(options, error);
	if (session->headers == NULL)
		return false;
	if (options->tls)
	{
		session->tls.settings = tc_tls_load(options, TLS_HTTP1, error);
		if (session->tls.settings == NULL)
			return false;
	}

	session->multi = tc_curl_multi_open(driven, session);
	tc_curl_enter(&old);
	ok = session->multi != NULL && add_lines(session) &&
		curl_multi_setopt(tc_curl_multi_handle(session->multi), CURLMOPT_MAX_TOTAL_CONNECTIONS,
						  (long) session->max_calls) == CURLM_OK &&
		curl_multi_setopt(tc_curl_multi_handle(session->multi), CURLMOPT_MAXCONNECTS,
						  (long) session->max_calls) == CURLM_OK;
	tc_curl_leave(&old);
	if (!ok)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	return ok;
}

/*
 * Lines for libcurl: a name without a value takes away what libcurl would
 * add.
 */
static bool
add_lines(HttpSession *session)
{
	const ChannelOptions *options = session->options;
	const nghttp2_nv *headers;
	int			nmetadata;
	int			n;

	if (options->codec_path != NULL)
		return add_line(session, "", "Content-Type", "application/json") &&
			add_line(session, "", "Expect", "") && add_line(session, "", "Accept", "application/json") &&
			add_line(session, "", "User-Agent", "temporal-complete-postgresql/" TC_VERSION) &&
			(options->codec_auth == NULL || add_line(session, "", "Authorization", options->codec_auth));
	n = tc_grpc_headers_common(session->headers, &headers, &nmetadata);

	if (!add_line(session, "", "Content-Type", HTTP_CONTENT_TYPE) ||
		!add_line(session, "", "Expect", "") || !add_line(session, "", "Accept", "") ||
		(options->authority != NULL && !add_line(session, "", "Host", options->authority)))
		return false;
	for (int i = 0; i < n; i++)
	{
		const char *name = (const char *) headers[i].name;
		const char *value = (const char *) headers[i].value;
		bool		is_metadata = i >= n - nmetadata;

		if (name[0] == ':' || strcmp(name, "content-type") == 0 || strcmp(name, "te") == 0)
			continue;
		if (!add_line(session, "", name, value) ||
			(is_metadata && !add_line(session, METADATA_PREFIX, name, value)))
			return false;
	}
	return true;
}

static bool
add_line(HttpSession *session, const char *prefix, const char *name, const char *value)
{
	size_t		size = strlen(prefix) + strlen(name) + strlen(value) + 3;
	char	   *line = malloc(size);
	struct curl_slist *longer = NULL;

	if (line != NULL)
	{
		snprintf(line, size, "%s%s:%s%s", prefix, name, value[0] ? " " : "", value);
		longer = curl_slist_append(session->lines, line);
		explicit_bzero(line, size);
		free(line);
	}
	if (longer == NULL)
		return false;
	session->lines = longer;
	return true;
}
