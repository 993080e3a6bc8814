/*-------------------------------------------------------------------------
 *
 * json_read.c
 *	  An answer in JSON, taken for what gRPC would have said.
 *
 * cJSON parses it, into a tree that is many times as large as the text can be:
 * how many values there are, and how deep they are, is counted before.  The
 * message is encoded as protobuf, which is what those who asked can read.
 * Nothing here raises errors.
 *
 * Source: the JSON mapping of proto3, which allows for numbers, booleans and
 * names that the other side writes in another way than expected.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <openssl/evp.h>
#include <time.h>

#include "wire/json_read.h"

/* A page of a history has some dozen values an event; each takes 64 bytes of the tree. */
#define MAX_VALUES 400000
#define MAX_DEPTH 64

/* A length in front of a message that is not known yet: five bytes, as a varint may have */
#define LENGTH_SIZE 5

static const char *bounds_problem(const char *text, size_t len);
static void read_error(const cJSON *json, JsonAnswerRead *read);
static bool add_message(JsonBuffer *buffer, const JsonMessage *message, const cJSON *json);
static bool add_value(JsonBuffer *buffer, const JsonField *field, const cJSON *json);
static void add_varint(JsonBuffer *buffer, uint64 value);
static void add_tag(JsonBuffer *buffer, uint32 number, int wire_type);
static void add_bytes(JsonBuffer *buffer, uint32 number, const void *bytes, size_t len);
static bool add_map(JsonBuffer *buffer, uint32 number, const cJSON *json);
static bool add_base64(JsonBuffer *buffer, uint32 number, const char *text);
static bool add_timestamp(JsonBuffer *buffer, uint32 number, const char *text);
static bool add_duration(JsonBuffer *buffer, uint32 number, const char *text);
static int32 read_fraction(const char **text);
static void add_time(JsonBuffer *buffer, uint32 number, int64 seconds, int32 nanos);
static size_t begin_message(JsonBuffer *buffer, uint32 number);
static void end_message(JsonBuffer *buffer, size_t begin);

JsonAnswer
tc_json_read(const char *text, size_t len, const JsonMessage *reply, JsonAnswerRead *read)
{
	cJSON	   *json;
	const char *end = text;
	JsonAnswer	answer = JSON_NEITHER;

	read->message[0] = '\0';
	read->problem = bounds_problem(text, len);
	if (read->problem != NULL)
		return JSON_NEITHER;

	json = cJSON_ParseWithLengthOpts(text, len, &end, false);
	while (end < text +len && isspace((unsigned char) *end))
		end++;
	read->is_object = cJSON_IsObject(json) && end == text +len;

	if (!read->is_object)
		read->problem = "the answer is not a JSON object";
	else if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(json, "code")))
	{
		read_error(json, read);
		answer = JSON_ERROR;
	}
	else if (!add_message(&read->reply, reply, json))
		read->problem = "the answer has values of another type than expected";
	else if (read->reply.failed)
		read->problem = "the reply is too large";
	else
		answer = JSON_REPLY;
	cJSON_Delete(json);
	return answer;
}

/*
 * How many values can there be, and how deep?  What is no JSON is left to the
 * parser.
 */
static const char *
bounds_problem(const char *text, size_t len)
{
	int			values = 1;
	int			depth = 0;
	bool		in_string = false;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (in_string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		switch (c)
		{
			case '"':
				in_string = true;
				break;
			case '{':
			case '[':
				depth++;
				values++;
				break;
			case '}':
			case ']':
				depth--;
				break;
			case ',':
				values++;
				break;
		}
		if (values > MAX_VALUES)
			return "the reply is too large";
		if (depth > MAX_DEPTH)
			return "the answer is nested too deeply";
	}
	return NULL;
}

