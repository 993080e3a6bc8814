/*-------------------------------------------------------------------------
 *
 * json_write.c
 *	  A call as HTTP has it: from an encoded request to path, query and JSON.
 *
 * The request is one of our own making, read where it lies and written in one
 * go: values may be megabytes.  Nothing here raises errors.
 *
 * Source: the JSON mapping of proto3; paths, see json_schema.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "base/proto_reader.h"
#include "wire/json_write.h"

#define PREFIX "/api/v1"

/* Messages within each other; a failure has causes */
#define MAX_DEPTH 64

/* Longest dotted name of a field */
#define NAME_SIZE 64

static void write_message(JsonBuffer *buffer, const JsonMessage *message, ProtoSpan span);
static void write_field(JsonBuffer *buffer, const JsonField *field, ProtoSpan message);
static void write_value(JsonBuffer *buffer, const JsonField *field, const ProtoField *value);
static void write_map(JsonBuffer *buffer, const JsonField *field, ProtoSpan message);
static void write_string(JsonBuffer *buffer, ProtoSpan span);
static void write_base64(JsonBuffer *buffer, ProtoSpan span);
static void write_duration(JsonBuffer *buffer, ProtoSpan span);
static void write_query(JsonBuffer *buffer, const char *path, const char *prefix,
						const JsonMessage *message, ProtoSpan span);
static bool find(const JsonMessage *message, const char *name, size_t name_len, ProtoSpan span,
				 ProtoSpan *value);
static bool last_of(const JsonField *field, ProtoSpan message, ProtoField *value);

bool
tc_json_write_path(JsonBuffer *buffer, const HttpMethod *method, HttpGeneration generation,
				   const uint8 *message, size_t len)
{
	ProtoSpan	span = {message, len};
	ProtoSpan	value;
	const char *path = method->path[generation];
	const char *next;

	if (method->standalone_path[generation] != NULL &&
		!find(method->request, "workflowId", strlen("workflowId"), span, &value))
		path = method->standalone_path[generation];

	tc_json_add_text(buffer, PREFIX);
	for (const char *rest = path; *rest != '\0'; rest = next)
	{
		next = rest + strcspn(rest, "{");
		tc_json_add(buffer, rest, next - rest);
		if (*next == '\0')
			break;
		rest = next + 1;
		next = strchr(rest, '}');
		if (find(method->request, rest, next - rest, span, &value))
		{
			if (memchr(value.bytes, '/', value.len) != NULL)
				return false;
			tc_json_write_percent(buffer, value);
		}
		next++;
	}
	if (method->is_get)
		write_query(buffer, path, "", method->request, span);
	tc_json_add(buffer, "", 1);
	return true;
}

void
tc_json_write_body(JsonBuffer *buffer, const HttpMethod *method, const uint8 *message, size_t len)
{
	ProtoSpan	span = {message, len};

	write_message(buffer, method->request, span);
}

static void
write_message(JsonBuffer *buffer, const JsonMessage *message, ProtoSpan span)
{
	bool		first = true;

	if (++buffer->depth > MAX_DEPTH)
		buffer->failed = true;
	if (buffer->failed)
		return;
	tc_json_add_text(buffer, "{");
	for (const JsonField *field = message->fields; field->name != NULL; field++)
	{
		ProtoField	value;

		if (!last_of(field, span, &value))
			continue;
		if (!first)
			tc_json_add_text(buffer, ",");
		first = false;
		tc_json_add_text(buffer, "\"");
		tc_json_add_text(buffer, field->name);
		tc_json_add_text(buffer, "\":");
		if (field->repeated)
			write_field(buffer, field, span);
		else if (field->kind == JSON_MAP)
			write_map(buffer, field, span);
		else
			write_value(buffer, field, &value);
	}
	tc_json_add_text(buffer, "}");
	buffer->depth--;
}

