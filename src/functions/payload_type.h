/*-------------------------------------------------------------------------
 *
 * payload_type.h
 *	  The SQL type temporal.payload: its casts, for other entry points.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PAYLOAD_TYPE_H
#define TC_PAYLOAD_TYPE_H

#include "fmgr.h"

#include "request/payload.h"

/* One argument that is not null; returns a Payload. */
extern PGDLLEXPORT Datum tc_payload_from_jsonb(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum tc_payload_from_json(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum tc_payload_from_bytea(PG_FUNCTION_ARGS);

#endif							/* TC_PAYLOAD_TYPE_H */
