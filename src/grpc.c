/*-------------------------------------------------------------------------
 *
 * grpc.c
 *	  gRPC channels: unary calls over HTTP/2 sessions (implements transport.h).
 *
 * A channel has at most one session for new calls, and any number that drain
 * after a GOAWAY.  What becomes of a call is found out beneath nghttp2 and
 * noted; the callbacks of calls and of the channel are run afterwards, with
 * nothing of nghttp2 or libcurl on the stack, so they can start calls or
 * destroy the channel.
 *
 * Success is HTTP 200 and grpc-status 0 and a message; whatever is missing is
 * never taken for success.  Nothing here retries.
 *
 * Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "channel_support.h"
#include "event_loop.h"
#include "grpc.h"
#include "grpc_reply.h"
#include "http2.h"
#include "transport.h"

#ifndef TC_VERSION
#define TC_VERSION "0.1.0"
#endif

/*
 * The server ends a call that takes longer than its timeout; we do so a
 * little later, should it not.
 */
#define DEADLINE_GRACE_MS 500

/*
 * A GOAWAY comes at the end of a connection's life.  One that comes sooner,
 * and before any call was answered, is a failure to be backed off from.
 */
#define MIN_LIFE_MS 1000

/* Lists of calls by timeout; more timeouts than this share lists */
#define DEADLINE_LISTS 8

/* A gRPC message has a prefix: a flag for compression, and its length. */
#define PREFIX_SIZE 5

/* Replies of most calls fit into this, prefix included */
#define SMALL_REPLY 128

#define MAX_MESSAGE 4096
#define MAX_DETAIL_TYPE 128

/* Headers of a request that are not metadata */
#define MAX_FIXED_HEADERS 12

/* A session, and what the channel knows of it */
typedef struct Link
{
	dlist_node	node;			/* among the channel's links */
	Channel    *channel;
	Http2Session *session;		/* NULL = closed, to be freed */
	bool		answered;		/* a call was answered */
	int64		ready_at;
	char	   *bearer;			/* value of authorization, or NULL */
	nghttp2_nv *headers;		/* of every request */
	int			nheaders;
} Link;

/* A call in flight */
typedef struct Rpc
{
	Http2Stream stream;			/* must be first */
	dlist_node	node;			/* by deadline, then among finished ones */
	Link	   *link;
	Call		call;
	int64		deadline;
	uint8		prefix[PREFIX_SIZE];

	/* The answer */
	int			http_status;
	bool		is_grpc;
	int			grpc_status;	/* -1 = none yet */
	uint8	   *reply;			/* with prefix */
	size_t		reply_len;
	size_t		reply_size;
	bool		reply_too_large;
	uint8		small[SMALL_REPLY];
	char	   *message;		/* malloc'd, or NULL */
	char		detail_type[MAX_DETAIL_TYPE];
	CallFate	fate;
} Rpc;

typedef struct DeadlineList
{
	int			timeout_ms;
	dlist_head	rpcs;			/* in order of their deadlines */
} DeadlineList;

struct Channel
{
	ChannelOptions options;		/* our copy */
	ChannelStateChanged changed;
	void	   *arg;
	ChannelState state;

	Link	   *current;		/* connecting or ready, else NULL */
	dlist_head	links;			/* all of them */
	dlist_head	finished;		/* calls whose callbacks are to be run */
	Rpc		   *unused;			/* chained by link, for reuse */

	DeadlineList deadlines[DEADLINE_LISTS];
	LoopTimer	deadline_timer;
	LoopTimer	connect_timer;
	LoopTimer	later;			/* something is to be told */
	ChannelError failure;		/* of a connect that failed at once */

	const char *tls_version;	/* a constant string */
	int			busy;			/* depth of functions that run callbacks */
	bool		destroyed;
};

