/*-------------------------------------------------------------------------
 *
 * credential_files.c
 *	  Credentials in files: reading them, noticing changes, and forgetting.
 *
 * Used beneath libcurl and OpenSSL, so nothing here raises errors, and
 * memory is malloc's.  No contents reach a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash_bytes.h"
#include "wire/channel_error.h"
#include "wire/credential_files.h"

#define MAX_FILE_SIZE (1024 * 1024)

/*
 * Can nobody else read it?  As libpq asks of private keys: root may let a
 * group read what belongs to root.
 */
static bool
is_private(const struct stat *st)
{
	if (st->st_uid == geteuid())
		return (st->st_mode & (S_IRWXG | S_IRWXO)) == 0;
	return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0;
}

char *
tc_channel_read_file(const char *what, const char *path, bool is_secret, ChannelError *error)
{
	struct stat st;
	char	   *contents = NULL;
	size_t		len = 0;
	int			fd;

	/* Not blocking, for a FIFO must not stop the process. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "could not open the file \"%s\" of %s: %m", path, what);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE_SIZE)
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the file \"%s\" of %s is not a regular file of at most %d bytes",
						 path, what, MAX_FILE_SIZE);
		close(fd);
		return NULL;
	}

	if (is_secret && !is_private(&st))
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the file \"%s\" of %s can be read by others: it must belong to the server's user and have mode 0600 or less, or to root and have mode 0640 or less",
						 path, what);
		close(fd);
		return NULL;
	}

	contents = malloc(st.st_size + 1);
	if (contents == NULL)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	while (contents != NULL && len < (size_t) st.st_size)
	{
		ssize_t		n = read(fd, contents + len, st.st_size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
							 "could not read the file \"%s\" of %s: %m", path, what);
			explicit_bzero(contents, len);
			free(contents);
			contents = NULL;
		}
		else if (n == 0)
			break;
		else
			len += n;
	}
	close(fd);
	if (contents != NULL)
		contents[len] = '\0';
	return contents;
}

uint64
tc_channel_files_stamp(const ChannelOptions *options)
{
	const char *const paths[] = {
		options->tls_server_ca_cert_path, options->tls_client_cert_path,
		options->tls_client_key_path, options->api_key_path
	};
	uint64		stamp = 0;

	for (int i = 0; i < lengthof(paths); i++)
	{
		struct stat st;
		int64		numbers[7] = {0};

		if (paths[i] == NULL)
			continue;
		if (stat(paths[i], &st) == 0)
		{
			numbers[0] = st.st_dev;
			numbers[1] = st.st_ino;
			numbers[2] = st.st_size;
			numbers[3] = st.st_mtim.tv_sec;
			numbers[4] = st.st_mtim.tv_nsec;
			numbers[5] = st.st_ctim.tv_sec;
			numbers[6] = st.st_ctim.tv_nsec;
		}
		stamp = tc_hash_bytes(stamp, numbers, sizeof(numbers)) | 1;
	}
	return stamp;
}

void
tc_free_secret(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}
