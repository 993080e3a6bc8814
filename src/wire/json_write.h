/*-------------------------------------------------------------------------
 *
 * json_write.h
 *	  A call as HTTP has it: from an encoded request to path, query and JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_JSON_WRITE_H
#define TC_JSON_WRITE_H

#include "base/proto_reader.h"
#include "wire/json_buffer.h"
#include "wire/json_schema.h"

/*
 * Path and query of a call, zero-terminated, from /api/v1 on; and the body of
 * one that is no GET.  See their buffers' failed.  False if there is no such
 * path: Temporal's server splits what is between slashes only after it has
 * undone escapes, so an id with a slash is not to be had in a path.
 */
extern bool tc_json_write_path(JsonBuffer *buffer, const HttpMethod *method,
							   HttpGeneration generation, const uint8 *message, size_t len);
extern void tc_json_write_body(JsonBuffer *buffer, const HttpMethod *method,
							   const uint8 *message, size_t len);

/* As a part of a URL: whatever is not sure to have no meaning of its own is escaped. */
extern void tc_json_write_percent(JsonBuffer *buffer, ProtoSpan span);

#endif							/* TC_JSON_WRITE_H */