static bool copy_options(Channel *channel, const ChannelOptions *options);
static void free_options(Channel *channel);
static Link *open_link(Channel *channel, ChannelError *error);
static bool make_headers(Link *link, ChannelError *error);
static char *make_bearer(const ChannelOptions *options, ChannelError *error);
static void close_link(Link *link);
static void free_link(Link *link);
static bool is_metadata_key(const char *key);
static bool is_header_value(const char *value);
static void enter(Channel *channel);
static void leave(Channel *channel);
static void set_state(Channel *channel, ChannelState state, const ChannelError *error);
static void link_changed(void *arg);
static void current_changed(Link *link);
static void on_connect_timeout(void *arg);
static void on_later(void *arg);
static void on_deadline(void *arg);
static void watch_deadline(Channel *channel, Rpc *rpc);
static void set_deadline_timer(Channel *channel);
static Rpc *new_rpc(Channel *channel);
static void recycle_rpc(Channel *channel, Rpc *rpc);
static void set_message(Rpc *rpc, const char *fmt,...) pg_attribute_printf(2, 3);
static void finish(Channel *channel, Rpc *rpc, CallFate fate);
static void run_finished(Channel *channel);
static void rpc_header(Http2Stream *stream, const char *name, size_t name_len,
					   const char *value, size_t value_len);
static bool rpc_data(Http2Stream *stream, const uint8 *data, size_t len);
static void rpc_over(Http2Stream *stream, Http2End end, uint32 error_code);
static void judge_answer(Rpc *rpc);

static const Http2Events http2_events = {rpc_header, rpc_data, rpc_over, link_changed};

