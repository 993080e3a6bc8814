/*-------------------------------------------------------------------------
 *
 * channel_error.c
 *	  Errors of channels.
 *
 * Made beneath libcurl, nghttp2 and OpenSSL: nothing is raised or allocated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel_error.h"

void
tc_channel_error(ChannelError *error, const char *code, bool needs_operator, const char *fmt,...)
{
	va_list		args;

	error->code = code;
	error->needs_operator = needs_operator;
	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
}
