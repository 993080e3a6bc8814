/*-------------------------------------------------------------------------
 *
 * foreign_text.c
 *	  Text that comes from the other side, as text of this database.
 *
 * What a server says is UTF-8 at best, and may be made to do harm: cut in the
 * middle of a character, no UTF-8 at all, a line that looks like one of the
 * log's, or what drives a terminal.  It is carried as it came, and goes
 * through here on its way to a column, to a session or to the log.
 *
 * A conversion is looked up in a catalog, so it takes a transaction; there,
 * and never beneath the wire, is the place to call what is here.  Nothing is
 * refused: what cannot be shown becomes '?'.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/string.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/foreign_text.h"

/* Longest words that are shown, in UTF-8; those of Temporal are shorter */
#define MAX_WORDS 1000

static char *valid_utf8(const char *utf8, size_t len, size_t max_bytes);
static char *from_utf8(char *valid);
static char *convert_whole(const char *str, int len, int from, int to);
static char *convert(const char *str, int from, int to);
static void clean(char *valid);
static bool is_control(pg_wchar c);
static size_t whole_characters(const char *utf8, size_t len);

char *
tc_utf8_to_server(const char *utf8, size_t len, size_t max_bytes)
{
	return from_utf8(valid_utf8(utf8, len, max_bytes));
}

char *
tc_words_to_server(const char *utf8)
{
	char	   *valid = valid_utf8(utf8, whole_characters(utf8, strlen(utf8)), MAX_WORDS);

	clean(valid);
	return from_utf8(valid);
}

void
tc_words_copy(char *buf, size_t size, const char *utf8)
{
	char	   *words = tc_words_to_server(utf8);
	int			encoding = GetDatabaseEncoding() == PG_SQL_ASCII ? PG_UTF8 : GetDatabaseEncoding();
	int			len = pg_encoding_mbcliplen(encoding, words, (int) strlen(words), (int) size - 1);

	memcpy(buf, words, len);
	buf[len] = '\0';
	pfree(words);
}

char *
tc_words_from_server(const char *str)
{
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return pstrdup(str);
	return convert(str, GetDatabaseEncoding(), PG_UTF8);
}

char *
tc_utf8_from_server(char *str)
{
	int			len = (int) strlen(str);

	if (GetDatabaseEncoding() == PG_UTF8)
		return str;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return pg_verify_mbstr(PG_UTF8, str, len, true) ? str : NULL;
	return convert_whole(str, len, GetDatabaseEncoding(), PG_UTF8);
}

char *
tc_utf8_as_text(const char *utf8, size_t len)
{
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return pnstrdup(utf8, len);
	return convert_whole(utf8, (int) len, PG_UTF8, GetDatabaseEncoding());
}

/* All of a valid text, or NULL */
static char *
convert_whole(const char *str, int len, int from, int to)
{
	Oid			proc = FindDefaultConversionProc(from, to);
	Size		size = (Size) len * MAX_CONVERSION_GROWTH + 1;
	char	   *result;

	if (!OidIsValid(proc))
		return NULL;
	result = palloc_extended(size, MCXT_ALLOC_HUGE);
	if (pg_do_encoding_conversion_buf(proc, from, to,
									  (unsigned char *) unconstify(char *, str), len,
									  (unsigned char *) result, (int) size, true) != len)
		return NULL;
	return result;
}

/* A copy in which each byte that is no part of valid UTF-8 is '?'. */
static char *
valid_utf8(const char *utf8, size_t len, size_t max_bytes)
{
	size_t		limit = Min(len, max_bytes);
	char	   *valid = palloc(limit + 1);
	size_t		n = 0;

	for (size_t i = 0; i < limit;)
	{
		int			mblen = pg_encoding_mblen(PG_UTF8, utf8 + i);

		/* a character that max_bytes would cut is left out */
		if (i + mblen > limit && i + mblen <= len)
			break;

		if (i + mblen > limit || utf8[i] == '\0' ||
			!pg_utf8_islegal((const unsigned char *) utf8 + i, mblen))
		{
			valid[n++] = '?';
			i++;
			continue;
		}
		memcpy(valid + n, utf8 + i, mblen);
		n += mblen;
		i += mblen;
	}
	valid[n] = '\0';
	return valid;
}

/* Valid UTF-8 in the encoding of this database. */
static char *
from_utf8(char *valid)
{
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII ||
		pg_is_ascii(valid))
		return valid;
	return convert(valid, PG_UTF8, GetDatabaseEncoding());
}

/* Character by character: one that has no equivalent becomes '?'. */
static char *
convert(const char *str, int from, int to)
{
	Oid			proc = InvalidOid;
	int			len = (int) strlen(str);
	StringInfoData result;
	char		out[MAX_CONVERSION_GROWTH * MAX_MULTIBYTE_CHAR_LEN + 1];

	if (IsTransactionState())
		proc = FindDefaultConversionProc(from, to);

	initStringInfo(&result);
	while (len > 0)
	{
		int			mblen = pg_encoding_verifymbchar(from, str, len);

		if (mblen == 1 && !IS_HIGHBIT_SET(*str))
			appendStringInfoChar(&result, *str);
		else if (mblen > 0 && OidIsValid(proc) &&
				 pg_do_encoding_conversion_buf(proc, from, to,
											   (unsigned char *) unconstify(char *, str), mblen,
											   (unsigned char *) out, sizeof(out),
											   true) == mblen)
			appendStringInfoString(&result, out);
		else
			appendStringInfoChar(&result, '?');
		mblen = Max(mblen, 1);
		str += mblen;
		len -= mblen;
	}
	return result.data;
}

/* Replace control characters, in place: it gets no longer. */
static void
clean(char *valid)
{
	char	   *out = valid;

	for (const char *in = valid; *in != '\0';)
	{
		int			mblen = pg_encoding_mblen(PG_UTF8, in);

		if (*in == '\t' || *in == '\n' || *in == '\r')
			*out++ = ' ';
		else if (is_control(utf8_to_unicode((const unsigned char *) in)))
			*out++ = '?';
		else
		{
			memmove(out, in, mblen);
			out += mblen;
		}
		in += mblen;
	}
	*out = '\0';
}

/* Controls of terminals, separators of lines, what turns text around */
static bool
is_control(pg_wchar c)
{
	return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x061C ||
		c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
		(c >= 0x2066 && c <= 0x2069);
}

/* Length without the beginning of a character that ends too soon */
static size_t
whole_characters(const char *utf8, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++)
	{
		unsigned char c = utf8[len - back];

		if ((c & 0xC0) == 0x80)
			continue;			/* not its first byte */
		return c >= 0xC0 && pg_encoding_mblen(PG_UTF8, utf8 + len - back) > (int) back ? len - back : len;
	}
	return len;
}