Channel *
tc_channel_create(const ChannelOptions *options, ChannelStateChanged changed, void *arg)
{
	Channel    *channel = calloc(1, sizeof(Channel));

	if (channel == NULL || !copy_options(channel, options))
	{
		if (channel != NULL)
			free_options(channel);
		free(channel);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	channel->changed = changed;
	channel->arg = arg;
	channel->state = CHANNEL_IDLE;
	dlist_init(&channel->links);
	dlist_init(&channel->finished);
	for (int i = 0; i < DEADLINE_LISTS; i++)
		dlist_init(&channel->deadlines[i].rpcs);
	return channel;
}

void
tc_channel_connect(Channel *channel)
{
	if (channel->destroyed ||
		channel->state == CHANNEL_CONNECTING || channel->state == CHANNEL_READY)
		return;

	channel->state = CHANNEL_CONNECTING;
	channel->current = open_link(channel, &channel->failure);
	if (channel->current != NULL)
		tc_timer_set(&channel->connect_timer,
					 tc_monotonic_ms() + channel->options.connect_timeout_ms,
					 on_connect_timeout, channel);
	else
		tc_timer_set(&channel->later, 0, on_later, channel);
}

ChannelState
tc_channel_state(const Channel *channel)
{
	return channel->state;
}

int
tc_channel_capacity(const Channel *channel)
{
	return channel->state == CHANNEL_READY ? tc_http2_capacity(channel->current->session) : 0;
}

void
tc_channel_call(Channel *channel, const Call *call)
{
	static char timeout_name[] = "grpc-timeout";
	static char path_name[] = ":path";
	static char namespace_name[] = "temporal-namespace";
	Link	   *link = channel->current;
	Rpc		   *rpc = NULL;
	nghttp2_nv *headers;
	int			nheaders;
	char		timeout[GRPC_TIMEOUT_SIZE];
	uint32		len = (uint32) (call->message_len + call->suffix_len);

	if (channel->state == CHANNEL_READY)
		rpc = new_rpc(channel);
	if (rpc == NULL)
	{
		CallResult	result = {CALL_NOT_PROCESSED, 0, "call could not be started", "", NULL, 0};

		call->done(call->arg, &result);
		return;
	}

	rpc->link = link;
	rpc->call = *call;
	rpc->prefix[0] = 0;
	rpc->prefix[1] = (uint8) (len >> 24);
	rpc->prefix[2] = (uint8) (len >> 16);
	rpc->prefix[3] = (uint8) (len >> 8);
	rpc->prefix[4] = (uint8) len;
	rpc->stream.body[0].data = rpc->prefix;
	rpc->stream.body[0].len = PREFIX_SIZE;
	rpc->stream.body[1].data = call->message;
	rpc->stream.body[1].len = call->message_len;
	rpc->stream.body[2].data = call->suffix;
	rpc->stream.body[2].len = call->suffix_len;

	/* The headers of this call are the first and the last two. */
	headers = link->headers;
	nheaders = link->nheaders;
	headers[0] = (nghttp2_nv)
	{
		(uint8_t *) path_name, (uint8_t *) call->path,
			sizeof(path_name) - 1, strlen(call->path), NGHTTP2_NV_FLAG_NO_COPY_NAME
	};
	headers[nheaders++] = (nghttp2_nv)
	{
		(uint8_t *) timeout_name, (uint8_t *) timeout,
			sizeof(timeout_name) - 1, tc_grpc_timeout(call->timeout_ms, timeout),
			NGHTTP2_NV_FLAG_NO_COPY_NAME
	};
	if (call->namespace_name != NULL && is_header_value(call->namespace_name))
		headers[nheaders++] = (nghttp2_nv)
	{
		(uint8_t *) namespace_name, (uint8_t *) call->namespace_name,
			sizeof(namespace_name) - 1, strlen(call->namespace_name),
			NGHTTP2_NV_FLAG_NO_COPY_NAME
	};

	watch_deadline(channel, rpc);
	if (!tc_http2_submit(link->session, &rpc->stream, headers, nheaders))
	{
		set_message(rpc, "call could not be started");
		finish(channel, rpc, CALL_NOT_PROCESSED);
		tc_timer_set(&channel->later, 0, on_later, channel);
	}
}

void
tc_channel_flush(Channel *channel)
{
	if (channel->current != NULL)
		tc_http2_flush(channel->current->session);
}

const char *
tc_channel_tls_version(const Channel *channel)
{
	return channel->tls_version;
}

void
tc_channel_destroy(Channel *channel)
{
	dlist_mutable_iter iter;

	if (channel->destroyed)
		return;
	enter(channel);
	channel->destroyed = true;
	channel->state = CHANNEL_IDLE;
	channel->current = NULL;
	tc_timer_cancel(&channel->deadline_timer);
	tc_timer_cancel(&channel->connect_timer);
	tc_timer_cancel(&channel->later);
	dlist_foreach_modify(iter, &channel->links)
		close_link(dlist_container(Link, node, iter.cur));
	run_finished(channel);
	leave(channel);
}

/*
 * Copy the options; false for lack of memory.
 */
static bool
copy_options(Channel *channel, const ChannelOptions *options)
{
	ChannelOptions *copy = &channel->options;
	const char **strings[] = {
		&copy->address, &copy->tls_server_name,
		&copy->tls_server_ca_cert_path, &copy->tls_server_ca_cert_data,
		&copy->tls_client_cert_path, &copy->tls_client_cert_data,
		&copy->tls_client_key_path, &copy->tls_client_key_data,
		&copy->authority, &copy->api_key, &copy->api_key_path
	};
	const char **keys = options->metadata_keys;
	const char **values = options->metadata_values;
	bool		ok = true;

	*copy = *options;
	copy->nmetadata = 0;
	copy->metadata_keys = NULL;
	copy->metadata_values = NULL;
	for (int i = 0; i < lengthof(strings); i++)
	{
		if (*strings[i] != NULL)
			ok = (*strings[i] = ok ? strdup(*strings[i]) : NULL) != NULL && ok;
	}
	if (!ok || options->nmetadata == 0)
		return ok;

	copy->metadata_keys = calloc(options->nmetadata, sizeof(char *));
	copy->metadata_values = calloc(options->nmetadata, sizeof(char *));
	if (copy->metadata_keys == NULL || copy->metadata_values == NULL)
		return false;
	for (int i = 0; i < options->nmetadata; i++)
	{
		copy->nmetadata = i + 1;
		copy->metadata_keys[i] = strdup(keys[i]);
		copy->metadata_values[i] = strdup(values[i]);
		if (copy->metadata_keys[i] == NULL || copy->metadata_values[i] == NULL)
			return false;
	}
	return true;
}

static void
free_options(Channel *channel)
{
	ChannelOptions *options = &channel->options;

	free((char *) options->address);
	free((char *) options->tls_server_name);
	free((char *) options->tls_server_ca_cert_path);
	free((char *) options->tls_server_ca_cert_data);
	free((char *) options->tls_client_cert_path);
	free((char *) options->tls_client_cert_data);
	free((char *) options->tls_client_key_path);
	tc_free_secret((char *) options->tls_client_key_data);
	free((char *) options->authority);
	tc_free_secret((char *) options->api_key);
	free((char *) options->api_key_path);
	for (int i = 0; i < options->nmetadata; i++)
	{
		free((char *) options->metadata_keys[i]);
		tc_free_secret((char *) options->metadata_values[i]);
	}
	free(options->metadata_keys);
	free(options->metadata_values);
}

/*
 * Open a session for new calls; NULL, with *error filled in, if that cannot
 * even be tried.
 */
static Link *
open_link(Channel *channel, ChannelError *error)
{
	Link	   *link = calloc(1, sizeof(Link));

	if (link == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return NULL;
	}
	link->channel = channel;
	if (!make_headers(link, error))
	{
		free_link(link);
		return NULL;
	}
	link->session = tc_http2_open(&channel->options, &http2_events, link);
	if (link->session == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		free_link(link);
		return NULL;
	}
	dlist_push_tail(&channel->links, &link->node);
	return link;
}

/*
 * The headers of every request of a session, with room for those of a call:
 * one before them, two after them.  Names and values stay where they are, so
 * nghttp2 need not copy them; secrets are kept out of its tables.
 */
static bool
make_headers(Link *link, ChannelError *error)
{
	const ChannelOptions *options = &link->channel->options;
	const struct
	{
		const char *name;
		const char *value;
	}			fixed[] = {
		{":method", "POST"},
		{":scheme", options->tls ? "https" : "http"},
		{":authority", options->authority ? options->authority : options->address},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"user-agent", "temporal-complete-postgresql/" TC_VERSION},
		{"client-name", "temporal-complete-postgresql"},
		{"client-version", TC_VERSION},
		{"authorization", NULL}
	};
	const uint8 flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
	int			n = 1;

	if (options->authority != NULL && !is_header_value(options->authority))
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the option authority has bytes that cannot be in a header");
		return false;
	}
	if (options->api_key != NULL || options->api_key_path != NULL)
	{
		link->bearer = make_bearer(options, error);
		if (link->bearer == NULL)
			return false;
	}
	link->headers = calloc(MAX_FIXED_HEADERS + options->nmetadata, sizeof(nghttp2_nv));
	if (link->headers == NULL)
	{
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return false;
	}

	for (int i = 0; i < lengthof(fixed); i++)
	{
		const char *value = fixed[i].value ? fixed[i].value : link->bearer;

		if (value == NULL)
			continue;
		link->headers[n++] = (nghttp2_nv)
		{
			(uint8_t *) fixed[i].name, (uint8_t *) value, strlen(fixed[i].name), strlen(value),
				fixed[i].value ? flags : flags | NGHTTP2_NV_FLAG_NO_INDEX
		};
	}
	for (int i = 0; i < options->nmetadata; i++)
	{
		const char *key = options->metadata_keys[i];
		const char *value = options->metadata_values[i];

		if (!is_metadata_key(key) || !is_header_value(value))
		{
			tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
							 "grpc_meta_%s cannot be sent as a header", key);
			return false;
		}
		if (link->bearer != NULL && strcmp(key, "authorization") == 0)
			continue;
		link->headers[n++] = (nghttp2_nv)
		{
			(uint8_t *) key, (uint8_t *) value, strlen(key), strlen(value),
				flags | NGHTTP2_NV_FLAG_NO_INDEX
		};
	}
	link->nheaders = n;
	return true;
}

