/*-------------------------------------------------------------------------
 *
 * grpc_server.c
 *	  What a server sends, well-formed or not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <nghttp2/nghttp2.h>

#include "backend.h"
#include "grpc_fuzz.h"

/* What is fed at most by one input, and by mere repetition, so that an execution stays short */
#define MAX_FED (10 * 1024 * 1024)
#define MAX_FED_AGAIN (128 * 1024)

static size_t fed;
static size_t fed_again;

void
begin_server(void)
{
	fed = fed_again = 0;
}

static void
feed(Connection *conn, const void *bytes, size_t len)
{
	if (!conn->open || len == 0 || fed + len > MAX_FED)
		return;
	fed += len;
	if (conn->in_start == conn->in_len)
		conn->in_start = conn->in_len = 0;
	if (conn->in_len + len > conn->in_size)
	{
		conn->in_size = 2 * (conn->in_len + len);
		conn->in = realloc(conn->in, conn->in_size);
		CHECK(conn->in != NULL);
	}
	memcpy(conn->in + conn->in_len, bytes, len);
	conn->in_len += len;
}

void
feed_frame(Connection *conn, uint8 type, uint8 flags, uint32 stream, const uint8 *payload, size_t len)
{
	uint8		header[9] = {len >> 16, len >> 8, len, type, flags,
	stream >> 24, stream >> 16, stream >> 8, stream};

	feed(conn, header, sizeof(header));
	feed(conn, payload, len);
}

/* A stream, mostly one that exists */
static uint32
next_stream(Connection *conn)
{
	uint8		byte = next_byte();

	if (byte == 0xFF)
		return next_byte() << 24 | next_byte();
	if (byte == 0xFE || conn->nstreams == 0)
		return byte;
	return 2 * (byte % conn->nstreams) + 1;
}

/* Headers as literals that are not indexed; what they say is noted. */
void
feed_headers(Connection *conn)
{
	static const char *const fields[][2] = {
		{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "0"},
		{":status", NULL}, {"content-type", NULL}, {"grpc-status", NULL},
		{"grpc-message", NULL}, {"grpc-status-details-bin", NULL}, {"content-length", NULL},
		{"grpc-encoding", NULL}, {"x", NULL}, {NULL, NULL}
	};
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	int			nheaders = next_byte() % 12;
	uint8		block[8192];
	size_t		len = 0;

	for (int i = 0; i < nheaders && len + 600 < sizeof(block); i++)
	{
		int			which = next_byte() % lengthof(fields);
		const uint8 *name = (const uint8 *) fields[which][0];
		const uint8 *value = (const uint8 *) fields[which][1];
		size_t		name_len = name ? strlen((const char *) name) :
			next_bytes(&name, next_byte() % 64);
		size_t		value_len = value ? strlen((const char *) value) :
			next_bytes(&value, next_byte());

		if (name_len == strlen("grpc-status") && memcmp(name, "grpc-status", name_len) == 0 &&
			value_len > 0 && value[0] == '0' && stream / 2 < MAX_STREAMS)
			conn->ok[stream / 2] = true;
		block[len++] = 0;
		block[len++] = name_len;
		memcpy(block + len, name, name_len);
		len += name_len;
		if (value_len >= 127)
		{
			block[len++] = 127;
			block[len++] = (value_len - 127) | 0x80;
			block[len++] = (value_len - 127) >> 7;
		}
		else
			block[len++] = value_len;
		memcpy(block + len, value, value_len);
		len += value_len;
	}
	feed_frame(conn, NGHTTP2_HEADERS, (flags & NGHTTP2_FLAG_END_STREAM) |
			   (flags & 0x80 ? 0 : NGHTTP2_FLAG_END_HEADERS), stream, block, len);
}

