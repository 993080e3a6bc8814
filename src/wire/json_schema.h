/*-------------------------------------------------------------------------
 *
 * json_schema.h
 *	  Temporal's messages in protobuf and in JSON: which field is which.
 *
 * As far as they are sent or looked at here, and no more of them.  Source:
 * Temporal's public API, and the JSON mapping of proto3.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_JSON_SCHEMA_H
#define TC_JSON_SCHEMA_H

typedef enum JsonKind
{
	JSON_TEXT,
	JSON_BYTES,					/* base64 */
	JSON_BOOL,
	JSON_INT32,
	JSON_INT64,					/* a string */
	JSON_ENUM,					/* read by name */
	JSON_TIMESTAMP,				/* read only */
	JSON_DURATION,				/* written only */
	JSON_MAP,					/* map<string, bytes> */
	JSON_MESSAGE
} JsonKind;

typedef struct JsonMessage JsonMessage;

typedef struct JsonField
{
	const char *name;			/* lowerCamelCase; NULL ends a message */
	uint32		number;
	JsonKind	kind;
	bool		repeated;
	const JsonMessage *message; /* of JSON_MESSAGE */
	const char *const *names;	/* of JSON_ENUM: those of 0, 1, ...; ends with
								 * NULL */
} JsonField;

struct JsonMessage
{
	const JsonField *fields;
};

/* How a method of the workflow service is called over HTTP */
typedef enum HttpGeneration
{
	HTTP_PATHS_2026,			/* from server 1.30.1 on */
	HTTP_PATHS_2023				/* before */
} HttpGeneration;

#define HTTP_GENERATIONS 2

typedef struct HttpMethod
{
	const char *name;			/* as in the path of gRPC */
	bool		is_get;			/* what is not in the path is in the query */

	/*
	 * Below /api/v1, with {names} of fields; the second ones are for a
	 * request without workflowId, if that makes a difference.
	 */
	const char *path[HTTP_GENERATIONS];
	const char *standalone_path[HTTP_GENERATIONS];
	const JsonMessage *request;
	const JsonMessage *reply;
} HttpMethod;

/* By the path of a gRPC call; NULL if there is none. */
extern const HttpMethod *tc_http_method(const char *grpc_path);

#endif							/* TC_JSON_SCHEMA_H */