/*
 * Value of the header authorization; malloc'd.
 */
static char *
make_bearer(const ChannelOptions *options, ChannelError *error)
{
	static const char scheme[] = "Bearer ";
	const char *option = options->api_key ? "api_key" : "api_key_path";
	char	   *contents = NULL;
	const char *key = options->api_key;
	char	   *bearer;

	if (key == NULL)
	{
		size_t		len;

		contents = tc_channel_read_file(option, options->api_key_path, error);
		if (contents == NULL)
			return NULL;
		for (len = strlen(contents); len > 0 && isspace((unsigned char) contents[len - 1]); len--)
			contents[len - 1] = '\0';
		for (key = contents; isspace((unsigned char) *key);)
			key++;
	}
	if (key[0] == '\0' || !is_header_value(key))
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 key[0] == '\0' ? "the API key of %s is empty"
						 : "the API key of %s has bytes that cannot be in a header", option);
		tc_free_secret(contents);
		return NULL;
	}
	bearer = malloc(sizeof(scheme) + strlen(key));
	if (bearer == NULL)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	else
	{
		strcpy(bearer, scheme);
		strcat(bearer, key);
	}
	tc_free_secret(contents);
	return bearer;
}

/*
 * Close the session of a link; its calls end.  The link is freed when
 * nothing can refer to it any more.
 */
