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
static bool find_field(const uint8 *data, size_t len, uint32 number,
					   const uint8 **value, size_t *value_len);
static bool read_varint(const uint8 **pos, const uint8 *end, uint64 *value);

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
	size_t		status_len;
	const uint8 *detail;
	size_t		detail_len;
	const uint8 *url;
	size_t		url_len;
	size_t		start;

	out[0] = '\0';
	status_len = decode_base64(value, len, status, sizeof(status));
	if (!find_field(status, status_len, STATUS_DETAILS, &detail, &detail_len) ||
		!find_field(detail, detail_len, ANY_TYPE_URL, &url, &url_len))
		return;

	for (start = url_len; start > 0; start--)
	{
		unsigned char c = url[start - 1];

		if (!isalnum(c) && c != '_')
			break;
	}
	if (url_len - start >= size)
		return;
	memcpy(out, url + start, url_len - start);
	out[url_len - start] = '\0';
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
 * The first length-delimited field of that number in a protobuf message.
 * The message may be cut off; the field must be whole, unless it is a
 * message whose beginning is enough: it is then as long as what is there.
 */
static bool
find_field(const uint8 *data, size_t len, uint32 number, const uint8 **value, size_t *value_len)
{
	const uint8 *pos = data;
	const uint8 *end = data + len;

	while (pos < end)
	{
		uint64		key;
		uint64		n;

		if (!read_varint(&pos, end, &key))
			return false;
		switch (key & 7)
		{
			case 0:
				if (!read_varint(&pos, end, &n))
					return false;
				break;
			case 1:
				if (end - pos < 8)
					return false;
				pos += 8;
				break;
			case 2:
				if (!read_varint(&pos, end, &n))
					return false;
				if ((key >> 3) == number)
				{
					*value = pos;
					*value_len = Min(n, (uint64) (end - pos));
					return true;
				}
				if (n > (uint64) (end - pos))
					return false;
				pos += n;
				break;
			case 5:
				if (end - pos < 4)
					return false;
				pos += 4;
				break;
			default:
				return false;
		}
	}
	return false;
}

static bool
read_varint(const uint8 **pos, const uint8 *end, uint64 *value)
{
	*value = 0;
	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		byte;

		if (*pos >= end)
			return false;
		byte = *(*pos)++;
		*value |= (uint64) (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}
