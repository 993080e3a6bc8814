/*-------------------------------------------------------------------------
 *
 * namespaces.c
 *	  Which namespaces may be named for a server.
 *
 * A server's own namespace may always be named, others only if the server's
 * option "namespaces" lists them: names with commas between them, blanks
 * around which do not count, or "*" for any.  Nothing is looked up here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "server/namespaces.h"

#define ANY_NAMESPACE "*"
#define BLANKS " \t\r\n"

/* The next name of a list, without blanks around it; *list is moved behind it. */
static const char *
next_name(const char **list, size_t *len)
{
	const char *name = *list + strspn(*list, BLANKS);
	const char *end = name + strcspn(name, ",");

	*list = *end == ',' ? end + 1 : NULL;
	*len = end - name;
	while (*len > 0 && strchr(BLANKS, name[*len - 1]) != NULL)
		(*len)--;
	return name;
}

static bool
is_name(const char *name, size_t len, const char *other)
{
	return strlen(other) == len && memcmp(name, other, len) == 0;
}

const char *
tc_namespaces_problem(const char *list)
{
	int			nnames = 0;
	bool		any = false;

	while (list != NULL)
	{
		size_t		len;
		const char *name = next_name(&list, &len);

		if (len == 0)
			return "A name in it is empty.";
		any |= is_name(name, len, ANY_NAMESPACE);
		nnames++;
	}
	if (any && nnames > 1)
		return "With \"*\" nothing else needs to be listed.";
	return NULL;
}

bool
tc_namespace_allowed(const char *name, const char *own, const char *list)
{
	if (strcmp(name, own) == 0)
		return true;
	while (list != NULL)
	{
		size_t		len;
		const char *listed = next_name(&list, &len);

		if (is_name(listed, len, ANY_NAMESPACE) || is_name(listed, len, name))
			return true;
	}
	return false;
}