static void
close_link(Link *link)
{
	Http2Session *session = link->session;

	link->session = NULL;
	if (session != NULL)
		tc_http2_close(session);
}

static void
free_link(Link *link)
{
	tc_free_secret(link->bearer);
	free(link->headers);
	free(link);
}

static bool
is_metadata_key(const char *key)
{
	if (key[0] == '\0')
		return false;
	for (; *key; key++)
	{
		unsigned char c = *key;

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
	}
	return true;
}

/*
 * Is it of printable ASCII, as gRPC asks of metadata?
 */
static bool
is_header_value(const char *value)
{
	for (; *value; value++)
	{
		if (*value < ' ' || *value > '~')
			return false;
	}
	return true;
}

/*
 * Callbacks may destroy the channel, or close links; what they leave is freed
 * when the outermost function that runs callbacks is left.
 */
static void
enter(Channel *channel)
{
	channel->busy++;
}

static void
leave(Channel *channel)
{
	dlist_mutable_iter iter;

	if (--channel->busy > 0)
		return;
	dlist_foreach_modify(iter, &channel->links)
	{
		Link	   *link = dlist_container(Link, node, iter.cur);

		if (link->session == NULL)
		{
			dlist_delete(&link->node);
			free_link(link);
		}
	}
	if (!channel->destroyed)
		return;
	while (channel->unused != NULL)
	{
		Rpc		   *rpc = channel->unused;

		channel->unused = (Rpc *) rpc->link;
		free(rpc);
	}
	free_options(channel);
	free(channel);
}

static void
set_state(Channel *channel, ChannelState state, const ChannelError *error)
{
	channel->state = state;
	if (state != CHANNEL_CONNECTING)
		tc_timer_cancel(&channel->connect_timer);
	channel->changed(channel->arg, channel, state, error);
}

/*
 * Something happened in a session: see to its state, tell of the calls that
 * are over, and send what that led to.
 */
static void
link_changed(void *arg)
{
	Link	   *link = arg;
	Channel    *channel = link->channel;

	enter(channel);
	if (link == channel->current)
		current_changed(link);
	else if (link->session != NULL && tc_http2_state(link->session) == HTTP2_LOST)
		close_link(link);
	run_finished(channel);

	if (!channel->destroyed)
	{
		if (link->session != NULL)
			tc_http2_flush(link->session);
		if (channel->current != NULL && channel->current != link)
			tc_http2_flush(channel->current->session);

		/* A session that drains is done with when its calls are. */
		if (link != channel->current && link->session != NULL &&
			tc_http2_nstreams(link->session) == 0)
			close_link(link);
	}
	leave(channel);
}

/*
 * See to the state of the session for new calls.
 */
