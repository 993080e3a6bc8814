/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  Give a target the inputs of some files, and an empty one, without libFuzzer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "backend.h"

static void replay(const char *name);

int
main(int argc, char **argv)
{
	fprintf(stderr, "the empty input\n");
	LLVMFuzzerTestOneInput((const uint8_t *) "", 0);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%d inputs\n", argc);
	return 0;
}

static void
replay(const char *name)
{
	FILE	   *file = fopen(name, "rb");
	struct stat status;
	uint8_t    *bytes;

	/* said before, as it may be the last that is said */
	fprintf(stderr, "%s\n", name);
	CHECK(file != NULL && fstat(fileno(file), &status) == 0);
	/* of just that size, so that AddressSanitizer sees where it ends */
	bytes = malloc(status.st_size);
	CHECK(fread(bytes, 1, status.st_size, file) == status.st_size);
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, status.st_size);
	free(bytes);
}
