/*-------------------------------------------------------------------------
 *
 * payload_json.h
 *	  Payloads of JSON.
 *
 * palloc'd; an error is raised where JSON cannot be UTF-8.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PAYLOAD_JSON_H
#define TC_PAYLOAD_JSON_H

#include "utils/jsonb.h"

#include "request/payload.h"

/* Of a text in this database's encoding that is JSON for certain, as it is */
extern Payload *tc_payload_of_json_text(char *json, size_t len);

/* The same without the blanks between values, which are taken out in place */
extern Payload *tc_payload_of_json(char *json);

extern Payload *tc_payload_of_jsonb(Jsonb *value);

#endif							/* TC_PAYLOAD_JSON_H */