static void
current_changed(Link *link)
{
	Channel    *channel = link->channel;
	bool		connecting = channel->state == CHANNEL_CONNECTING;
	Http2State	state = tc_http2_state(link->session);
	ChannelError error;

	if (state == HTTP2_CONNECTING || (state == HTTP2_OPEN && !connecting))
		return;

	if (state == HTTP2_OPEN)
	{
		link->ready_at = tc_monotonic_ms();
		channel->tls_version = tc_http2_tls_version(link->session);
		set_state(channel, CHANNEL_READY, NULL);
		return;
	}

	/* The callback may start anew: the channel must be ready for that. */
	error = *tc_http2_error(link->session);
	channel->current = NULL;
	if (state == HTTP2_LOST || connecting)
	{
		close_link(link);
		set_state(channel, connecting ? CHANNEL_FAILED : CHANNEL_IDLE, &error);
	}
	else
	{
		bool		plain = tc_http2_goaway_is_plain(link->session) &&
			(link->answered || tc_monotonic_ms() - link->ready_at >= MIN_LIFE_MS);

		set_state(channel, CHANNEL_IDLE, plain ? NULL : &error);
	}
}

static void
on_connect_timeout(void *arg)
{
	Channel    *channel = arg;
	Link	   *link = channel->current;

	tc_channel_error(&channel->failure, TC_ERROR_CONNECTION_FAILED, false,
					 "no HTTP/2 connection to \"%s\" within %d ms", channel->options.address,
					 channel->options.connect_timeout_ms);
	channel->current = NULL;
	enter(channel);
	close_link(link);
	set_state(channel, CHANNEL_FAILED, &channel->failure);
	leave(channel);
}

/*
 * What could not be told at once: a connect that failed, calls that could not
 * be started.
 */
static void
on_later(void *arg)
{
	Channel    *channel = arg;

	enter(channel);
	if (channel->state == CHANNEL_CONNECTING && channel->current == NULL)
		set_state(channel, CHANNEL_FAILED, &channel->failure);
	run_finished(channel);
	leave(channel);
}

/*
 * Note the deadline of a call.  Calls of the same timeout end in the order in
 * which they begin, so a list for each timeout is in order by itself, and one
 * timer serves all.
 */
static void
watch_deadline(Channel *channel, Rpc *rpc)
{
	int			timeout_ms = rpc->call.timeout_ms;
	DeadlineList *list = NULL;
	dlist_node *after;
	bool		is_first;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		DeadlineList *candidate = &channel->deadlines[i];

		if (candidate->timeout_ms == timeout_ms)
		{
			list = candidate;
			break;
		}
		if (list == NULL && dlist_is_empty(&candidate->rpcs))
			list = candidate;
	}
	if (list == NULL)
		list = &channel->deadlines[timeout_ms % DEADLINE_LISTS];
	else
		list->timeout_ms = timeout_ms;

	rpc->deadline = tc_monotonic_ms() + timeout_ms + DEADLINE_GRACE_MS;
	is_first = dlist_is_empty(&list->rpcs);
	after = is_first ? &list->rpcs.head : dlist_tail_node(&list->rpcs);
	while (after != &list->rpcs.head && dlist_container(Rpc, node, after)->deadline > rpc->deadline)
		after = after->prev;
	dlist_insert_after(after, &rpc->node);

	if (!channel->deadline_timer.armed || channel->deadline_timer.due > rpc->deadline)
		tc_timer_set(&channel->deadline_timer, rpc->deadline, on_deadline, channel);
}

static void
set_deadline_timer(Channel *channel)
{
	int64		due = PG_INT64_MAX;

	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *rpcs = &channel->deadlines[i].rpcs;

		if (!dlist_is_empty(rpcs))
			due = Min(due, dlist_head_element(Rpc, node, rpcs)->deadline);
	}
	if (due < PG_INT64_MAX)
		tc_timer_set(&channel->deadline_timer, due, on_deadline, channel);
}

/*
 * Give up the calls whose deadline has passed.
 */
