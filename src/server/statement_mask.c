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

static char *mask(const char *text, size_t len, int depth);

/* Bytes that a word may have */
static bool
is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_' || (unsigned char) c >= 0x80;
}

/* Length of white space or a comment, 0 if there is none. */
static size_t
blank_len(const char *text, const char *end)
{
	const char *next = text;
	int			depth = 0;

	if (isspace((unsigned char) *next))
		return 1;
	if (end - next >= 2 && strncmp(next, "--", 2) == 0)
	{
		while (next < end && *next != '\n' && *next != '\r')
			next++;
		return next - text;
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
	return next - text;
}

/* Length of what is quoted by that character, quotes included; to the end if it is not closed. */
static size_t
quoted_len(const char *text, const char *end, char quote, bool backslashes)
{
	const char *next = text + 1;

	for (; next < end; next++)
	{
		if (backslashes && *next == '\\' && next + 1 < end)
			next++;
		else if (*next == quote)
		{
			if (next + 1 == end || next[1] != quote)
				return next + 1 - text;
			next++;
		}
	}
	return end - text;
}

/* Length of the tag that begins a string in dollars, dollars included; 0 if there is none. */
static size_t
dollar_tag_len(const char *text, const char *end)
{
	const char *next = text + 1;

	if (*text != '$' || (next < end && isdigit((unsigned char) *next)))
		return 0;
	while (next < end && is_word(*next))
		next++;
	return next < end && *next == '$' ? next + 1 - text : 0;
}

static size_t
dollar_len(const char *text, const char *end, size_t tag)
{
	for (const char *next = text + tag; next + tag <= end; next++)
	{
		if (strncmp(next, text, tag) == 0)
			return next + tag - text;
	}
	return end - text;
}

static bool
is_secret_option(const char *name, size_t len)
{
	return (len == strlen("api_key") && pg_strncasecmp(name, "api_key", len) == 0) ||
		(len == strlen("tls_client_key_data") && pg_strncasecmp(name, "tls_client_key_data", len) == 0) ||
		(len > strlen("grpc_meta_") && pg_strncasecmp(name, "grpc_meta_", strlen("grpc_meta_")) == 0);
}

/* Append a string, which may be a statement itself; true if that has a secret. */
static bool
append_string(StringInfo out, const char *text, size_t len, size_t open, bool doubled, int depth)
{
	const char *body = text + open;
	const char *end = text + len - Min(open, len - open);
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
		appendBinaryStringInfo(out, text, (int) len);
		return false;
	}
	appendBinaryStringInfo(out, text, (int) open);
	for (const char *c = masked; *c != '\0'; c++)
	{
		appendStringInfoChar(out, *c);
		if (doubled && *c == '\'')
			appendStringInfoChar(out, *c);
	}
	appendBinaryStringInfo(out, end, (int) (text + len - end));
	return true;
}

/*
 * The text without secrets, or NULL if there are none in it.  Long because all
 * kinds of tokens move the same few words of memory of what came before.
 */
static char *
mask(const char *text, size_t len, int depth)
{
	const char *end = text + len;
	StringInfoData out;
	bool		after_user = false;
	bool		in_mapping = false;
	bool		after_secret = false;
	bool		found = false;

	check_stack_depth();
	initStringInfo(&out);
	while (text < end)
	{
		size_t		n = blank_len(text, end);
		size_t		open = 0;
		bool		backslashes = false;

		if (n > 0)
		{
			appendBinaryStringInfo(&out, text, (int) n);
			text += n;
			continue;
		}

		/* a string, perhaps with a prefix such as E or U& */
		if (end - text > 1 && strchr("eEbBxXnN", *text) != NULL && text[1] == '\'')
		{
			backslashes = (*text == 'e' || *text == 'E');
			open = 2;
		}
		else if (end - text > 2 && (*text == 'u' || *text == 'U') && text[1] == '&' && text[2] == '\'')
			open = 3;
		else if (*text == '\'')
			open = 1;
		if (open > 0)
			n = open - 1 + quoted_len(text + open - 1, end, '\'', backslashes);
		else if ((open = dollar_tag_len(text, end)) > 0)
			n = dollar_len(text, end, open);
		if (open > 0)
		{
			bool		dollars = (*text == '$');

			if (after_secret)
			{
				appendStringInfoString(&out, "<hidden>");
				found = true;
			}
			else
				found |= append_string(&out, text, n, open, !dollars, depth);
			after_user = after_secret = false;
			text += n;
			continue;
		}

		/* a name, or any other character */
		if (*text == '"')
		{
			n = quoted_len(text, end, '"', false);
			after_secret = in_mapping && n > 2 && is_secret_option(text + 1, n - 2);
			after_user = false;
		}
		else if (is_word(*text))
		{
			for (n = 1; text + n < end && (is_word(text[n]) || text[n] == '$'); n++)
				;
			in_mapping |= after_user && n == 7 && pg_strncasecmp(text, "mapping", n) == 0;
			after_user = (n == 4 && pg_strncasecmp(text, "user", n) == 0);
			after_secret = in_mapping && is_secret_option(text, n);
		}
		else
		{
			n = 1;
			in_mapping &= (*text != ';');
			after_user = after_secret = false;
		}
		appendBinaryStringInfo(&out, text, (int) n);
		text += n;
	}
	if (found)
		return out.data;
	pfree(out.data);
	return NULL;
}

char *
tc_statement_mask(const char *text)
{
	return mask(text, strlen(text), 0);
}
