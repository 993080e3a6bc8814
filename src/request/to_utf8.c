/*-------------------------------------------------------------------------
 *
 * to_utf8.c
 *	  Texts as Temporal takes them.
 *
 * The bytes are never put into a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "compat.h"
#include "request/to_utf8.h"

char *
tc_string_to_utf8(const char *name, char *string, int len)
{
	if (GetDatabaseEncoding() == PG_UTF8)
		return string;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		if (!pg_verify_mbstr(PG_UTF8, string, len, true))
			ereport(ERROR,
					(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
					 errmsg("%s is not valid UTF-8", name),
					 errdetail("Temporal takes UTF-8 only, and the encoding of this database, SQL_ASCII, does not say how to convert."),
					 errhint("Convert the text to UTF-8.")));
		return string;
	}
	return pg_server_to_any(string, len, PG_UTF8);
}

char *
tc_text_to_utf8(const char *name, const text *value)
{
	if (value == NULL)
		return "";
	return tc_string_to_utf8(name, text_to_cstring(value), VARSIZE_ANY_EXHDR(value));
}