/* All values of a repeated field */
static void
write_field(JsonBuffer *buffer, const JsonField *field, ProtoSpan message)
{
	ProtoReader reader;
	ProtoField	value;
	const char *separator = "[";

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &value))
	{
		if (value.number != field->number)
			continue;
		tc_json_add_text(buffer, separator);
		separator = ",";
		write_value(buffer, field, &value);
	}
	tc_json_add_text(buffer, "]");
}

static void
write_value(JsonBuffer *buffer, const JsonField *field, const ProtoField *value)
{
	char		number[32];

	switch (field->kind)
	{
		case JSON_TEXT:
			write_string(buffer, value->span);
			break;
		case JSON_BYTES:
			tc_json_add_text(buffer, "\"");
			write_base64(buffer, value->span);
			tc_json_add_text(buffer, "\"");
			break;
		case JSON_BOOL:
			tc_json_add_text(buffer, value->varint != 0 ? "true" : "false");
			break;
		case JSON_INT32:
		case JSON_ENUM:
			snprintf(number, sizeof(number), "%d", (int32) value->varint);
			tc_json_add_text(buffer, number);
			break;
		case JSON_INT64:
			snprintf(number, sizeof(number), "\"" INT64_FORMAT "\"", (int64) value->varint);
			tc_json_add_text(buffer, number);
			break;
		case JSON_DURATION:
			write_duration(buffer, value->span);
			break;
		case JSON_MESSAGE:
			write_message(buffer, field->message, value->span);
			break;
		case JSON_TIMESTAMP:
		case JSON_MAP:
			buffer->failed = true;	/* none is sent so */
			break;
	}
}

/* A map is a repeated message of key and value. */
static void
write_map(JsonBuffer *buffer, const JsonField *field, ProtoSpan message)
{
	static const JsonField key = {"key", 1, JSON_TEXT, false, NULL, NULL};
	static const JsonField bytes = {"value", 2, JSON_BYTES, false, NULL, NULL};
	ProtoReader reader;
	ProtoField	entry;
	ProtoField	part;
	const char *separator = "{";

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &entry))
	{
		if (entry.number != field->number)
			continue;
		tc_json_add_text(buffer, separator);
		separator = ",";
		if (!last_of(&key, entry.span, &part))
			part.span.len = 0;
		write_string(buffer, part.span);
		tc_json_add_text(buffer, ":\"");
		if (last_of(&bytes, entry.span, &part))
			write_base64(buffer, part.span);
		tc_json_add_text(buffer, "\"");
	}
	tc_json_add_text(buffer, "}");
}

static void
write_string(JsonBuffer *buffer, ProtoSpan span)
{
	size_t		done = 0;

	tc_json_add_text(buffer, "\"");
	for (size_t i = 0; i < span.len; i++)
	{
		uint8		c = span.bytes[i];
		char		escape[8];

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		tc_json_add(buffer, span.bytes + done, i - done);
		done = i + 1;
		/* short where there are many: the server takes 4 MB */
		if (c >= ' ')
			snprintf(escape, sizeof(escape), "\\%c", c);
		else
			snprintf(escape, sizeof(escape), "\\u%04x", c);
		tc_json_add_text(buffer, escape);
	}
	tc_json_add(buffer, span.bytes + done, span.len - done);
	tc_json_add_text(buffer, "\"");
}

static void
write_base64(JsonBuffer *buffer, ProtoSpan span)
{
	/* with a zero byte at the end */
	uint8	   *room = tc_json_room(buffer, (span.len + 2) / 3 * 4 + 1);

	if (room != NULL && span.len > 0)
		buffer->len += EVP_EncodeBlock(room, span.bytes, (int) span.len);
}

static void
write_duration(JsonBuffer *buffer, ProtoSpan span)
{
	static const JsonField seconds = {"seconds", 1, JSON_INT64, false, NULL, NULL};
	static const JsonField nanos = {"nanos", 2, JSON_INT32, false, NULL, NULL};
	ProtoField	value;
	int64		s = 0;
	int32		ns = 0;
	char text[	48];

	if (last_of(&seconds, span, &value))
		s = (int64) value.varint;
	if (last_of(&nanos, span, &value))
		ns = (int32) value.varint;
	/* both have the same sign */
	snprintf(text, sizeof(text), "\"%s" INT64_FORMAT ".%09ds\"",
			 s < 0 || ns < 0 ? "-" : "", s < 0 ? -s : s, ns < 0 ? -ns : ns);
	tc_json_add_text(buffer, text);
}