/* A message of gRPC, with a prefix that may lie */
void
feed_message(Connection *conn)
{
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	size_t		len = next_byte() << ((flags >> 4) & 7);
	uint8		lie = next_byte();
	uint8	   *message = calloc(1, len + 5);

	CHECK(message != NULL);
	message[0] = lie == 1;
	message[1] = lie == 2;
	message[3] = len >> 8;
	message[4] = lie == 3 ? 0 : len;
	feed_frame(conn, NGHTTP2_DATA, flags & NGHTTP2_FLAG_END_STREAM, stream, message, len + 5);
	free(message);
}

/* An answer in JSON, whole or not */
void
feed_json(Connection *conn)
{
	static const char *const answers[] = {
		"{}", "{\"code\":5,\"message\":\"Not Found\",\"details\":[]}", "{\"code\":12}",
		"{\"code\":3,\"message\":\"unknown field\"}", "{\"code\":16,\"message\":\"no\"}", "[", "<html>"
	};
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	const char *answer = answers[next_byte() % lengthof(answers)];

	if (stream / 2 < MAX_STREAMS)
		conn->data[stream / 2] = true;
	feed_frame(conn, NGHTTP2_DATA, flags & NGHTTP2_FLAG_END_STREAM, stream,
			   (const uint8 *) answer, strlen(answer) - (flags & 0x80 ? 1 : 0));
}

static void
disown_from(Connection *conn, uint32 last_stream)
{
	for (uint32 i = 0; i < MAX_STREAMS; i++)
		if (2 * i + 1 > last_stream)
			conn->disowned[i] = true;
}

/* Any frame, well-formed outside */
void
feed_any_frame(Connection *conn)
{
	uint8		type = next_byte();
	uint8		flags = next_byte();
	uint32		stream = next_stream(conn);
	const uint8 *payload;
	size_t		len = next_byte();

	len = next_bytes(&payload, len);
	if (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION)
		conn->raw = true;
	if (type == NGHTTP2_DATA && stream / 2 < MAX_STREAMS)
		conn->data[stream / 2] = true;
	if (type == NGHTTP2_RST_STREAM && stream / 2 < MAX_STREAMS && len >= 4 &&
		payload[3] == NGHTTP2_REFUSED_STREAM)
		conn->disowned[stream / 2] = true;
	if (type == NGHTTP2_GOAWAY && len >= 4)
		disown_from(conn, (payload[0] & 0x7F) << 24 | payload[1] << 16 | payload[2] << 8 | payload[3]);
	feed_frame(conn, type, flags, stream, payload, len);
}

void
feed_goaway(Connection *conn)
{
	uint32		last_stream = next_stream(conn);
	uint8		payload[8] = {last_stream >> 24, last_stream >> 16, last_stream >> 8, last_stream,
	0, 0, 0, next_byte()};

	disown_from(conn, last_stream & 0x7FFFFFFF);
	feed_frame(conn, NGHTTP2_GOAWAY, 0, 0, payload, sizeof(payload));
}

void
feed_settings(Connection *conn)
{
	uint8		payload[6 * 8];
	int			n = next_byte() % 8;

	for (int i = 0; i < n; i++)
	{
		uint8		scale = next_byte();

		memset(payload + 6 * i, 0, 6);
		payload[6 * i + 1] = next_byte();
		payload[6 * i + 2 + scale % 4] = next_byte();
		payload[6 * i + 5] |= scale >> 2;
	}
	feed_frame(conn, NGHTTP2_SETTINGS, 0, 0, payload, 6 * n);
}

/* What is waiting to be received, again and again */
void
feed_again(Connection *conn)
{
	size_t		len = Min(conn->in_len - conn->in_start, 1024);
	int			times = next_byte() << 3;
	uint8		again[1024];

	if (len == 0)
		return;
	memcpy(again, conn->in + conn->in_len - len, len);
	for (; times > 0 && fed_again < MAX_FED_AGAIN; times--)
	{
		feed(conn, again, len);
		fed_again += len;
	}
}

/* Bytes as they are */
void
feed_bytes(Connection *conn)
{
	const uint8 *bytes;
	size_t		len = next_bytes(&bytes, next_byte());

	conn->raw = true;
	feed(conn, bytes, len);
}
