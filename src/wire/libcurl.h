/*-------------------------------------------------------------------------
 *
 * libcurl.h
 *	  libcurl in the event loop: what all who use it have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LIBCURL_H
#define TC_LIBCURL_H

#include <curl/curl.h>
#include <signal.h>

#include "base/address.h"
#include "wire/tls.h"
#include "wire/transport.h"

/*
 * To be called around what may start a thread: all signals but
 * those of a fault are blocked, for that thread, too.  Each costs two system
 * calls; what is done for every call over the network, and only tells libcurl
 * something or asks it, goes without: curl_easy_setopt(), curl_easy_getinfo(),
 * curl_easy_send() and curl_easy_recv(), and handing handles to and fro.
 */
extern void tc_curl_enter(sigset_t *old);
extern void tc_curl_leave(const sigset_t *old);

/* Where to connect, and as whom: base is a URL without path. */
typedef struct CurlTarget
{
	char		base[2 * TC_HOST_SIZE];
	struct curl_slist *connect_to;	/* or NULL */
	struct curl_slist *proxy_lines; /* headers for the proxy, secrets
									 * included; or NULL */
} CurlTarget;

/* False, with *error filled in, if the options name no target.  Within tc_curl_enter(). */
extern bool tc_curl_target_make(CurlTarget *target, const ChannelOptions *options,
								ChannelError *error);
extern void tc_curl_target_free(CurlTarget *target);

/* TLS of handles; settings is NULL in cleartext. */
typedef struct CurlTls
{
	TlsSettings *settings;
	ChannelError error;			/* code NULL: OpenSSL took the certificates */
} CurlTls;

/*
 * Tell a handle what holds for all: URL, names, TLS, times.  What it is given
 * must stay valid as long as the handle; error_buffer has CURL_ERROR_SIZE
 * bytes.  False, with tls->error filled in, if libcurl refuses.  Within
 * tc_curl_enter().
 */
extern bool tc_curl_set_common(CURL *easy, const ChannelOptions *options,
							   const CurlTarget *target, CurlTls *tls, char *error_buffer);

/* Why a handle could not connect, for operators; it must not be in use. */
extern void tc_curl_explain_connect(CURL *easy, CURLcode code, const char *error_buffer,
									const ChannelOptions *options, const TlsSettings *tls,
									ChannelError *error);

/*
 * A multi handle that the event loop drives.  driven() is called from the
 * loop after libcurl has done something, with nothing of libcurl on the stack;
 * it may close the multi handle.
 */
typedef struct CurlMulti CurlMulti;
typedef void (*CurlDriven) (void *arg, CURLMcode code);

/* NULL for lack of memory.  These enter libcurl by themselves. */
extern CurlMulti *tc_curl_multi_open(CurlDriven driven, void *arg);

/* Its handles have to be removed before. */
extern void tc_curl_multi_close(CurlMulti *multi);
extern CURLM *tc_curl_multi_handle(CurlMulti *multi);

/* libcurl begins in the next turn of the loop. */
extern bool tc_curl_multi_add(CurlMulti *multi, CURL *easy);
extern void tc_curl_multi_remove(CurlMulti *multi, CURL *easy);

/* The next handle that is done since this was asked last; false if there is none. */
extern bool tc_curl_multi_next(CurlMulti *multi, CURL **easy, CURLcode *code);

/* From here on, its sockets are somebody else's to watch. */
extern void tc_curl_multi_forget_sockets(CurlMulti *multi);

#endif							/* TC_LIBCURL_H */
