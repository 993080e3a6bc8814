/*-------------------------------------------------------------------------
 *
 * support.h
 *	  What the rooms of a channel share: its errors, files and options.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SUPPORT_H
#define TC_SUPPORT_H

#include "wire/transport.h"

/* Codes of a ChannelError */
#define TC_ERROR_CONNECTION_FAILED "CONNECTION_FAILED"
#define TC_ERROR_NAME_RESOLUTION_FAILED "NAME_RESOLUTION_FAILED"
#define TC_ERROR_TLS_FAILED "TLS_FAILED"
#define TC_ERROR_NOT_HTTP2 "NOT_HTTP2"
#define TC_ERROR_CONFIGURATION "CONFIGURATION"

/*
 * Fill in an error.  needs_operator: waiting alone will not mend it.  A
 * message that is too long is cut off.
 */
extern void tc_channel_error(ChannelError *error, const char *code, bool needs_operator,
							 const char *fmt,...) pg_attribute_printf(4, 5);

/*
 * Contents of a file of at most 1 MiB, zero-terminated, to be given to
 * tc_free_secret().  NULL, with *error filled in, if it cannot be read, or is
 * a secret that others can read; what names the option for the message.
 */
extern char *tc_channel_read_file(const char *what, const char *path, bool is_secret,
								  ChannelError *error);

/*
 * Changes when one of the files that the options name does; 0 if there are
 * none.  Taken before the files are read, it tells later whether what was
 * read is still theirs.
 */
extern uint64 tc_channel_files_stamp(const ChannelOptions *options);

/* Overwrite a zero-terminated string, and free it.  NULL is allowed. */
extern void tc_free_secret(char *secret);

/*
 * Copy options, strings included; false, and nothing to free, for lack of
 * memory.  Secrets are overwritten when the copy is freed.
 */
extern bool tc_channel_options_copy(ChannelOptions *copy, const ChannelOptions *options);
extern void tc_channel_options_free(ChannelOptions *options);

#endif							/* TC_SUPPORT_H */
