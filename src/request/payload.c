/*-------------------------------------------------------------------------
 *
 * payload.c
 *	  One value as Temporal carries it: made, and read again.
 *
 * What is read may come from anybody: from a client in binary form, from a
 * dump.  So nothing is passed on that was not looked at byte by byte; neither
 * JSON nor encodings of the database are known here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "compat.h"
#include "request/payload.h"
#include "temporal.pb-c.h"

/* Numbers of fields, temporal.api.common.v1.Payload */
#define FIELD_METADATA 1
#define FIELD_DATA 2
#define FIELD_KEY 1
#define FIELD_VALUE 2

static bool read_entry(ProtoSpan message, PayloadEntry *entry);
static bool key_stands_before(const uint8 *message, const uint8 *end, ProtoSpan key);
static bool is_utf8(ProtoSpan span);

bool
tc_payload_read(const uint8 *message, size_t len, PayloadParts *parts)
{
	ProtoReader reader;
	ProtoField	field;
	const uint8 *begin = message;

	memset(parts, 0, sizeof(*parts));
	tc_proto_begin(&reader, message, len);
	while (tc_proto_next(&reader, &field))
	{
		PayloadEntry entry;

		if (tc_proto_is(&field, FIELD_DATA, PROTO_BYTES) && parts->data.bytes == NULL)
			parts->data = field.span;
		else if (tc_proto_is(&field, FIELD_METADATA, PROTO_BYTES) &&
				 parts->nentries < TC_METADATA_MAX &&
				 read_entry(field.span, &entry) && is_utf8(entry.key) &&
				 !key_stands_before(message, begin, entry.key))
		{
			if (tc_span_is(entry.key, TC_ENCODING_KEY, strlen(TC_ENCODING_KEY)))
				parts->encoding = entry.value;
			parts->nentries++;
		}
		else
			return false;
		begin = reader.next;
	}
	return !reader.malformed && parts->encoding.len > 0;
}

/* A missing key or value is an empty one. */
static bool
read_entry(ProtoSpan message, PayloadEntry *entry)
{
	ProtoReader reader;
	ProtoField	field;

	memset(entry, 0, sizeof(*entry));
	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, FIELD_KEY, PROTO_BYTES) && entry->key.bytes == NULL)
			entry->key = field.span;
		else if (tc_proto_is(&field, FIELD_VALUE, PROTO_BYTES) && entry->value.bytes == NULL)
			entry->value = field.span;
		else
			return false;
	}
	return !reader.malformed;
}

/* Of what is said twice readers might believe the first or the last. */
static bool
key_stands_before(const uint8 *message, const uint8 *end, ProtoSpan key)
{
	const uint8 *position = NULL;
	PayloadEntry entry;

	while (tc_payload_next_entry(message, end - message, &position, &entry))
	{
		if (tc_span_is(entry.key, key.bytes, key.len))
			return true;
	}
	return false;
}

/* Of a message with another string in it Temporal reads nothing. */
static bool
is_utf8(ProtoSpan span)
{
	return pg_encoding_verifymbstr(PG_UTF8, (const char *) span.bytes, (int) span.len) == (int) span.len;
}

bool
tc_payload_is_json(const PayloadParts *parts)
{
	return parts->nentries == 1 && tc_span_is(parts->encoding, TC_ENCODING_JSON, strlen(TC_ENCODING_JSON));
}

bool
tc_payload_next_entry(const uint8 *message, size_t len, const uint8 **position, PayloadEntry *entry)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, message, len);
	if (*position != NULL)
		reader.next = *position;
	while (tc_proto_next(&reader, &field))
	{
		if (!tc_proto_is(&field, FIELD_METADATA, PROTO_BYTES))
			continue;
		*position = reader.next;
		return read_entry(field.span, entry);
	}
	return false;
}

Payload *
tc_payload_make(const char *encoding, const char *data, size_t len,
				const PayloadEntry *entries, int nentries)
{
	Temporal__Payload message = TEMPORAL__PAYLOAD__INIT;
	Temporal__Payload__MetadataEntry *list = palloc(sizeof(*list) * (nentries + 1));
	Temporal__Payload__MetadataEntry **pointers = palloc(sizeof(*pointers) * (nentries + 1));
	Payload    *payload;
	size_t		size;

	for (int i = 0; i <= nentries; i++)
	{
		temporal__payload__metadata_entry__init(&list[i]);
		pointers[i] = &list[i];
		if (i == 0)
		{
			list[i].key = TC_ENCODING_KEY;
			list[i].value.data = (uint8 *) encoding;
			list[i].value.len = strlen(encoding);
		}
		else
		{
			list[i].key = pnstrdup((const char *) entries[i - 1].key.bytes, entries[i - 1].key.len);
			list[i].value.data = (uint8 *) entries[i - 1].value.bytes;
			list[i].value.len = entries[i - 1].value.len;
		}
	}
	message.n_metadata = nentries + 1;
	message.metadata = pointers;
	message.data.data = (uint8 *) data;
	message.data.len = len;

	size = temporal__payload__get_packed_size(&message);
	payload = palloc(VARHDRSZ + size);
	SET_VARSIZE(payload, VARHDRSZ + size);
	temporal__payload__pack(&message, (uint8 *) VARDATA(payload));
	pfree(list);
	pfree(pointers);
	return payload;
}
