/*-------------------------------------------------------------------------
 *
 * http_calls.c
 *	  Calls over HTTP/1.1, which libcurl carries: their requests and ends.
 *
 * What they say, http_exchange.c knows.
 *
 * libcurl sends a request again by itself if a connection that was kept is
 * lost before an answer came, although the first one may have been processed.
 * So each sending is counted, and a second one is forbidden; where libcurl is
 * too old to ask, it gets the body from a callback that cannot go back.  Then
 * it gives up, and the call is ambiguous.
 *
 * Callbacks of calls are run by tc_http_calls_tell() alone, with nothing of
 * libcurl on the stack.  Nothing here raises errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "base/event_loop.h"
#include "wire/channel.h"
#include "wire/channel_error.h"
#include "wire/codec.h"
#include "wire/grpc_reply.h"
#include "wire/http_calls.h"
#include "wire/proxy.h"

/* The server ends a call that takes longer than its timeout; we do so a little later. */
#define DEADLINE_GRACE_MS 500

/* The header of a codec server's request */
#define MAX_LINE 65536

/* Does libcurl ask before it sends a request? */
#define ASKS_BEFORE_SENDING (LIBCURL_VERSION_NUM >= 0x075000)

typedef struct HttpCall
{
	dlist_node	node;			/* in flight, unused, or finished */
	HttpCalls  *calls;
	HttpSession *session;
	Call		call;
	HttpExchange exchange;

	CURL	   *easy;
	size_t		sent;			/* 0 = certainly nothing; else times, or bytes
								 * of the body */
	struct curl_slist timeout;	/* first of the lines */
	char		timeout_text[32];
	JsonBuffer	line;			/* of a codec server, in its place */
	char		error_buffer[CURL_ERROR_SIZE];
	CallFate	fate;			/* once finished */
} HttpCall;

static HttpCall *new_call(HttpSession *session);
static void recycle_call(HttpCall *http_call);
static void free_call(HttpCall *http_call);
static bool write_request(HttpCall *http_call, CallFate *fate);
static bool set_request(HttpCall *http_call);
#if ASKS_BEFORE_SENDING
static int	on_sending(void *arg, char *to, char *from, int to_port, int from_port);
#else
static size_t on_read(char *buffer, size_t size, size_t nitems, void *arg);
static int	on_seek(void *arg, curl_off_t offset, int origin);
#endif
static size_t on_header(char *line, size_t size, size_t nitems, void *arg);
static size_t on_write(char *bytes, size_t size, size_t nitems, void *arg);
static void over(HttpCall *http_call, CURLcode code);
static bool could_not_connect(HttpCall *http_call, CURLcode code);
static CallFate judge(HttpCall *http_call, long http_status);
static CallFate judge_codec(HttpCall *http_call, long http_status);
static void say_who(HttpCall *http_call);
static void finish(HttpCall *http_call, CallFate fate);

void
tc_http_calls_init(HttpCalls *calls)
{
	dlist_init(&calls->finished);
}

bool
tc_http_call_start(HttpCalls *calls, HttpSession *session, const Call *call)
{
	HttpCall   *http_call = session != NULL ? new_call(session) : NULL;
	CallFate	fate = CALL_NOT_PROCESSED;

	if (http_call == NULL)
	{
		CallResult	result = {CALL_NOT_PROCESSED, 0, "call could not be started", "", NULL, 0};

		call->done(call->arg, &result);
		return true;
	}
	http_call->calls = calls;
	http_call->call = *call;
	tc_http_exchange_init(&http_call->exchange, call);
	http_call->line.max = MAX_LINE;
	dlist_push_tail(&session->calls, &http_call->node);
	session->ncalls++;

	tc_http_exchange_say(&http_call->exchange, "call could not be started");
	if (write_request(http_call, &fate) && set_request(http_call) &&
		tc_curl_multi_add(session->multi, http_call->easy))
		return true;
	finish(http_call, fate);
	return false;
}

void
tc_http_calls_take(HttpCalls *calls, HttpSession *session)
{
	CURL	   *easy;
	CURLcode	code;

	while (tc_curl_multi_next(session->multi, &easy, &code))
	{
		HttpCall   *http_call = NULL;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &http_call);
		tc_curl_multi_remove(session->multi, easy);
		over(http_call, code);
	}
}

