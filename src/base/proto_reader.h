/*-------------------------------------------------------------------------
 *
 * proto_reader.h
 *	  Walks over the fields of an encoded protobuf message where it lies.
 *
 * For the few messages that are read often or come from strangers: nothing
 * is allocated, nothing is copied, nothing is raised, and no byte outside the
 * message is looked at.  Messages are made with protobuf-c, not here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROTO_READER_H
#define TC_PROTO_READER_H

#include "datatype/timestamp.h"

/* Wire types.  Groups (3 and 4) are not part of proto3: they are refused. */
#define PROTO_VARINT 0
#define PROTO_FIXED64 1
#define PROTO_BYTES 2
#define PROTO_FIXED32 5

typedef struct ProtoReader
{
	const uint8 *next;
	const uint8 *end;
	bool		malformed;		/* why tc_proto_next() returned false */
} ProtoReader;

/* Bytes inside of somebody else's message; not zero-terminated */
typedef struct ProtoSpan
{
	const uint8 *bytes;			/* NULL: the field is not there */
	size_t		len;
} ProtoSpan;

/* Are these its bytes?  One that is not there is as an empty one. */
static inline bool
tc_span_is(ProtoSpan span, const void *bytes, size_t len)
{
	return span.len == len && (len == 0 || memcmp(span.bytes, bytes, len) == 0);
}

typedef struct ProtoField
{
	uint32		number;
	uint32		wire_type;
	uint64		varint;			/* PROTO_VARINT */
	ProtoSpan	span;			/* all others */
} ProtoField;

static inline void
tc_proto_begin(ProtoReader *reader, const uint8 *message, size_t len)
{
	reader->next = message;
	reader->end = message + len;
	reader->malformed = false;
}

/* At most ten bytes, seven bits each, least significant first. */
static inline bool
tc_proto_varint(ProtoReader *reader, uint64 *value)
{
	uint64		result = 0;

	for (int shift = 0; shift < 70 && reader->next < reader->end; shift += 7)
	{
		uint8		byte = *reader->next++;

		result |= (uint64) (byte & 0x7F) << (shift < 64 ? shift : 63);
		if ((byte & 0x80) == 0)
		{
			*value = result;
			return true;
		}
	}
	return false;
}

/*
 * The next field.  False at the end of the message, and with
 * reader->malformed set if the bytes are no message.  Of a message that is cut
 * off, the last field may then have bytes: those that are there.
 */
static inline bool
tc_proto_next(ProtoReader *reader, ProtoField *field)
{
	uint64		tag;
	uint64		len;

	if (reader->next >= reader->end)
		return false;

	/* until the field is complete */
	reader->malformed = true;
	field->span.bytes = NULL;
	field->span.len = 0;

	if (!tc_proto_varint(reader, &tag) || tag > PG_UINT32_MAX || tag >> 3 == 0)
		return false;
	field->number = (uint32) (tag >> 3);
	field->wire_type = (uint32) (tag & 7);
	field->varint = 0;

	switch (field->wire_type)
	{
		case PROTO_VARINT:
			if (!tc_proto_varint(reader, &field->varint))
				return false;
			reader->malformed = false;
			return true;
		case PROTO_FIXED64:
			len = 8;
			break;
		case PROTO_FIXED32:
			len = 4;
			break;
		case PROTO_BYTES:
			if (!tc_proto_varint(reader, &len))
				return false;
			break;
		default:
			return false;
	}

	field->span.bytes = reader->next;
	field->span.len = (size_t) Min(len, (uint64) (reader->end - reader->next));
	if (field->span.len < len)
		return false;
	reader->next += len;
	reader->malformed = false;
	return true;
}

/* Is the field that one?  A known number with another wire type is an unknown field. */
static inline bool
tc_proto_is(const ProtoField *field, uint32 number, uint32 wire_type)
{
	return field->number == number && field->wire_type == wire_type;
}

/* A field of a message, the last one of that number; no bytes, or 0, if there is none. */
static inline ProtoSpan
tc_span_field(ProtoSpan message, uint32 number)
{
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	result = {NULL, 0};

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
		if (tc_proto_is(&field, number, PROTO_BYTES))
			result = field.span;
	return result;
}

static inline int64
tc_varint_field(ProtoSpan message, uint32 number)
{
	ProtoReader reader;
	ProtoField	field;
	int64		result = 0;

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
		if (tc_proto_is(&field, number, PROTO_VARINT))
			result = (int64) field.varint;
	return result;
}

/* Fields of google.protobuf's Timestamp and Duration, and seconds that are taken for what is meant */
#define PROTO_TIME_SECONDS 1
#define PROTO_TIME_NANOS 2
#define PROTO_TIME_SECONDS_MAX INT64CONST(100000000000)

/* Microseconds of a Duration, or of a Timestamp since 1970; 0 if there are none, or cannot be meant. */
static inline int64
tc_proto_microseconds(ProtoSpan time)
{
	int64		seconds = tc_varint_field(time, PROTO_TIME_SECONDS);
	int64		nanos = tc_varint_field(time, PROTO_TIME_NANOS);

	if (seconds < 0 || seconds > PROTO_TIME_SECONDS_MAX || nanos < 0 || nanos >= INT64CONST(1000000000))
		return 0;
	return seconds * USECS_PER_SEC + nanos / 1000;
}

/* A Timestamp; 0 if there is none, or one that cannot be meant. */
static inline TimestampTz
tc_proto_time(ProtoSpan timestamp)
{
	int64		since_1970 = tc_proto_microseconds(timestamp);

	if (since_1970 < USECS_PER_SEC)
		return 0;
	return since_1970 - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC;
}

#endif							/* TC_PROTO_READER_H */