/* A google.rpc.Status */
static void
read_error(const cJSON *json, JsonAnswerRead *read)
{
	double		code = cJSON_GetObjectItemCaseSensitive(json, "code")->valuedouble;
	const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));
	const cJSON *details = cJSON_GetObjectItemCaseSensitive(json, "details");
	const char *type;

	/* none that gRPC knows: UNKNOWN */
	read->status = code >= 1 && code <= 16 ? (int) code : 2;
	strlcpy(read->message, message != NULL ? message : "", sizeof(read->message));
	read->has_details = cJSON_GetArraySize(details) > 0;
	type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(details, 0),
																 "@type"));
	if (type != NULL && strrchr(type, '.') != NULL)
		strlcpy(read->detail_type, strrchr(type, '.') + 1, sizeof(read->detail_type));
}

/* False if a value is of another type than the field. */
static bool
add_message(JsonBuffer *buffer, const JsonMessage *message, const cJSON *json)
{
	for (const JsonField *field = message->fields; field->name != NULL; field++)
	{
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, field->name);
		const cJSON *item;

		if (value == NULL || cJSON_IsNull(value))
			continue;
		if (!field->repeated)
		{
			if (!add_value(buffer, field, value))
				return false;
			continue;
		}
		if (!cJSON_IsArray(value))
			return false;
		cJSON_ArrayForEach(item, value)
		{
			if (!add_value(buffer, field, item))
				return false;
		}
	}
	return true;
}

static bool
add_value(JsonBuffer *buffer, const JsonField *field, const cJSON *json)
{
	const char *text = cJSON_GetStringValue(json);
	size_t		begin;
	int			place = 0;
	char	   *end;
	int64		number;

	switch (field->kind)
	{
		case JSON_TEXT:
			if (text !=NULL)
				add_bytes(buffer, field->number, text, strlen(text));
			return text !=NULL;

		case JSON_BYTES:
			return text !=NULL && add_base64(buffer, field->number, text);

		case JSON_BOOL:
			add_tag(buffer, field->number, 0);
			add_varint(buffer, cJSON_IsTrue(json) ? 1 : 0);
			return cJSON_IsBool(json);

		case JSON_INT32:
		case JSON_INT64:
			if (text !=NULL)
			{
				number = strtoll(text, &end, 10);
				if (end == text ||*end != '\0')
					return false;
			}
			else if (cJSON_IsNumber(json) && fabs(json->valuedouble) < 9e15)
				number = (int64) json->valuedouble;
			else
				return false;
			add_tag(buffer, field->number, 0);
			add_varint(buffer, (uint64) number);
			return true;

		case JSON_ENUM:
			/* a name that is not known is none of those that are asked for */
			while (text !=NULL && field->names[place] != NULL &&
				   strcmp(field->names[place], text) != 0)
				place++;
			if (text == NULL && cJSON_IsNumber(json))
				place = json->valuedouble >= 0 && json->valuedouble < 1000 ?
					(int) json->valuedouble : 1000;
			else if (text == NULL)
				return false;
			add_tag(buffer, field->number, 0);
			add_varint(buffer, place);
			return true;

		case JSON_TIMESTAMP:
			return text !=NULL && add_timestamp(buffer, field->number, text);

		case JSON_MESSAGE:
			if (!cJSON_IsObject(json))
				return false;
			begin = begin_message(buffer, field->number);
			if (!add_message(buffer, field->message, json))
				return false;
			end_message(buffer, begin);
			return true;

		case JSON_DURATION:
			return text !=NULL && add_duration(buffer, field->number, text);

		case JSON_MAP:
			return cJSON_IsObject(json) && add_map(buffer, field->number, json);
	}
	return false;
}

static void
add_varint(JsonBuffer *buffer, uint64 value)
{
	uint8		bytes[10];
	int			len = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[len++] = (uint8) (value | 0x80);
	bytes[len++] = (uint8) value;
	tc_json_add(buffer, bytes, len);
}

static void
add_tag(JsonBuffer *buffer, uint32 number, int wire_type)
{
	add_varint(buffer, number << 3 | wire_type);
}

static void
add_bytes(JsonBuffer *buffer, uint32 number, const void *bytes, size_t len)
{
	add_tag(buffer, number, 2);
	add_varint(buffer, len);
	tc_json_add(buffer, bytes, len);
}

