/*-------------------------------------------------------------------------
 *
 * channel_support.c
 *	  What the rooms of a channel share: its errors and its small files.
 *
 * Used beneath libcurl and OpenSSL, so nothing here raises errors, and
 * memory is malloc's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel_support.h"

#define MAX_FILE_SIZE (1024 * 1024)

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

char *
tc_channel_read_file(const char *what, const char *path, ChannelError *error)
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

void
tc_free_secret(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}
