/*-------------------------------------------------------------------------
 *
 * statement_mask.c
 *	  Statements about user mappings, without the secrets in them.
 *
 * For logs of statements, so nobody must be able to hide anything else from
 * them: the text is taken apart as SQL is, with its comments and strings, and
 * only a string that follows the name of an option that is a secret, behind
 * USER MAPPING, is replaced.  Strings may be statements themselves, as those
 * of DO and EXECUTE.
 *
 * Raises no errors but for lack of memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "server/statement_mask.h"

/* Strings within strings that are looked into */
#define MAX_DEPTH 4

static char *mask(const char *str, size_t len, int depth);

/* Bytes that a word may have */
static bool
is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_' || (unsigned char) c >= 0x80;
}

/* Length of white space or a comment, 0 if there is none. */
static size_t
blank_len(const char *str, const char *end)
{
	const char *next = str;
	int			depth = 0;

	if (isspace((unsigned char) *next))
		return 1;
	if (end - next >= 2 && strncmp(next, "--", 2) == 0)
	{
		while (next < end && *next != '\n' && *next != '\r')
			next++;
		return next - str;
	}
	if (end - next < 2 || strncmp(next, "/*", 2) != 0)
		return 0;
	do
	{
		if (end - next >= 2 && strncmp(next, "/*", 2) == 0)
			depth++, next += 2;
		else if (end - next >= 2 && strncmp(next, "*/", 2) == 0)
			depth--, next += 2;
		else
			next++;
	} while (depth > 0 && next < end);
	return next - str;
}

/* Length of what is quoted by that character, quotes included; to the end if it is not closed. */
static size_t
quoted_len(const char *str, const char *end, char quote, bool backslashes)
{
	const char *next = str + 1;

	for (; next < end; next++)
	{
		if (backslashes && *next == '\\' && next + 1 < end)
			next++;
		else if (*next == quote)
		{
			if (next + 1 == end || next[1] != quote)
				return next + 1 - str;
			next++;
		}
	}
	return end - str;
}

/* Length of the tag that begins a string in dollars, dollars included; 0 if there is none. */
static size_t
dollar_tag_len(const char *str, const char *end)
{
	const char *next = str + 1;

	if (*str != '$' || (next < end && isdigit((unsigned char) *next)))
		return 0;
	while (next < end && is_word(*next))
		next++;
	return next < end && *next == '$' ? next + 1 - str : 0;
}

static size_t
dollar_len(const char *str, const char *end, size_t tag)
{
	for (const char *next = str + tag; next + tag <= end; next++)
	{
		if (strncmp(next, str, tag) == 0)
			return next + tag - str;
	}
	return end - str;
}

static bool
is_secret_option(const char *name, size_t len)
{
	return (len == strlen("api_key") && pg_strncasecmp(name, "api_key", len) == 0) ||
		(len == strlen("proxy_auth") && pg_strncasecmp(name, "proxy_auth", len) == 0) ||
		(len == strlen("codec_auth") && pg_strncasecmp(name, "codec_auth", len) == 0) ||
		(len == strlen("tls_client_key_data") && pg_strncasecmp(name, "tls_client_key_data", len) == 0) ||
		(len > strlen("grpc_meta_") && pg_strncasecmp(name, "grpc_meta_", strlen("grpc_meta_")) == 0);
}

/* Append a string, which may be a statement itself; true if that has a secret. */
static bool
append_string(StringInfo out, const char *str, size_t len, size_t open, bool doubled, int depth)
{
	const char *body = str + open;
	const char *end = str + len - Min(open, len - open);
	StringInfoData plain;
	char	   *masked = NULL;

	if (depth < MAX_DEPTH && end > body)
	{
		initStringInfo(&plain);
		for (; body < end; body++)
		{
			appendStringInfoChar(&plain, *body);
			if (doubled && *body == '\'' && body + 1 < end)
				body++;
		}
		masked = mask(plain.data, plain.len, depth + 1);
	}
	if (masked == NULL)
	{
		appendBinaryStringInfo(out, str, (int) len);
		return false;
	}
	appendBinaryStringInfo(out, str, (int) open);
	for (const char *c = masked; *c != '\0'; c++)
	{
		appendStringInfoChar(out, *c);
		if (doubled && *c == '\'')
			appendStringInfoChar(out, *c);
	}
	appendBinaryStringInfo(out, end, (int) (str + len - end));
	return true;
}

/*
 * The text without secrets, or NULL if there are none in it.  Long because all
 * kinds of tokens move the same few words of memory of what came before.
 */
static char *
mask(const char *str, size_t len, int depth)
{
	const char *end = str + len;
	StringInfoData out;
	bool		after_user = false;
	bool		in_mapping = false;
	bool		after_secret = false;
	bool		found = false;

	check_stack_depth();
	initStringInfo(&out);
	while (str < end)
	{
		size_t		n = blank_len(str, end);
		size_t		open = 0;
		bool		backslashes = false;

		if (n > 0)
		{
			appendBinaryStringInfo(&out, str, (int) n);
			str += n;
			continue;
		}

		/* a string, perhaps with a prefix such as E or U& */
		if (end - str > 1 && strchr("eEbBxXnN", *str) != NULL && str[1] == '\'')
		{
			backslashes = (*str == 'e' || *str == 'E');
			open = 2;
		}
		else if (end - str > 2 && (*str == 'u' || *str == 'U') && str[1] == '&' && str[2] == '\'')
			open = 3;
		else if (*str == '\'')
			open = 1;
		if (open > 0)
			n = open - 1 + quoted_len(str + open - 1, end, '\'', backslashes);
		else if ((open = dollar_tag_len(str, end)) > 0)
			n = dollar_len(str, end, open);
		if (open > 0)
		{
			bool		dollars = (*str == '$');

			if (after_secret)
			{
				appendStringInfoString(&out, "<hidden>");
				found = true;
			}
			else
				found |= append_string(&out, str, n, open, !dollars, depth);

			/*
			 * after a secret: another string in the next line is the rest of
			 * it
			 */
			after_user = false;
			str += n;
			continue;
		}

		/* a name, or any other character */
		if (*str == '"')
		{
			n = quoted_len(str, end, '"', false);
			after_secret = in_mapping && n > 2 && is_secret_option(str + 1, n - 2);
			after_user = false;
		}
		else if (is_word(*str))
		{
			for (n = 1; str + n < end && (is_word(str[n]) || str[n] == '$'); n++)
				;
			in_mapping |= after_user && n == 7 && pg_strncasecmp(str, "mapping", n) == 0;
			after_user = (n == 4 && pg_strncasecmp(str, "user", n) == 0);
			after_secret = in_mapping && is_secret_option(str, n);
		}
		else
		{
			n = 1;
			in_mapping &= (*str != ';');
			after_user = after_secret = false;
		}
		appendBinaryStringInfo(&out, str, (int) n);
		str += n;
	}
	if (found)
		return out.data;
	pfree(out.data);
	return NULL;
}

char *
tc_statement_mask(const char *str)
{
	return mask(str, strlen(str), 0);
}
