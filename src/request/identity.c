/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  What tells requests apart, also in the history that Temporal keeps.
 *
 * Identities that were sent are kept there for years: their form must not
 * change without the former one being known to tc_identity_matches().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "request/identity.h"

#define IDENTITY_PREFIX "postgresql:"
#define UNIX_TO_POSTGRES_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

StaticAssertDecl(sizeof(IDENTITY_PREFIX) + NAMEDATALEN + 20 + 1 + 20 + 1 + 10 + 1 + 20 + 1 + 20 < TC_IDENTITY_MAX,
				 "an identity may not fit its buffer");

/* Append what comes behind the database's name; returns the end. */
static char *
append_identity_suffix(char *next, const RequestIdentity *identity)
{
	next += pg_lltoa(identity->id, next);
	*next++ = '@';
	next += pg_ulltoa_n(GetSystemIdentifier(), next);
	*next++ = '/';
	next += pg_ultoa_n(MyDatabaseId, next);
	*next++ = '/';
	next += pg_ulltoa_n(identity->xid, next);
	*next++ = '/';
	next += pg_lltoa(identity->requested_at + UNIX_TO_POSTGRES_EPOCH_USECS, next);
	return next;
}

/* "postgresql:<dbname>/", which does not change while a process lives */
static const char *
identity_prefix(size_t *len)
{
	static char prefix[sizeof(IDENTITY_PREFIX) + NAMEDATALEN];
	static size_t prefix_len = 0;

	if (prefix_len == 0)
	{
		char	   *dbname = get_database_name(MyDatabaseId);
		char	   *next = prefix;

		memcpy(next, IDENTITY_PREFIX, strlen(IDENTITY_PREFIX));
		next += strlen(IDENTITY_PREFIX);
		for (const char *c = dbname; c != NULL && *c != '\0'; c++)
			*next++ = (*c >= 0x20 && *c <= 0x7E) ? *c : '?';
		*next++ = '/';
		prefix_len = next - prefix;
	}
	*len = prefix_len;
	return prefix;
}

size_t
tc_request_identity(const RequestIdentity *identity, char *buf)
{
	size_t		len;
	const char *prefix = identity_prefix(&len);
	char	   *end;

	memcpy(buf, prefix, len);
	end = append_identity_suffix(buf + len, identity);
	*end = '\0';
	return end - buf;
}

/* Is it "postgresql:<anything>/<suffix>"? */
static bool
identity_ends_in(const char *string, size_t len, const char *suffix, size_t suffix_len)
{
	size_t		prefix_len = strlen(IDENTITY_PREFIX);

	return len >= prefix_len + 1 + suffix_len &&
		memcmp(string, IDENTITY_PREFIX, prefix_len) == 0 &&
		string[len - suffix_len - 1] == '/' &&
		memcmp(string + len - suffix_len, suffix, suffix_len) == 0;
}

bool
tc_identity_matches(const char *string, size_t len, const RequestIdentity *identity,
					const char *former)
{
	char		suffix[TC_IDENTITY_MAX];
	size_t		suffix_len = append_identity_suffix(suffix, identity) - suffix;

	if (identity_ends_in(string, len, suffix, suffix_len))
		return true;
	while (former != NULL && *former != '\0')
	{
		suffix_len = strcspn(former, " ");
		if (suffix_len > 0 && identity_ends_in(string, len, former, suffix_len))
			return true;
		former += suffix_len;
		former += strspn(former, " ");
	}
	return false;
}

TimestampTz
tc_former_identity_time(const char *former)
{
	const char *end = former + strcspn(former, " ");
	const char *last = end;

	while (last > former && last[-1] >= '0' && last[-1] <= '9')
		last--;
	return (TimestampTz) strtoll(last, NULL, 10) - UNIX_TO_POSTGRES_EPOCH_USECS;
}
