/*-------------------------------------------------------------------------
 *
 * payload.h
 *	  One value as Temporal carries it: data, and metadata that says how the
 *	  data is to be read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PAYLOAD_H
#define TC_PAYLOAD_H

#include "base/proto_reader.h"

/* Values of the metadata "encoding" that have a meaning here; SDKs know others. */
#define TC_ENCODING_KEY "encoding"
#define TC_ENCODING_JSON "json/plain"
#define TC_ENCODING_BINARY "binary/plain"

/*
 * Entries of the metadata, the encoding included.  SDKs make two or three;
 * each is compared with all before it.
 */
#define TC_METADATA_MAX 256

/*
 * A value of the SQL type temporal.payload is a varlena with an encoded
 * Payload message (temporal.api.common.v1), ready to be sent.  It has an
 * encoding, and where that is json/plain and there is no other metadata its
 * data is JSON in UTF-8.
 */
typedef struct varlena Payload;

#define DatumGetPayloadPP(d) ((Payload *) PG_DETOAST_DATUM_PACKED(d))
#define PG_GETARG_PAYLOAD_PP(n) DatumGetPayloadPP(PG_GETARG_DATUM(n))

/* An entry of the metadata; the value may be any bytes */
typedef struct PayloadEntry
{
	ProtoSpan	key;
	ProtoSpan	value;
} PayloadEntry;

/* What a payload says; spans point into it */
typedef struct PayloadParts
{
	ProtoSpan	encoding;
	ProtoSpan	data;
	int			nentries;		/* of the metadata, the encoding included */
} PayloadParts;

/*
 * Read an encoded Payload message.  False if the bytes are none, have no
 * encoding, say a thing twice, have too many entries, or something in them that
 * is not known here.  Allocates nothing, raises nothing; whether data is what its encoding
 * says is not looked at.
 */
extern bool tc_payload_read(const uint8 *message, size_t len, PayloadParts *parts);

/* Is that JSON with nothing but its encoding in the metadata? */
extern bool tc_payload_is_json(const PayloadParts *parts);

/*
 * The entries of the metadata after *position, which is NULL at first; false
 * behind the last one.  Only for what tc_payload_read() has read.
 */
extern bool tc_payload_next_entry(const uint8 *message, size_t len, const uint8 **position,
								  PayloadEntry *entry);

/*
 * A payload of that encoding and data; entries are more metadata, of which there
 * must be less than TC_METADATA_MAX.  palloc'd.
 * Raises an error only where it gets larger than memory may be.
 */
extern Payload *tc_payload_make(const char *encoding, const char *data, size_t len,
								const PayloadEntry *entries, int nentries);

#endif							/* TC_PAYLOAD_H */
