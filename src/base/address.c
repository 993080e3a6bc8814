/*-------------------------------------------------------------------------
 *
 * address.c
 *	  "host:port", taken apart.
 *
 * Used where options are checked as well as beneath libcurl: it raises no
 * errors and allocates nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/address.h"

#define HOST_CHARS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

const char *
tc_address_split(const char *address, char *host, int *port)
{
	const char *rest;
	size_t		len;
	char	   *end;
	long		number;

	*port = 0;
	if (strncmp(address, "unix:", 5) == 0 || address[0] == '/')
		return "Sockets in the file system are not supported.";
	if (strstr(address, "://") != NULL)
		return "It is an address, not a URL.";

	if (address[0] == '[')
	{
		len = strspn(address + 1, "0123456789abcdefABCDEF:.");
		if (len < 2 || address[1 + len] != ']')
			return "There is no IPv6 address between the brackets.";
		len += 2;
	}
	else
	{
		len = strspn(address, HOST_CHARS);
		if (strchr(address, ':') != strrchr(address, ':'))
			return "An IPv6 address needs brackets.";
		if (len == 0)
			return "It does not begin with a host name.";
	}
	if (len >= TC_HOST_SIZE)
		return "The host name is too long.";
	memcpy(host, address, len);
	host[len] = '\0';

	rest = address + len;
	if (*rest == '\0')
		return NULL;
	if (*rest != ':')
		return "It has characters that neither a host name nor a port can have.";
	if (strspn(rest + 1, "0123456789") == 0)
		return "It has no port.";
	number = strtol(rest + 1, &end, 10);
	if (*end != '\0' || number < 1 || number > 65535)
		return "The port is not a number from 1 to 65535.";
	*port = (int) number;
	return NULL;
}

bool
tc_is_host(const char *host)
{
	size_t		len = strlen(host);

	return len > 0 && len < TC_HOST_SIZE && strspn(host, HOST_CHARS) == len;
}