void
tc_http_calls_abandon(HttpCalls *calls, HttpSession *session)
{
	while (!dlist_is_empty(&session->calls))
	{
		HttpCall   *http_call = dlist_container(HttpCall, node, dlist_head_node(&session->calls));

		tc_curl_multi_remove(session->multi, http_call->easy);
		tc_http_exchange_say(&http_call->exchange, "no answer before the connection was closed");
		finish(http_call, CALL_AMBIGUOUS);
	}
	while (!dlist_is_empty(&session->unused_calls))
		free_call(dlist_container(HttpCall, node, dlist_pop_head_node(&session->unused_calls)));
}

void
tc_http_calls_offer_http2(HttpSession *session)
{
	/* else a request would be sent as one of HTTP/1.1 */
	if (ASKS_BEFORE_SENDING && session->tls.settings != NULL)
		tc_tls_offer(session->tls.settings, TLS_HTTP2_OR_HTTP1);
}

void
tc_http_calls_tell(HttpCalls *calls)
{
	while (!dlist_is_empty(&calls->finished))
	{
		HttpCall   *http_call = dlist_container(HttpCall, node,
												dlist_pop_head_node(&calls->finished));
		CallResult	result;

		tc_http_exchange_result(&http_call->exchange, http_call->fate, &result);
		http_call->call.done(http_call->call.arg, &result);
		recycle_call(http_call);
	}
}

/* With a handle of libcurl that has what all calls have in common */
static HttpCall *
new_call(HttpSession *session)
{
	HttpCall   *http_call;
	CURL	   *easy;
	sigset_t	old;
	bool		ok;

	if (!dlist_is_empty(&session->unused_calls))
		return dlist_container(HttpCall, node, dlist_pop_head_node(&session->unused_calls));
	http_call = calloc(1, sizeof(HttpCall));
	if (http_call == NULL)
		return NULL;
	http_call->session = session;
	tc_curl_enter(&old);
	http_call->easy = easy = curl_easy_init();
	ok = easy != NULL &&
		tc_curl_set_common(easy, session->options, &session->target, &session->tls,
						   http_call->error_buffer);

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)
	SET(CURLOPT_PRIVATE, http_call);
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PATH_AS_IS, 1L);
#if ASKS_BEFORE_SENDING
	SET(CURLOPT_PREREQFUNCTION, on_sending);
	SET(CURLOPT_PREREQDATA, http_call);
#else
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, http_call);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_SEEKDATA, http_call);
#endif
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, http_call);
	SET(CURLOPT_WRITEFUNCTION, on_write);
	SET(CURLOPT_WRITEDATA, http_call);
#undef SET
	tc_curl_leave(&old);
	if (!ok)
	{
		free_call(http_call);
		return NULL;
	}
	return http_call;
}

/* What it has of a call is given up; its handle serves another one of the session. */
static void
recycle_call(HttpCall *http_call)
{
	tc_http_exchange_free(&http_call->exchange, &http_call->session->channel->held);
	free(http_call->line.bytes);
	if (http_call->session->multi == NULL)
	{
		free_call(http_call);
		return;
	}
	memset(&http_call->line, 0, sizeof(JsonBuffer));
	http_call->sent = 0;
	http_call->error_buffer[0] = '\0';
	dlist_push_head(&http_call->session->unused_calls, &http_call->node);
}

/* One that holds nothing but its handle */
static void
free_call(HttpCall *http_call)
{
	sigset_t	old;

	tc_curl_enter(&old);
	if (http_call->easy != NULL)
		curl_easy_cleanup(http_call->easy);
	tc_curl_leave(&old);
	free(http_call);
}

/* False, and what becomes of the call, if it cannot be written. */
static bool
write_request(HttpCall *http_call, CallFate *fate)
{
	HttpSession *session = http_call->session;
	HttpExchange *exchange = &http_call->exchange;
	const Call *call = &http_call->call;

	tc_json_add_text(&exchange->path, session->target.base);
	if (session->options->codec_path == NULL)
		return tc_http_exchange_write(exchange, call, &session->paths, fate);
	if (exchange->method == NULL)
		return false;
	tc_codec_write_path(&exchange->path, session->options, call);
	tc_codec_write_line(&http_call->line, call);
	tc_http_exchange_write_body(exchange, call);
	return !exchange->path.failed && !http_call->line.failed && !exchange->body.failed;
}