/* Of text and bytes: a message of key and value for each */
static bool
add_map(JsonBuffer *buffer, uint32 number, const cJSON *json)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, json)
	{
		size_t		begin = begin_message(buffer, number);

		add_bytes(buffer, 1, item->string, strlen(item->string));
		if (!cJSON_IsString(item) || !add_base64(buffer, 2, item->valuestring))
			return false;
		end_message(buffer, begin);
	}
	return true;
}

/* Of either alphabet, padded or not */
static bool
add_base64(JsonBuffer *buffer, uint32 number, const char *text)
{
	size_t		len = strlen(text);
	size_t		padded = (len + 3) / 4 * 4;
	JsonBuffer	copy = {.max = padded + 1};
	uint8	   *bytes = tc_json_room(&copy, padded + 1);
	int			decoded = -1;

	while (len > 0 && text[len - 1] == '=')
		len--;
	if (bytes != NULL && len % 4 != 1)
	{
		padded = (len + 3) / 4 * 4;
		for (size_t i = 0; i < padded; i++)
			bytes[i] = i >= len ? '=' : text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];

		/* in place: what is written is behind what was read */
		decoded = EVP_DecodeBlock(bytes, bytes, (int) padded);
		if (decoded >= 0)
			add_bytes(buffer, number, bytes, decoded - (padded - len));
	}
	free(copy.bytes);
	return decoded >= 0;
}

/* As in 2026-11-26T17:00:00.123456789Z, always in UTC */
static bool
add_timestamp(JsonBuffer *buffer, uint32 number, const char *text)
{
	struct tm	tm = {0};
	int			length = 0;
	int32		nanos;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &length) != 6 || length == 0)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	text	  +=length;

	nanos = read_fraction(&text);
	if (strcmp(text, "Z") != 0)
		return false;
	add_time(buffer, number, (int64) timegm(&tm), nanos);
	return true;
}

/* As in 1.500s, never negative where it is read */
static bool
add_duration(JsonBuffer *buffer, uint32 number, const char *text)
{
	char	   *rest;
	int64		seconds;
	int32		nanos;

	if (*text <'0' || *text >'9')
		return false;
	seconds = strtoll(text, &rest, 10);
	text = rest;

	nanos = read_fraction(&text);
	if (strcmp(text, "s") != 0)
		return false;
	add_time(buffer, number, seconds, nanos);
	return true;
}

/* Billionths of a second, if there are some; *text goes on behind them. */
static int32
read_fraction(const char **text)
{
	const char *next = *text;
	int32		nanos = 0;
	int32		unit = 100000000;

	if (*next != '.')
		return 0;
	for (next++; *next >= '0' && *next <= '9'; next++)
	{
		nanos += (*next - '0') * unit;
		unit /= 10;
	}
	*text = next;
	return nanos;
}

/* A Timestamp or a Duration */
static void
add_time(JsonBuffer *buffer, uint32 number, int64 seconds, int32 nanos)
{
	size_t		begin = begin_message(buffer, number);

	add_tag(buffer, 1, 0);
	add_varint(buffer, (uint64) seconds);
	add_tag(buffer, 2, 0);
	add_varint(buffer, (uint64) nanos);
	end_message(buffer, begin);
}

/* Where a message within a message begins: its length is put in at its end. */
static size_t
begin_message(JsonBuffer *buffer, uint32 number)
{
	static const uint8 no_length[LENGTH_SIZE] = {0};

	add_tag(buffer, number, 2);
	tc_json_add(buffer, no_length, LENGTH_SIZE);
	return buffer->len;
}

static void
end_message(JsonBuffer *buffer, size_t begin)
{
	size_t		len = buffer->len - begin;

	if (buffer->failed)
		return;
	for (int i = 0; i < LENGTH_SIZE; i++)
	{
		buffer->bytes[begin - LENGTH_SIZE + i] =
			(uint8) ((len & 0x7F) | (i < LENGTH_SIZE - 1 ? 0x80 : 0));
		len >>= 7;
	}
}