static void
on_deadline(void *arg)
{
	Channel    *channel = arg;
	int64		now = tc_monotonic_ms();
	dlist_iter	iter;

	enter(channel);
	for (int i = 0; i < DEADLINE_LISTS; i++)
	{
		dlist_head *rpcs = &channel->deadlines[i].rpcs;

		while (!dlist_is_empty(rpcs))
		{
			Rpc		   *rpc = dlist_head_element(Rpc, node, rpcs);
			bool		never;

			if (rpc->deadline > now)
				break;
			never = tc_http2_cancel(rpc->link->session, &rpc->stream);
			set_message(rpc, never ? "the request could not be sent within %d ms"
						: "no answer within %d ms", rpc->call.timeout_ms);
			finish(channel, rpc, never ? CALL_NOT_PROCESSED : CALL_AMBIGUOUS);
		}
	}
	set_deadline_timer(channel);
	run_finished(channel);

	if (!channel->destroyed)
	{
		dlist_foreach(iter, &channel->links)
		{
			Link	   *link = dlist_container(Link, node, iter.cur);

			if (link->session == NULL)
				continue;
			tc_http2_flush(link->session);
			if (link != channel->current && tc_http2_nstreams(link->session) == 0)
				close_link(link);
		}
	}
	leave(channel);
}

static Rpc *
new_rpc(Channel *channel)
{
	Rpc		   *rpc = channel->unused;

	if (rpc != NULL)
		channel->unused = (Rpc *) rpc->link;
	else
		rpc = malloc(sizeof(Rpc));
	if (rpc == NULL)
		return NULL;
	rpc->http_status = 0;
	rpc->is_grpc = false;
	rpc->grpc_status = -1;
	rpc->reply = rpc->small;
	rpc->reply_len = 0;
	rpc->reply_size = SMALL_REPLY;
	rpc->reply_too_large = false;
	rpc->message = NULL;
	rpc->detail_type[0] = '\0';
	return rpc;
}

static void
recycle_rpc(Channel *channel, Rpc *rpc)
{
	if (rpc->reply != rpc->small)
		free(rpc->reply);
	free(rpc->message);
	rpc->link = (Link *) channel->unused;
	channel->unused = rpc;
}

/*
 * Set the message of a call's result; without memory there is none.
 */
static void
set_message(Rpc *rpc, const char *fmt,...)
{
	char		buf[512];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	free(rpc->message);
	rpc->message = strdup(buf);
}

/*
 * A call is over; its callback is run by run_finished().
 */
static void
finish(Channel *channel, Rpc *rpc, CallFate fate)
{
	rpc->fate = fate;
	dlist_delete(&rpc->node);
	dlist_push_tail(&channel->finished, &rpc->node);
}

static void
run_finished(Channel *channel)
{
	while (!dlist_is_empty(&channel->finished))
	{
		Rpc		   *rpc = dlist_container(Rpc, node, dlist_pop_head_node(&channel->finished));
		CallResult	result;

		result.fate = rpc->fate;
		result.grpc_status = rpc->fate == CALL_ANSWERED ? rpc->grpc_status : 0;
		result.message = rpc->message ? rpc->message : "";
		result.detail_type = rpc->detail_type;
		result.reply = rpc->reply_len > PREFIX_SIZE ? rpc->reply + PREFIX_SIZE : NULL;
		result.reply_len = rpc->reply_len > PREFIX_SIZE ? rpc->reply_len - PREFIX_SIZE : 0;
		rpc->call.done(rpc->call.arg, &result);
		recycle_rpc(channel, rpc);
	}
}

/*
 * A header or trailer of an answer.
 */
static void
rpc_header(Http2Stream *stream, const char *name, size_t name_len, const char *value,
		   size_t value_len)
{
	Rpc		   *rpc = (Rpc *) stream;

#define IS(header) (name_len == sizeof(header) - 1 && memcmp(name, header, sizeof(header) - 1) == 0)

	if (IS("grpc-status"))
		rpc->grpc_status = tc_grpc_status(value, value_len);
	else if (IS(":status"))
	{
		rpc->http_status = 0;
		for (size_t i = 0; i < value_len && i < 3; i++)
			rpc->http_status = rpc->http_status * 10 + (value[i] - '0');
	}
	else if (IS("content-type"))
		rpc->is_grpc = tc_grpc_content_type(value, value_len);
	else if (IS("grpc-message") && value_len > 0)
	{
		size_t		size = Min(value_len, MAX_MESSAGE) + 1;

		free(rpc->message);
		rpc->message = malloc(size);
		if (rpc->message != NULL)
			tc_grpc_message(value, value_len, rpc->message, size);
	}
	else if (IS("grpc-status-details-bin"))
		tc_grpc_detail_type(value, value_len, rpc->detail_type, sizeof(rpc->detail_type));
#undef IS
}

