/*-------------------------------------------------------------------------
 *
 * credential_files.h
 *	  Credentials in files: reading them, noticing changes, and forgetting.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CREDENTIAL_FILES_H
#define TC_CREDENTIAL_FILES_H

#include "wire/transport.h"

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

#endif							/* TC_CREDENTIAL_FILES_H */
