/*-------------------------------------------------------------------------
 *
 * proxy.c
 *	  Connections by an HTTP proxy (CONNECT), for libcurl.c.
 *
 * The proxy is told host and port, looks up the name, and carries bytes to and
 * fro: TLS is with the other side.  Which of its addresses answers is then
 * nothing that we see.  No environment variable counts, as the server's
 * environment is not that of who made the foreign server.
 *
 * What a proxy says but for its status is not read: it may be anybody's.
 * libcurl takes it byte by byte, for as long as there are any; so that the
 * worker is not kept there, a proxy that says too much in one turn of the
 * event loop is given up.
 * The credential is written here and not by libcurl, some versions of which
 * take a "%" in it for something else.  Must never put it into a message.
 *
 * Runs within tc_curl_enter(); nothing here may raise an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "wire/channel_error.h"
#include "wire/proxy.h"

/* Bytes that a proxy may say in one turn; its headers alone are nowhere as long */
#define MAX_BYTES_IN_A_TURN 65536

#define AUTHORIZATION "Proxy-Authorization: Basic "

static int	steps_in_this_turn;

static int	on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
						curl_off_t ulnow);
static long status_of(CURL *easy);
static bool is_of_the_tunnel(CURLcode code);
static void explain_status(long status, const ChannelOptions *options, ChannelError *error);

bool
tc_proxy_lines(const ChannelOptions *options, struct curl_slist **lines, ChannelError *error)
{
	size_t		len = options->proxy_auth != NULL ? strlen(options->proxy_auth) : 0;
	size_t		size = sizeof(AUTHORIZATION) + 4 * ((len + 2) / 3);
	char	   *line;

	*lines = NULL;
	if (options->proxy == NULL || options->proxy_auth == NULL)
		return true;
	line = malloc(size);
	if (line != NULL)
	{
		strcpy(line, AUTHORIZATION);
		(void) EVP_EncodeBlock((unsigned char *) line + strlen(AUTHORIZATION),
							   (const unsigned char *) options->proxy_auth, (int) len);
		*lines = curl_slist_append(NULL, line);
		explicit_bzero(line, size);
		free(line);
	}
	if (*lines == NULL)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	return *lines != NULL;
}

void
tc_proxy_lines_free(struct curl_slist *lines)
{
	for (struct curl_slist *line = lines; line != NULL; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(lines);
}

bool
tc_proxy_set(CURL *easy, const ChannelOptions *options, struct curl_slist *lines)
{
	bool		ok = true;

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)
	SET(CURLOPT_PROXY, options->proxy != NULL ? options->proxy : "");
	SET(CURLOPT_NOPROXY, "");
	if (options->proxy != NULL)
	{
		SET(CURLOPT_PROXYTYPE, (long) CURLPROXY_HTTP);
		SET(CURLOPT_HTTPPROXYTUNNEL, 1L);

		/*
		 * what the server is sent is not for the proxy, nor the other way
		 * round
		 */
		SET(CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE);
		SET(CURLOPT_PROXYHEADER, lines);
		SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
		SET(CURLOPT_NOPROGRESS, 0L);
		SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	}
#undef SET
	return ok;
}

void
tc_proxy_begin_turn(void)
{
	steps_in_this_turn = 0;
}

/* Called for each byte of the proxy's answer, and now and then otherwise; ends the connection if not 0. */
static int
on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
	return ++steps_in_this_turn > MAX_BYTES_IN_A_TURN;
}

bool
tc_proxy_has_refused(CURL *easy)
{
	long		status = status_of(easy);

	return status != 0 && status / 100 != 2;
}

bool
tc_proxy_explain(CURL *easy, CURLcode code, const char *text, const ChannelOptions *options,
				 ChannelError *error)
{
	long		status;
	long		os_errno = 0;

	if (options->proxy == NULL)
		return false;
	status = status_of(easy);
	if (status / 100 == 2 && is_of_the_tunnel(code))
		return false;
	if (status != 0 && status / 100 != 2)
		explain_status(status, options, error);
	else if (code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_RESOLVE_HOST ||
			 (code == CURLE_OPERATION_TIMEDOUT && strncmp(text, "Resolving", 9) == 0))
		tc_channel_error(error, TC_ERROR_PROXY_FAILED, false,
						 "could not look up the host name of the proxy \"%s\"", options->proxy);
	else if (code == CURLE_COULDNT_CONNECT)
	{
		curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
		tc_channel_error(error, TC_ERROR_PROXY_FAILED, false,
						 "could not connect to the proxy \"%s\": %s", options->proxy,
						 os_errno ? strerror((int) os_errno) : text);
	}
	else if (code == CURLE_OPERATION_TIMEDOUT)
		tc_channel_error(error, TC_ERROR_PROXY_FAILED, false,
						 "no connection to \"%s\" by the proxy \"%s\" within %d ms",
						 options->address, options->proxy, options->connect_timeout_ms);
	else
		tc_channel_error(error, TC_ERROR_PROXY_FAILED, false,
						 "\"%s\" does not answer as an HTTP proxy does", options->proxy);
	return true;
}

/* Status of the answer to CONNECT; 0 if there was none. */
static long
status_of(CURL *easy)
{
	long		status = 0;

	curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
	return status;
}

/* Once the proxy says that it has connected, TLS is between us and the other side. */
static bool
is_of_the_tunnel(CURLcode code)
{
	switch (code)
	{
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_PEER_FAILED_VERIFICATION:
			return true;
		default:
			return false;
	}
}

static void
explain_status(long status, const ChannelOptions *options, ChannelError *error)
{
	const char *why = "";

	/* some say 401 to a password that is wrong */
	if (status == 407 || status == 401)
	{
		tc_channel_error(error, TC_ERROR_PROXY_AUTHENTICATION_FAILED, true,
						 options->proxy_auth != NULL ?
						 "the proxy \"%s\" refuses the user and password of the option proxy_auth" :
						 "the proxy \"%s\" asks for a user and password: see the option proxy_auth",
						 options->proxy);
		return;
	}
	if (status == 403)
		why = " (it does not allow that)";
	else if (status == 400 || status == 404 || status == 405 || status == 501 || status / 100 == 3)
		why = " (it may be no proxy for CONNECT)";
	else if (status == 502 || status == 503 || status == 504)
		why = " (it cannot reach it)";

	/* its trouble may pass */
	tc_channel_error(error, TC_ERROR_PROXY_FAILED, status < 500 && status != 408 && status != 429,
					 "the proxy \"%s\" did not connect to \"%s\": HTTP status %ld%s",
					 options->proxy, options->address, status, why);
}
