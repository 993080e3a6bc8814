/*-------------------------------------------------------------------------
 *
 * backend.h
 *	  Stand-ins for what the fuzzed files need of a PostgreSQL backend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_BACKEND_H
#define FUZZ_BACKEND_H

#include <setjmp.h>

#include "base/proto_reader.h"

/* What libFuzzer calls */
extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Where ereport(ERROR) goes.  Without it an error is a finding: most of what
 * is fuzzed promises to raise none.  The texts of the last one are kept.
 */
extern sigjmp_buf *fuzz_catch;
extern char fuzz_error[8192];

/* Free all that was palloc'd. */
extern void fuzz_reset(void);

/* A finding, if the condition does not hold */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* Does a span lie in the message that was read? */
static inline void
fuzz_check_span(const uint8 *message, size_t len, ProtoSpan span)
{
	if (span.bytes == NULL)
		CHECK(span.len == 0);
	else
		CHECK(span.bytes >= message && span.len <= len && span.bytes + span.len <= message + len);
}

#endif							/* FUZZ_BACKEND_H */
