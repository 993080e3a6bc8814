/*-------------------------------------------------------------------------
 *
 * fuzz_mask.c
 *	  Fuzzes statement_mask.c: statements of anybody, about to be logged.
 *
 * What comes out is as long as what goes in, but for the secrets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "server/statement_mask.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *str = palloc(size + 1);
	char	   *masked;

	memcpy(str, data, size);
	str[size] = '\0';
	masked = tc_statement_mask(str);
	CHECK(masked == NULL || strstr(masked, "<hidden>") != NULL);
	fuzz_reset();
	return 0;
}
