/*-------------------------------------------------------------------------
 *
 * replies.c
 *	  What the replies of Temporal say.
 *
 * They are read where they lie; nothing in them raises an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/proto_reader.h"
#include "request/replies.h"

#define HEARTBEAT_CANCEL_REQUESTED 1
#define HEARTBEAT_ACTIVITY_PAUSED 2
#define HEARTBEAT_ACTIVITY_RESET 3
#define SYSTEM_INFO_SERVER_VERSION 1

bool
tc_heartbeat_reply_decode(const uint8 *reply, size_t len, HeartbeatReply *result)
{
	ProtoReader reader;
	ProtoField	field;

	memset(result, 0, sizeof(HeartbeatReply));

	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, HEARTBEAT_CANCEL_REQUESTED, PROTO_VARINT))
			result->cancel_requested = (field.varint != 0);
		else if (tc_proto_is(&field, HEARTBEAT_ACTIVITY_PAUSED, PROTO_VARINT))
			result->activity_paused = (field.varint != 0);
		else if (tc_proto_is(&field, HEARTBEAT_ACTIVITY_RESET, PROTO_VARINT))
			result->activity_reset = (field.varint != 0);
	}
	return !reader.malformed;
}

char *
tc_system_info_decode(const uint8 *reply, size_t len)
{
	ProtoReader reader;
	ProtoField	field;
	ProtoSpan	version = {NULL, 0};
	char	   *copy;

	tc_proto_begin(&reader, reply, len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, SYSTEM_INFO_SERVER_VERSION, PROTO_BYTES))
			version = field.span;
	}
	if (reader.malformed || version.len == 0)
		return NULL;
	copy = palloc(version.len + 1);
	memcpy(copy, version.bytes, version.len);
	copy[version.len] = '\0';
	return copy;
}
