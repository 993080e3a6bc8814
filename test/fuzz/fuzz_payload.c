/*-------------------------------------------------------------------------
 *
 * fuzz_payload.c
 *	  Fuzzes payload.c: what is taken for a payload is one to protobuf-c, too,
 *	  and says the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "backend.h"
#include "request/payload.h"
#include "temporal.pb-c.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PayloadParts parts;
	PayloadEntry entry;
	const uint8 *position = NULL;
	int			nentries = 0;
	Temporal__Payload *theirs;

	if (!tc_payload_read(data, size, &parts))
		return 0;
	fuzz_check_span(data, size, parts.encoding);
	fuzz_check_span(data, size, parts.data);
	CHECK(parts.encoding.len > 0);

	theirs = temporal__payload__unpack(NULL, size, data);
	CHECK(theirs != NULL);
	CHECK(theirs->data.len == parts.data.len);
	CHECK(parts.data.len == 0 || memcmp(theirs->data.data, parts.data.bytes, parts.data.len) == 0);

	while (tc_payload_next_entry(data, size, &position, &entry))
	{
		fuzz_check_span(data, size, entry.key);
		fuzz_check_span(data, size, entry.value);
		CHECK(nentries < (int) theirs->n_metadata);
		CHECK(theirs->metadata[nentries]->value.len == entry.value.len);
		nentries++;
	}
	CHECK(nentries == parts.nentries && nentries == (int) theirs->n_metadata);
	temporal__payload__free_unpacked(theirs, NULL);
	return 0;
}