static bool
set_request(HttpCall *http_call)
{
	CURL	   *easy = http_call->easy;
	char		timeout[GRPC_TIMEOUT_SIZE];
	bool		ok = true;

	tc_grpc_timeout(http_call->call.timeout_ms, timeout);
	snprintf(http_call->timeout_text, sizeof(http_call->timeout_text), "Grpc-Timeout: %s", timeout);
	http_call->timeout.data = http_call->line.bytes != NULL ?
		(char *) http_call->line.bytes : http_call->timeout_text;
	http_call->timeout.next = http_call->session->lines;

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)
	SET(CURLOPT_URL, (char *) http_call->exchange.path.bytes);
	SET(CURLOPT_HTTPHEADER, &http_call->timeout);
	SET(CURLOPT_TIMEOUT_MS, (long) http_call->call.timeout_ms + DEADLINE_GRACE_MS);
	if (http_call->exchange.method->is_get)
		SET(CURLOPT_HTTPGET, 1L);
	else
	{
#if ASKS_BEFORE_SENDING
		/* with the head in one piece, if it is not long */
		SET(CURLOPT_POSTFIELDS, (char *) http_call->exchange.body.bytes);
#else
		SET(CURLOPT_POST, 1L);
#endif
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) http_call->exchange.body.len);
	}
#undef SET
	return ok;
}

#if ASKS_BEFORE_SENDING

/*
 * A connection is there, and the request would be sent now; what only looks may
 * be sent again, and to encode something twice does no harm.
 */