/*
 * What the path does not have, as name=value; fields of messages as
 * message.field=value.
 */
static void
write_query(JsonBuffer *buffer, const char *path, const char *prefix, const JsonMessage *message,
			ProtoSpan span)
{
	for (const JsonField *field = message->fields; field->name != NULL; field++)
	{
		ProtoField	value;
		char		name[NAME_SIZE];
		char		placeholder[NAME_SIZE + 2];

		if (!last_of(field, span, &value))
			continue;
		snprintf(name, sizeof(name), "%s%s", prefix, field->name);
		if (field->kind == JSON_MESSAGE)
		{
			char		inner[NAME_SIZE];

			snprintf(inner, sizeof(inner), "%.62s.", name);
			write_query(buffer, path, inner, field->message, value.span);
			continue;
		}
		snprintf(placeholder, sizeof(placeholder), "{%s}", name);
		if (strstr(path, placeholder) != NULL)
			continue;

		tc_json_add_text(buffer, memchr(buffer->bytes, '?', buffer->len) ? "&" : "?");
		tc_json_add_text(buffer, name);
		tc_json_add_text(buffer, "=");
		if (field->kind == JSON_TEXT)
			tc_json_write_percent(buffer, value.span);
		else if (field->kind == JSON_BYTES)
		{
			JsonBuffer	base64 = {.max = buffer->max};
			ProtoSpan	encoded;

			write_base64(&base64, value.span);
			encoded.bytes = base64.bytes;
			encoded.len = base64.len;
			tc_json_write_percent(buffer, encoded);
			buffer->failed |= base64.failed;
			free(base64.bytes);
		}
		else
			write_value(buffer, field, &value);
	}
}

void
tc_json_write_percent(JsonBuffer *buffer, ProtoSpan span)
{
	/* names that are paths */
	bool		dots = span.len > 0 && span.len <= 2 && memcmp(span.bytes, "..", span.len) == 0;

	for (size_t i = 0; i < span.len; i++)
	{
		uint8		c = span.bytes[i];
		char		escape[8];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '_' || c == '~' || (c == '.' && !dots))
			tc_json_add(buffer, &c, 1);
		else
		{
			snprintf(escape, sizeof(escape), "%%%02X", c);
			tc_json_add_text(buffer, escape);
		}
	}
}

/* The text that a name such as execution.workflowId stands for; false if it is not there or empty. */
static bool
find(const JsonMessage *message, const char *name, size_t name_len, ProtoSpan span,
	 ProtoSpan *value)
{
	const char *dot = memchr(name, '.', name_len);
	size_t		len = dot != NULL ? dot - name : name_len;

	for (const JsonField *field = message->fields; field->name != NULL; field++)
	{
		ProtoField	found;

		if (strlen(field->name) != len || strncmp(field->name, name, len) != 0)
			continue;
		if (!last_of(field, span, &found))
			return false;
		if (dot != NULL)
			return field->kind == JSON_MESSAGE &&
				find(field->message, dot + 1, name_len - len - 1, found.span, value);
		*value = found.span;
		return found.span.len > 0;
	}
	return false;
}

/* The last value of a field, which is the one that counts. */
static bool
last_of(const JsonField *field, ProtoSpan message, ProtoField *value)
{
	ProtoReader reader;
	ProtoField	next;
	bool		is_varint = field->kind == JSON_BOOL || field->kind == JSON_INT32 ||
		field->kind == JSON_INT64 || field->kind == JSON_ENUM;
	bool		found = false;

	tc_proto_begin(&reader, message.bytes, message.len);
	while (tc_proto_next(&reader, &next))
	{
		if (tc_proto_is(&next, field->number, is_varint ? PROTO_VARINT : PROTO_BYTES))
		{
			*value = next;
			found = true;
		}
	}
	return found;
}
