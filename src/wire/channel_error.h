/*-------------------------------------------------------------------------
 *
 * channel_error.h
 *	  Errors of channels: their codes, and how they are made.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CHANNEL_ERROR_H
#define TC_CHANNEL_ERROR_H

#include "wire/transport.h"

/* Codes of a ChannelError */
#define TC_ERROR_CONNECTION_FAILED "CONNECTION_FAILED"
#define TC_ERROR_NAME_RESOLUTION_FAILED "NAME_RESOLUTION_FAILED"
#define TC_ERROR_PROXY_FAILED "PROXY_FAILED"
#define TC_ERROR_PROXY_AUTHENTICATION_FAILED "PROXY_AUTHENTICATION_FAILED"
#define TC_ERROR_TLS_FAILED "TLS_FAILED"
#define TC_ERROR_NOT_HTTP2 "NOT_HTTP2"
#define TC_ERROR_CONFIGURATION "CONFIGURATION"

/*
 * Fill in an error.  needs_operator: waiting alone will not mend it.  A
 * message that is too long is cut off.
 */
extern void tc_channel_error(ChannelError *error, const char *code, bool needs_operator,
							 const char *fmt,...) pg_attribute_printf(4, 5);

#endif							/* TC_CHANNEL_ERROR_H */