/*
 * A piece of an answer's body; false = enough of it.
 */
static bool
rpc_data(Http2Stream *stream, const uint8 *data, size_t len)
{
	Rpc		   *rpc = (Rpc *) stream;
	size_t		needed = rpc->reply_len + len;

	/* The page of a proxy is of no interest. */
	if (!rpc->is_grpc)
		return true;

	if (needed > rpc->reply_size)
	{
		size_t		size = Max(needed, 2 * rpc->reply_size);
		bool		is_small = rpc->reply == rpc->small;
		uint8	   *grown;

		if (needed > TC_MAX_REPLY + PREFIX_SIZE ||
			(grown = realloc(is_small ? NULL : rpc->reply, size)) == NULL)
		{
			rpc->reply_too_large = true;
			return false;
		}
		if (is_small)
			memcpy(grown, rpc->small, rpc->reply_len);
		rpc->reply = grown;
		rpc->reply_size = size;
	}
	memcpy(rpc->reply + rpc->reply_len, data, len);
	rpc->reply_len = needed;
	return true;
}

static void
rpc_over(Http2Stream *stream, Http2End end, uint32 error_code)
{
	Rpc		   *rpc = (Rpc *) stream;
	Channel    *channel = rpc->link->channel;
	CallFate	fate = CALL_AMBIGUOUS;

	switch (end)
	{
		case HTTP2_ANSWERED:
			rpc->link->answered = true;
			judge_answer(rpc);
			fate = rpc->fate;
			break;
		case HTTP2_NOT_PROCESSED:
			set_message(rpc, "the request was not processed by the server");
			fate = CALL_NOT_PROCESSED;
			break;
		case HTTP2_RESET:
			if (rpc->reply_too_large)
				set_message(rpc, "the reply is larger than %d bytes", TC_MAX_REPLY);
			else
				set_message(rpc, "the call was reset: %s", nghttp2_http2_strerror(error_code));
			break;
		case HTTP2_CONNECTION_LOST:
			set_message(rpc, "the connection was lost before the answer");
			break;
	}
	finish(channel, rpc, fate);
}

/*
 * The whole answer is there: what does it say?
 */
static void
judge_answer(Rpc *rpc)
{
	uint32		len;

	rpc->fate = CALL_ANSWERED;
	if (rpc->http_status != 200 || !rpc->is_grpc)
	{
		if (rpc->grpc_status > 0)
			return;
		rpc->grpc_status = tc_grpc_status_of_http(rpc->http_status);
		set_message(rpc, rpc->http_status == 200 ? "the answer is not a gRPC message (HTTP %d)"
					: "HTTP status %d without a gRPC status", rpc->http_status);
		rpc->reply_len = 0;
		return;
	}
	if (rpc->grpc_status > 0)
	{
		rpc->reply_len = 0;
		return;
	}
	if (rpc->grpc_status < 0)
	{
		rpc->fate = CALL_AMBIGUOUS;
		rpc->reply_len = 0;
		set_message(rpc, "the answer has no gRPC status");
		return;
	}

	/* Exactly one message, not compressed, for we do not offer to take it so */
	len = rpc->reply_len < PREFIX_SIZE ? 0 :
		(uint32) rpc->reply[1] << 24 | (uint32) rpc->reply[2] << 16 |
		(uint32) rpc->reply[3] << 8 | rpc->reply[4];
	if (rpc->reply_len < PREFIX_SIZE || rpc->reply[0] != 0 || len != rpc->reply_len - PREFIX_SIZE)
	{
		rpc->fate = CALL_AMBIGUOUS;
		rpc->reply_len = 0;
		set_message(rpc, "the answer is OK, but holds no single gRPC message");
	}
}