static int
on_sending(void *arg, char *to, char *from, int to_port, int from_port)
{
	HttpCall   *http_call = arg;

	if (tc_http_session_wants_http2(http_call->session))
		return CURL_PREREQFUNC_ABORT;
	return http_call->sent++ == 0 || http_call->exchange.method->is_get ||
		http_call->session->options->codec_path != NULL ?
		CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

#else

static size_t
on_read(char *buffer, size_t size, size_t nitems, void *arg)
{
	HttpCall   *http_call = arg;
	size_t		n = Min(size * nitems, http_call->exchange.body.len - http_call->sent);

	memcpy(buffer, http_call->exchange.body.bytes + http_call->sent, n);
	http_call->sent += n;
	return n;
}

/* Once something of the body was sent, it is not sent again; but to encode something twice does no harm. */
static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	HttpCall   *http_call = arg;

	if (http_call->session->options->codec_path != NULL && offset == 0)
		http_call->sent = 0;
	return http_call->sent == 0 && offset == 0 && origin == SEEK_SET ?
		CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

#endif

/* A line is not terminated, but for the end that HTTP gives it. */
static size_t
on_header(char *line, size_t size, size_t nitems, void *arg)
{
	HttpCall   *http_call = arg;
	size_t		len = size * nitems;
	size_t		begin = sizeof("date:") - 1;

	if (len > begin && strncasecmp(line, "date:", begin) == 0)
	{
		while (begin < len && line[begin] == ' ')
			begin++;
		while (len > begin && isspace((unsigned char) line[len - 1]))
			len--;
		tc_channel_tell_date(http_call->session->channel, line + begin, len - begin);
	}
	return size * nitems;
}

static size_t
on_write(char *bytes, size_t size, size_t nitems, void *arg)
{
	HttpCall   *http_call = arg;

	return tc_http_exchange_data(&http_call->exchange, bytes, size * nitems,
								 &http_call->session->channel->held) ? size * nitems : 0;
}

/*
 * libcurl has come to the end of a call.
 */
static void
over(HttpCall *http_call, CURLcode code)
{
	HttpSession *session = http_call->session;
	const char *text = http_call->error_buffer[0] ? http_call->error_buffer : curl_easy_strerror(code);
	CallFate	fate = CALL_AMBIGUOUS;
	long		http_status = 0;

	curl_easy_getinfo(http_call->easy, CURLINFO_RESPONSE_CODE, &http_status);

	if (code == CURLE_OK)
		fate = session->options->codec_path != NULL ?
			judge_codec(http_call, http_status) : judge(http_call, http_status);
	else if (http_call->sent == 0 && tc_http_session_wants_http2(session))
	{
		tc_http_exchange_say(&http_call->exchange, "not processed: the server has changed to HTTP/2");
		fate = CALL_NOT_PROCESSED;
	}
	else if (could_not_connect(http_call, code))
	{
		if (session->tls.error.code != NULL)
			session->error = session->tls.error;
		else
			tc_curl_explain_connect(http_call->easy, code, http_call->error_buffer,
									session->options, session->tls.settings, &session->error);
		tc_http_exchange_say(&http_call->exchange, "not processed: %s", session->error.message);
		fate = CALL_NOT_PROCESSED;
	}
	else if (http_call->exchange.problem != NULL)
		tc_http_exchange_say(&http_call->exchange, "%s", http_call->exchange.problem);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		tc_http_exchange_say(&http_call->exchange, "no answer within %d ms", http_call->call.timeout_ms);
	else if (code == CURLE_SEND_FAIL_REWIND || code == CURLE_ABORTED_BY_CALLBACK)
		tc_http_exchange_say(&http_call->exchange, "no answer: the connection was closed");
	else
		tc_http_exchange_say(&http_call->exchange, "no answer: %s", text);
	if (fate == CALL_AMBIGUOUS && session->options->codec_path != NULL)
		say_who(http_call);
	finish(http_call, fate);
}

/*
 * Is it certain that nothing of the request was sent?  Not if libcurl connects
 * again for a request that it sent over a connection that was lost.
 */
static bool
could_not_connect(HttpCall *http_call, CURLcode code)
{
	if (http_call->sent > 0)
		return false;

#if ASKS_BEFORE_SENDING
	return true;
#else
	if (tc_proxy_has_refused(http_call->easy))
		return true;
	switch (code)
	{
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_PEER_FAILED_VERIFICATION:
			return true;
		case CURLE_OPERATION_TIMEDOUT:
			break;
		default:
			/* a proxy can say and do anything */
			if (http_call->session->options->proxy == NULL)
				return false;
	}
	{
		curl_off_t	ready_at = 0;

		curl_easy_getinfo(http_call->easy, CURLINFO_PRETRANSFER_TIME_T, &ready_at);
		return ready_at == 0;
	}
#endif
}

/* What does the answer say? */
static CallFate
judge(HttpCall *http_call, long http_status)
{
	HttpSession *session = http_call->session;
	CallFate	fate = tc_http_exchange_judge(&http_call->exchange, (int) http_status,
											  &session->paths, session->headers);

	/* such a refusal proves that the call was not processed */
	if (fate == CALL_ANSWERED && tc_http_exchange_refuses_credentials(&http_call->exchange) &&
		tc_http_session_is_stale(session))
	{
		tc_http_exchange_say(&http_call->exchange, "the credentials have changed meanwhile");
		return CALL_NOT_PROCESSED;
	}
	return fate;
}

/* The same of a codec server: of what is wrong only the status is told. */
static CallFate
judge_codec(HttpCall *http_call, long http_status)
{
	HttpSession *session = http_call->session;
	JsonAnswerRead *read = &http_call->exchange.read;
	CodecVerdict verdict = tc_codec_verdict(http_status);
	const char *address = session->options->address;

	if (verdict == CODEC_CLOSED)
		tc_codec_closed(http_status, address, &session->error);
	else if (verdict == CODEC_OK &&
			 tc_http_exchange_read(&http_call->exchange) != JSON_REPLY)
		verdict = read->is_object ? CODEC_GARBLED : CODEC_NONSENSE;

	if (verdict == CODEC_OK)
		read->message[0] = '\0';
	else if (verdict == CODEC_GARBLED)
		tc_http_exchange_say(&http_call->exchange, "the codec server at \"%s\" answers with other JSON than payloads", address);
	else if (http_status == 200)
		tc_http_exchange_say(&http_call->exchange, "the codec server at \"%s\" answers with HTTP status 200, but %s", address,
							 read->problem);
	else
		tc_http_exchange_say(&http_call->exchange, "the codec server at \"%s\" answers with HTTP status %ld", address, http_status);
	read->status = verdict;
	return CALL_ANSWERED;
}

/* Where there are two servers, the words have to tell which one is meant. */
static void
say_who(HttpCall *http_call)
{
	char		words[JSON_MESSAGE_SIZE];

	strlcpy(words, http_call->exchange.read.message, sizeof(words));
	tc_http_exchange_say(&http_call->exchange, "the codec server at \"%s\": %s", http_call->session->options->address, words);
}

/*
 * A call is over; its callback is run by tc_http_calls_tell().
 */
static void
finish(HttpCall *http_call, CallFate fate)
{
	http_call->fate = fate;
	http_call->session->ncalls--;
	dlist_delete(&http_call->node);
	dlist_push_tail(&http_call->calls->finished, &http_call->node);
}
