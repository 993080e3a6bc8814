/*-------------------------------------------------------------------------
 *
 * backend.c
 *	  Stand-ins for what the fuzzed files need of a PostgreSQL backend.
 *
 * As little as possible, and nothing that would hide a fault: each palloc is
 * a malloc of its own, so that AddressSanitizer sees its bounds.  What can be
 * had from libpgcommon and libpgport is taken from there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "backend.h"
#include "process/wakeup.h"

sigjmp_buf *fuzz_catch = NULL;
char		fuzz_error[8192];

Oid			MyDatabaseId = 5;

/*---------------------------------------------------------------------------
 * Memory
 *---------------------------------------------------------------------------
 */

typedef struct Chunk
{
	dlist_node	node;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} Chunk;

static dlist_head chunks = DLIST_STATIC_INIT(chunks);

void *
palloc(Size size)
{
	Chunk	   *chunk = malloc(offsetof(Chunk, bytes) + size);

	CHECK(chunk != NULL);
	dlist_push_tail(&chunks, &chunk->node);
	return chunk->bytes;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) ((char *) pointer - offsetof(Chunk, bytes));

	dlist_delete(&chunk->node);
	chunk = realloc(chunk, offsetof(Chunk, bytes) + size);
	CHECK(chunk != NULL);
	dlist_push_tail(&chunks, &chunk->node);
	return chunk->bytes;
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) ((char *) pointer - offsetof(Chunk, bytes));

	dlist_delete(&chunk->node);
	free(chunk);
}

char *
pstrdup(const char *string)
{
	return strcpy(palloc(strlen(string) + 1), string);
}

char *
pnstrdup(const char *string, Size len)
{
	char	   *copy = palloc(strnlen(string, len) + 1);

	copy[strnlen(string, len)] = '\0';
	return memcpy(copy, string, strnlen(string, len));
}

void *
palloc_extended(Size size, int flags)
{
	CHECK((flags & MCXT_ALLOC_NO_OOM) == 0);
	return (flags & MCXT_ALLOC_ZERO) ? palloc0(size) : palloc(size);
}

void
fuzz_reset(void)
{
	while (!dlist_is_empty(&chunks))
		free(dlist_container(Chunk, node, dlist_pop_head_node(&chunks)));
	fuzz_error[0] = '\0';
}

/*---------------------------------------------------------------------------
 * Errors
 *---------------------------------------------------------------------------
 */

bool
errstart(int elevel, const char *domain)
{
	CHECK(elevel >= ERROR);
	fuzz_error[0] = '\0';
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (fuzz_catch == NULL)
	{
		fprintf(stderr, "ereport at %s:%d: %s\n", filename, lineno, fuzz_error);
		abort();
	}
	siglongjmp(*fuzz_catch, 1);
}

/* Append a text to the last error. */
static void
note(const char *format, va_list args)
{
	size_t		len = strlen(fuzz_error);

	vsnprintf(fuzz_error + len, sizeof(fuzz_error) - len, format, args);
}

#define NOTE_FUNCTION(function) \
int \
function(const char *format,...) \
{ \
	va_list		args; \
\
	va_start(args, format); \
	note(format, args); \
	va_end(args); \
	return 0; \
}

NOTE_FUNCTION(errmsg)
NOTE_FUNCTION(errmsg_internal)
NOTE_FUNCTION(errdetail)
NOTE_FUNCTION(errhint)

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errhidestmt(bool hide_stmt)
{
	return 0;
}

/*---------------------------------------------------------------------------
 * Identities and encodings
 *---------------------------------------------------------------------------
 */

char *
get_database_name(Oid dbid)
{
	return pstrdup("fuzz");
}

uint64
GetSystemIdentifier(void)
{
	return UINT64CONST(7000000000000000001);
}

int
pg_encoding_mbcliplen(int encoding, const char *str, int len, int limit)
{
	int			clipped = 0;

	while (clipped < len && clipped + pg_encoding_mblen(encoding, str + clipped) <= limit)
		clipped += pg_encoding_mblen(encoding, str + clipped);
	return clipped;
}

bool
IsTransactionState(void)
{
	return true;
}

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

bool
pg_verify_mbstr(int encoding, const char *mbstr, int len, bool no_error)
{
	return pg_encoding_verifymbstr(encoding, mbstr, len) == len;
}

/* Of other databases than UTF8 ones, which are not fuzzed */
Oid
FindDefaultConversionProc(int32 for_encoding, int32 to_encoding)
{
	return InvalidOid;
}

int
pg_do_encoding_conversion_buf(Oid proc, int src_encoding, int dest_encoding,
							  unsigned char *src, int srclen,
							  unsigned char *dest, int destlen, bool noError)
{
	abort();
}

static char *
number_to_text(uint64 value, bool negative, char *buf)
{
	return buf + sprintf(buf, negative ? "-" UINT64_FORMAT : UINT64_FORMAT, value);
}

int
pg_lltoa(int64 value, char *buf)
{
	return number_to_text(value < 0 ? 0 - (uint64) value : value, value < 0, buf) - buf;
}

int
pg_ulltoa_n(uint64 value, char *buf)
{
	return number_to_text(value, false, buf) - buf;
}

int
pg_ultoa_n(uint32 value, char *buf)
{
	return number_to_text(value, false, buf) - buf;
}

/*---------------------------------------------------------------------------
 * Options
 *---------------------------------------------------------------------------
 */

bool
parse_bool(const char *value, bool *result)
{
	*result = pg_strcasecmp(value, "true") == 0 || pg_strcasecmp(value, "on") == 0;
	return *result || pg_strcasecmp(value, "false") == 0 || pg_strcasecmp(value, "off") == 0;
}

/* Whole numbers, with a unit of time or without */
bool
parse_int(const char *value, int *result, int flags, const char **hintmsg)
{
	static const struct
	{
		const char *name;
		int64		ms;
	}			units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
	char	   *end;
	int64		number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (end == value || errno != 0 || number > PG_INT32_MAX || number < PG_INT32_MIN)
		return false;
	while (*end == ' ')
		end++;
	for (int i = 0; *end != '\0' && flags != 0 && i < lengthof(units); i++)
	{
		if (strcmp(end, units[i].name) != 0)
			continue;
		number = number * units[i].ms / (flags == GUC_UNIT_S ? 1000 : 1);
		end += strlen(end);
	}
	*result = (int) number;
	return *end == '\0' && number == *result;
}

Oid
GetUserId(void)
{
	return 10;
}

bool
has_privs_of_role(Oid member, Oid role)
{
	return true;
}

/* The validator of options is handed a List, not an array of text. */
List *
untransformRelOptions(Datum options)
{
	return (List *) DatumGetPointer(options);
}

char *
defGetString(DefElem *def)
{
	return strVal(def->arg);
}

void
tc_look_at_options_at_commit(void)
{
}

void
check_stack_depth(void)
{
}
