/*-------------------------------------------------------------------------
 *
 * fuzz_reply.c
 *	  Fuzzes grpc_reply.c: status, content type, message, error details.
 *
 * The first byte says how much room there is for texts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "backend.h"
#include "wire/grpc_reply.h"

/* Is it UTF-8, apart from its end, which may be a whole character only? */
static bool
is_utf8(const char *str, size_t len)
{
	return pg_encoding_verifymbstr(PG_UTF8, str, (int) len) == (int) len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t		room;
	char	   *str;
	char	   *whole;
	size_t		len;
	char		timeout[GRPC_TIMEOUT_SIZE];
	int			timeout_ms = 0;
	int			status;

	if (size < 1)
		return 0;
	room = data[0] + 1;
	data++;
	size--;

	status = tc_grpc_status((const char *) data, size);
	CHECK(status >= GRPC_STATUS_OK && status <= GRPC_STATUS_UNAUTHENTICATED);
	CHECK(status != GRPC_STATUS_OK || (size >= 1 && size <= 2 && data[0] == '0'));
	tc_grpc_content_type((const char *) data, size);

	str = malloc(room);
	whole = malloc(size + 1);
	CHECK(str != NULL && whole != NULL);
	len = tc_grpc_message((const char *) data, size, str, room);
	CHECK(len < room && str[len] == '\0' && strlen(str) == len);
	CHECK(tc_grpc_message((const char *) data, size, whole, size + 1) <= size);
	CHECK(strncmp(whole, str, len) == 0);

	/* A message is cut between characters. */
	if (is_utf8(whole, strlen(whole)))
		CHECK(is_utf8(str, len));

	tc_grpc_detail_type((const char *) data, size, str, room);
	CHECK(strlen(str) < room);
	for (char *c = str; *c != '\0'; c++)
		CHECK((*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
			  (*c >= 'a' && *c <= 'z') || *c == '_');
	free(str);
	free(whole);

	status = tc_grpc_status_of_http((int) size);
	CHECK(status > GRPC_STATUS_OK && status <= GRPC_STATUS_UNAUTHENTICATED);

	memcpy(&timeout_ms, data, Min(size, sizeof(timeout_ms)));
	len = tc_grpc_timeout(timeout_ms, timeout);
	CHECK(len == strlen(timeout) && len >= 2 && len <= 9);
	return 0;
}
