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

/* Of JSON in this database's encoding, of which blanks between values are taken out, in place. */
extern Payload *tc_payload_of_json(char *json);

#endif							/* TC_PAYLOAD_TYPE_H */
