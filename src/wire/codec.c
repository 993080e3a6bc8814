/*-------------------------------------------------------------------------
 *
 * codec.c
 *	  Codec servers: where payloads are posted, and what is answered.
 *
 * Tables, and texts that are put together.  Nothing here raises errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel_error.h"
#include "wire/codec.h"
#include "wire/json_write.h"

#define NAMESPACE_IN_PATH "{namespace}"

/* The first row in whose range a status is counts. */
static const struct
{
	int			first;
	int			last;
	CodecVerdict verdict;
	const char *code;			/* of CODEC_CLOSED */
	bool		needs_operator;
}			statuses[] =

{
	{200, 200, CODEC_OK, NULL, false},
	{300, 399, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true}, /* not followed */
	{401, 401, CODEC_CLOSED, TC_CODEC_UNAUTHENTICATED, true},
	{403, 403, CODEC_CLOSED, TC_CODEC_UNAUTHENTICATED, true},
	/* of a wrong URL */
	{404, 405, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true},
	{407, 407, CODEC_CLOSED, TC_CODEC_UNAUTHENTICATED, true},
	{408, 408, CODEC_FAILED, NULL, false},
	{410, 410, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true},
	{415, 415, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true},
	{421, 421, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true},
	{426, 426, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true},
	{429, 429, CODEC_CLOSED, TC_CODEC_UNAVAILABLE, false},
	{400, 499, CODEC_REFUSED, NULL, false},
	{500, 500, CODEC_STUMBLED, NULL, false},
	{501, 501, CODEC_CLOSED, TC_CODEC_CONFIGURATION, true},
	{503, 503, CODEC_CLOSED, TC_CODEC_UNAVAILABLE, false},
	{500, 599, CODEC_FAILED, NULL, false},
};

CodecVerdict
tc_codec_verdict(long http_status)
{
	for (int i = 0; i < lengthof(statuses); i++)
		if (http_status >= statuses[i].first && http_status <= statuses[i].last)
			return statuses[i].verdict;
	return CODEC_NONSENSE;
}

void
tc_codec_closed(long http_status, const char *address, ChannelError *error)
{
	for (int i = 0; i < lengthof(statuses); i++)
	{
		if (http_status < statuses[i].first || http_status > statuses[i].last)
			continue;
		tc_channel_error(error, statuses[i].code, statuses[i].needs_operator,
						 "the codec server at \"%s\" answers with HTTP status %ld", address,
						 http_status);
		return;
	}
}

const char *
tc_codec_result_code(const CallResult *result)
{
	if (result->fate != CALL_ANSWERED)
		return TC_CODEC_UNAVAILABLE;
	switch ((CodecVerdict) result->grpc_status)
	{
		case CODEC_OK:
		case CODEC_GARBLED:
		case CODEC_NONSENSE:
			return TC_CODEC_BAD_ANSWER;
		case CODEC_REFUSED:
			return TC_CODEC_IS_REFUSED;
		case CODEC_STUMBLED:
		case CODEC_FAILED:
		case CODEC_CLOSED:
			break;
	}
	return TC_CODEC_UNAVAILABLE;
}

const char *
tc_codec_channel_code(const char *code)
{
	if (strncmp(code, "CODEC_", 6) == 0)
		return code;
	if (strcmp(code, TC_ERROR_TLS_FAILED) == 0)
		return TC_CODEC_TLS_FAILED;
	if (strcmp(code, TC_ERROR_CONFIGURATION) == 0)
		return TC_CODEC_CONFIGURATION;
	return TC_CODEC_UNAVAILABLE;
}

void
tc_codec_write_path(JsonBuffer *buffer, const ChannelOptions *options, const Call *call)
{
	const char *name = call->namespace_name != NULL ? call->namespace_name : "";
	ProtoSpan	namespace_name = {(const uint8 *) name, strlen(name)};
	const char *next;

	for (const char *rest = options->codec_path; *rest != '\0'; rest = next)
	{
		next = strstr(rest, NAMESPACE_IN_PATH);
		if (next == NULL)
			next = rest + strlen(rest);
		tc_json_add(buffer, rest, next - rest);
		if (*next == '\0')
			break;
		tc_json_write_percent(buffer, namespace_name);
		next += strlen(NAMESPACE_IN_PATH);
	}
	tc_json_add(buffer, call->path, strlen(call->path) + 1);
}

void
tc_codec_write_line(JsonBuffer *buffer, const Call *call)
{
	tc_json_add_text(buffer, "X-Namespace:");
	/* a line without a value is not sent */
	for (const char *c = call->namespace_name; c != NULL && *c != '\0'; c++)
	{
		if ((uint8) *c < ' ' || *c == 0x7F)
		{
			tc_json_add(buffer, "", 1);
			buffer->len = strlen("X-Namespace:");
			break;
		}
		if (c == call->namespace_name)
			tc_json_add_text(buffer, " ");
		tc_json_add(buffer, c, 1);
	}
	tc_json_add(buffer, "", 1);
}
