/*-------------------------------------------------------------------------
 *
 * one_payload.h
 *	  Values within a message that is encoded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ONE_PAYLOAD_H
#define TC_ONE_PAYLOAD_H

#include "request/payload.h"
#include "temporal.pb-c.h"

/* A Payloads message with one payload, to which it points */
typedef struct OnePayload
{
	Temporal__Payloads payloads;
	ProtobufCBinaryData payload;
} OnePayload;

/*
 * NULL stays NULL, so that the field is left out: SDKs built on Temporal's
 * core stop working if a result holds any other number of payloads than one.
 */
static inline Temporal__Payloads *
tc_one_payload(Payload *value, OnePayload *buf)
{
	if (value == NULL)
		return NULL;
	buf->payload.data = (uint8 *) VARDATA_ANY(value);
	buf->payload.len = VARSIZE_ANY_EXHDR(value);
	temporal__payloads__init(&buf->payloads);
	buf->payloads.n_payloads = 1;
	buf->payloads.payloads = &buf->payload;
	return &buf->payloads;
}

#endif							/* TC_ONE_PAYLOAD_H */
