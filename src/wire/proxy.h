/*-------------------------------------------------------------------------
 *
 * proxy.h
 *	  Connections by an HTTP proxy (CONNECT), for libcurl.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROXY_H
#define TC_PROXY_H

#include <curl/curl.h>

#include "wire/transport.h"

/*
 * The lines that a proxy is sent besides those of libcurl, secrets included;
 * NULL if there are none.  False, with *error filled in, for lack of memory.
 */
extern bool tc_proxy_lines(const ChannelOptions *options, struct curl_slist **lines,
						   ChannelError *error);
extern void tc_proxy_lines_free(struct curl_slist *lines);

/* Tell a handle to connect by the proxy of the options, or by none whatever the environment says. */
extern bool tc_proxy_set(CURL *easy, const ChannelOptions *options, struct curl_slist *lines);

/* To be called before each call of libcurl that lets connections go on. */
extern void tc_proxy_begin_turn(void);

/* Did the proxy answer that it does not connect?  Nothing was sent to the other side then. */
extern bool tc_proxy_has_refused(CURL *easy);

/*
 * Why a handle could not connect, if that is about the proxy; text is what
 * libcurl says.  False if it is not.
 */
extern bool tc_proxy_explain(CURL *easy, CURLcode code, const char *text,
							 const ChannelOptions *options, ChannelError *error);

#endif							/* TC_PROXY_H */
