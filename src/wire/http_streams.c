/*-------------------------------------------------------------------------
 *
 * http_streams.c
 *	  Calls over HTTP/JSON that are streams of HTTP/2 sessions (a kind of
 *	  stream_calls.h).
 *
 * Nothing here raises errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/http_headers.h"
#include "wire/http_streams.h"

typedef struct HttpStream
{
	StreamCall	base;			/* must be first */
	int			http_status;
	HttpExchange exchange;
} HttpStream;

/* What a session has besides */
typedef struct HttpStreamSession
{
	HttpHeaders *headers;
	HttpPaths	paths;
} HttpStreamSession;

static StreamCall *unused;

HttpPaths *
tc_http_stream_paths(const StreamSession *session)
{
	return &((HttpStreamSession *) session->own)->paths;
}

static void *
open_session(const StreamSession *session)
{
	HttpStreamSession *own = calloc(1, sizeof(HttpStreamSession));

	if (own != NULL && (own->headers = tc_http_headers_make(session->headers,
															&session->channel->options)) == NULL)
	{
		free(own);
		return NULL;
	}
	return own;
}

static void
close_session(void *arg)
{
	HttpStreamSession *own = arg;

	tc_http_headers_free(own->headers);
	free(own);
}

static int
begin(StreamCall *base, const nghttp2_nv **headers, CallFate *fate)
{
	HttpExchange *exchange = &((HttpStream *) base)->exchange;
	HttpStreamSession *own = base->session->own;
	HttpRequestLine line;

	tc_http_exchange_init(exchange, &base->call);
	((HttpStream *) base)->http_status = 0;
	tc_http_exchange_say(exchange, "call could not be started");
	if (!tc_http_exchange_write(exchange, &base->call, &own->paths, fate))
		return 0;
	base->stream.body[0].data = exchange->body.bytes;
	base->stream.body[0].len = exchange->body.len;
	base->stream.body[1].len = 0;

	line.is_get = exchange->method->is_get;
	line.path = (const char *) exchange->path.bytes;
	line.body_len = exchange->body.len;
	line.timeout_ms = base->call.timeout_ms;
	return tc_http_headers_of_request(own->headers, &line, headers);
}

/* A status of an interim answer is followed by that of the answer itself. */
static void
header(StreamCall *base, const char *name, size_t name_len, const char *value, size_t value_len)
{
	HttpStream *http_stream = (HttpStream *) base;

	if (name_len != strlen(":status") || memcmp(name, ":status", name_len) != 0)
		return;
	http_stream->http_status = 0;
	for (size_t i = 0; i < value_len && i < 3; i++)
		http_stream->http_status = http_stream->http_status * 10 + (value[i] - '0');
}

static bool
data(StreamCall *base, const uint8 *bytes, size_t len)
{
	HttpExchange *exchange = &((HttpStream *) base)->exchange;

	if (tc_http_exchange_data(exchange, bytes, len, &base->channel->held))
		return true;
	base->problem = exchange->problem;
	return false;
}

static CallFate
judge(StreamCall *base)
{
	HttpStream *http_stream = (HttpStream *) base;

	return tc_http_exchange_judge(&http_stream->exchange, http_stream->http_status,
								  tc_http_stream_paths(base->session), base->session->headers);
}

static bool
refuses_credentials(const StreamCall *base)
{
	return tc_http_exchange_refuses_credentials(&((const HttpStream *) base)->exchange);
}

static void
say(StreamCall *base, const char *words)
{
	tc_http_exchange_say(&((HttpStream *) base)->exchange, "%s", words);
}

static void
result(const StreamCall *base, CallFate fate, CallResult *call_result)
{
	tc_http_exchange_result(&((const HttpStream *) base)->exchange, fate, call_result);
}

static void
end(StreamCall *base)
{
	tc_http_exchange_free(&((HttpStream *) base)->exchange, &base->channel->held);
}

const StreamKind tc_http_streams = {
	.call_size = sizeof(HttpStream),
	.unused = &unused,
	.open = open_session,
	.close = close_session,
	.begin = begin,
	.header = header,
	.data = data,
	.judge = judge,
	.refuses_credentials = refuses_credentials,
	.say = say,
	.result = result,
	.end = end
};
