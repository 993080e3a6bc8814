/*-------------------------------------------------------------------------
 *
 * grpc_reply.c
 *	  Reading what a gRPC server answers: status, message, error details.
 *
 * The input comes from the network and may be anything: every read is
 * bounded, nothing is allocated, no error is raised.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md, doc/http-grpc-status-mapping.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "base/proto_reader.h"
#include "wire/grpc_reply.h"

/*
 * Error details are looked at this far.  google.rpc.Status has the message
 * before them, so this bounds its length.
 */
#define MAX_DETAILS 8192

/* google.rpc.Status.details, google.protobuf.Any.type_url */
#define STATUS_DETAILS 3
#define ANY_TYPE_URL 1

static int	hex_digit(char c);
static size_t decode_base64(const char *in, size_t len, uint8 *out, size_t size);
static bool find_field(ProtoSpan message, uint32 number, ProtoSpan *value);

int
tc_grpc_status(const char *value, size_t len)
{
	int			status = 0;

	if (len < 1 || len > 2)
		return GRPC_STATUS_UNKNOWN;
	for (size_t i = 0; i < len; i++)
	{
		if (!isdigit((unsigned char) value[i]))
			return GRPC_STATUS_UNKNOWN;
		status = status * 10 + (value[i] - '0');
	}
	return status <= GRPC_STATUS_UNAUTHENTICATED ? status : GRPC_STATUS_UNKNOWN;
}

int
tc_grpc_status_of_http(int http_status)
{
	switch (http_status)
	{
		case 400:
			return GRPC_STATUS_INTERNAL;
		case 401:
			return GRPC_STATUS_UNAUTHENTICATED;
		case 403:
			return GRPC_STATUS_PERMISSION_DENIED;
		case 404:
			return GRPC_STATUS_UNIMPLEMENTED;
		case 429:
		case 502:
		case 503:
		case 504:
			return GRPC_STATUS_UNAVAILABLE;
		default:
			return GRPC_STATUS_UNKNOWN;
	}
}

bool
tc_grpc_content_type(const char *value, size_t len)
{
	static const char grpc[] = "application/grpc";
	size_t		n = sizeof(grpc) - 1;

	return len >= n && pg_strncasecmp(value, grpc, n) == 0 &&
		(len == n || value[n] == '+' || value[n] == ';' || value[n] == ' ');
}

size_t
tc_grpc_message(const char *value, size_t len, char *out, size_t size)
{
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = value[i];

		if (c == '%' && i + 2 < len && hex_digit(value[i + 1]) >= 0 && hex_digit(value[i + 2]) >= 0)
		{
			c = (unsigned char) (hex_digit(value[i + 1]) << 4 | hex_digit(value[i + 2]));
			i += 2;
		}
		if (n + 1 >= size)
		{
			/* Give up the bytes of a character that goes on. */
			if ((c & 0xC0) == 0x80)
			{
				while (n > 0 && ((unsigned char) out[n - 1] & 0xC0) == 0x80)
					n--;
				if (n > 0)
					n--;
			}
			break;
		}
		out[n++] = c ? c : '?';
	}
	out[n] = '\0';
	return n;
}

void
tc_grpc_detail_type(const char *value, size_t len, char *out, size_t size)
{
	uint8		status[MAX_DETAILS];
	ProtoSpan	message = {status, decode_base64(value, len, status, sizeof(status))};
	ProtoSpan	detail;
	ProtoSpan	url;
	size_t		start;

	out[0] = '\0';
	if (!find_field(message, STATUS_DETAILS, &detail) ||
		!find_field(detail, ANY_TYPE_URL, &url))
		return;

	for (start = url.len; start > 0; start--)
	{
		unsigned char c = url.bytes[start - 1];

		if (!isalnum(c) && c != '_')
			break;
	}
	if (url.len - start >= size)
		return;
	memcpy(out, url.bytes + start, url.len - start);
	out[url.len - start] = '\0';
}

size_t
tc_grpc_timeout(int timeout_ms, char *out)
{
	/* at most 8 digits are allowed */
	if (timeout_ms < 1)
		timeout_ms = 1;
	if (timeout_ms <= 99999999)
		return snprintf(out, GRPC_TIMEOUT_SIZE, "%dm", timeout_ms);
	return snprintf(out, GRPC_TIMEOUT_SIZE, "%dS", timeout_ms / 1000);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Decode base64, of either alphabet and with or without padding, up to the
 * first byte that is none or as far as it fits.  Returns the length.
 */
static size_t
decode_base64(const char *in, size_t len, uint8 *out, size_t size)
{
	uint32		bits = 0;
	int			nbits = 0;
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		char		c = in[i];
		int			v;

		if (c >= 'A' && c <= 'Z')
			v = c - 'A';
		else if (c >= 'a' && c <= 'z')
			v = c - 'a' + 26;
		else if (c >= '0' && c <= '9')
			v = c - '0' + 52;
		else if (c == '+' || c == '-')
			v = 62;
		else if (c == '/' || c == '_')
			v = 63;
		else
			break;
		bits = (bits << 6 | v) & 0xFFFF;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			if (n >= size)
				break;
			out[n++] = (bits >> nbits) & 0xFF;
		}
	}
	return n;
}

/*
 * The first field of that number, with bytes, in a protobuf message.  The
 * message may be cut off: of its last field, what is there is taken.
 */
static bool
find_field(ProtoSpan message, uint32 number, ProtoSpan *value)
{
	ProtoReader reader;
	ProtoField	field;

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &field))
	{
		if (tc_proto_is(&field, number, PROTO_BYTES))
		{
			*value = field.span;
			return true;
		}
	}
	if (!reader.malformed || field.span.bytes == NULL ||
		!tc_proto_is(&field, number, PROTO_BYTES))
		return false;
	*value = field.span;
	return true;
}
