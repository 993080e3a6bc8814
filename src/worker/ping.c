/*-------------------------------------------------------------------------
 *
 * ping.c
 *	  The worker's side of temporal.ping().
 *
 * A ping goes the way that requests go, from the worker, but over a
 * connection of its own, by the options as they are now.  It asks for the
 * server's version, which needs no authorization, and then makes a request
 * that cannot touch any activity and is refused with INVALID_ARGUMENT once
 * credentials and namespace have been accepted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "base/foreign_text.h"
#include "process/ping_mailbox.h"
#include "request/method.h"
#include "request/replies.h"
#include "request/request.h"
#include "server/server.h"
#include "wire/classify.h"
#include "worker/channel_pool.h"
#include "worker/ping.h"
#include "worker/transaction.h"

#define SYSTEM_INFO_PATH WORKFLOW_SERVICE "GetSystemInfo"

/* What a server says of itself, and of the probe */
#define MAX_REPLY (64 * 1024)

typedef struct Ping
{
	dlist_node	node;
	PingRequest request;
	PingReply	reply;
	MemoryContext context;
	ServerConfig *config;
	const char *namespace_name;
	ServerProblem problem;		/* in UTF-8; if there is no config */
	Channel    *channel;
	uint8	   *probe;
	size_t		probe_len;
	uint8		system_info[2048];
	size_t		system_info_len;
	instr_time	sent_at;
	char		error_message[1024];	/* as it came (UTF-8) */
	bool		over;
} Ping;

/* At once; more wait until one of them has ended */
#define MAX_PINGS 32

static dlist_head pings = DLIST_STATIC_INIT(pings);
static int	npings = 0;

static void end_pings(void);
static void begin_ping(const PingRequest *request);
static void read_options(void *arg);
static void state_changed(void *arg, Channel *channel, ChannelState state,
						  const ChannelError *error);
static void system_info_done(void *arg, const CallResult *result);
static void probe_done(void *arg, const CallResult *result);
static void ping_failed(Ping *ping, const char *code, const char *message);
static void end_ping(Ping *ping);
static void translate(void *arg);

void
tc_ping_turn(void)
{
	PingRequest request;

	end_pings();
	while (npings < MAX_PINGS && tc_worker_take_ping(&request))
		begin_ping(&request);
	end_pings();
}

/* End those that are over, and those that nobody waits for any more. */
static void
end_pings(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &pings)
	{
		Ping	   *ping = dlist_container(Ping, node, iter.cur);

		if (ping->over || !tc_worker_ping_is_awaited(&ping->request))
			end_ping(ping);
	}
}

bool
tc_ping_is_busy(void)
{
	return !dlist_is_empty(&pings);
}

static void
begin_ping(const PingRequest *request)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "temporal_complete ping",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Ping	   *ping = palloc0(sizeof(Ping));

	/* what a ping finds to be right, requests have to find, too */
	tc_channels_files_may_have_changed();

	ping->context = context;
	ping->request = *request;
	dlist_push_tail(&pings, &ping->node);
	npings++;
	if (!tc_run_transaction(read_options, ping))
		ping_failed(ping, "CONFIGURATION", "the server's options cannot be read; see the server log");
	else if (ping->config == NULL)
		ping_failed(ping, ping->problem.code, ping->problem.message);
	else
	{
		ping->channel = tc_channel_create(&ping->config->channel, state_changed, ping);
		tc_channel_connect(ping->channel, 1);
	}
	MemoryContextSwitchTo(old);
}

/* All that needs a transaction: looking at catalogs, and converting texts. */
static void
read_options(void *arg)
{
	Ping	   *ping = arg;
	QueueRow	queue = {
		.key.server = ping->request.serverid,
		.key.role = ping->request.role,
		.server_name = ping->request.server,
		.role_name = "?",
	};
	MemoryContext old = MemoryContextSwitchTo(ping->context);
	ServerConfig *config = tc_server_config(&queue, &ping->problem);

	if (config == NULL)
		ping->problem.message = tc_words_from_server(ping->problem.message);
	else
	{
		ping->namespace_name = config->own_namespace;
		ping->probe = tc_probe_request_encode(ping->namespace_name, &ping->probe_len);
		tc_words_copy(ping->reply.address, sizeof(ping->reply.address),
					  tc_words_from_server(config->channel.address));
		ping->config = config;
	}
	MemoryContextSwitchTo(old);
}

/* This and what follows runs beneath the wire: it must not raise errors. */
static void
state_changed(void *arg, Channel *channel, ChannelState state, const ChannelError *error)
{
	Ping	   *ping = arg;
	Call		call = {0};

	if (ping->over)
		return;
	if (error != NULL)
	{
		ping_failed(ping, error->code, error->message);
		return;
	}
	if (state != CHANNEL_READY)
		return;

	if (tc_channel_tls_version(channel) != NULL)
		strlcpy(ping->reply.tls_version, tc_channel_tls_version(channel),
				sizeof(ping->reply.tls_version));
	call.path = SYSTEM_INFO_PATH;
	call.namespace_name = ping->namespace_name;
	call.message = (const uint8 *) "";
	call.timeout_ms = ping->config->request_timeout_ms;
	call.max_reply = MAX_REPLY;
	call.done = system_info_done;
	call.arg = ping;
	INSTR_TIME_SET_CURRENT(ping->sent_at);
	tc_channel_call(channel, &call);
	tc_channel_flush(channel);
}

static void
system_info_done(void *arg, const CallResult *result)
{
	Ping	   *ping = arg;
	instr_time	now;
	Call		call = {0};

	if (ping->over)
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, ping->sent_at);
	ping->reply.round_trip_ms = INSTR_TIME_GET_MILLISEC(now);
	if (result->fate != CALL_ANSWERED || result->grpc_status != 0)
	{
		ping_failed(ping, tc_error_code(result), result->message);
		return;
	}
	ping->system_info_len = Min(result->reply_len, sizeof(ping->system_info));
	memcpy(ping->system_info, result->reply, ping->system_info_len);

	if (tc_channel_capacity(ping->channel) == 0)
	{
		ping_failed(ping, "UNAVAILABLE", "the connection was closed");
		return;
	}
	call.path = tc_method_path(METHOD_HEARTBEAT_BY_ID);
	call.namespace_name = ping->namespace_name;
	call.message = ping->probe;
	call.message_len = ping->probe_len;
	call.timeout_ms = ping->config->request_timeout_ms;
	call.max_reply = MAX_REPLY;
	call.done = probe_done;
	call.arg = ping;
	tc_channel_call(ping->channel, &call);
	tc_channel_flush(ping->channel);
}

static void
probe_done(void *arg, const CallResult *result)
{
	Ping	   *ping = arg;

	if (ping->over)
		return;

	/*
	 * refused for the missing activity id, or for nothing at all: all else
	 * was right
	 */
	if (result->fate == CALL_ANSWERED &&
		(tc_classify(result) == MEANING_REJECTED || result->grpc_status == 0))
	{
		ping->reply.ok = true;
		ping->reply.authorized = true;
		ping->over = true;
		return;
	}
	ping_failed(ping, tc_error_code(result), result->message);
}

/* It is over, and why: the turn tells who asked. */
static void
ping_failed(Ping *ping, const char *code, const char *message)
{
	strlcpy(ping->reply.error_code, code, sizeof(ping->reply.error_code));
	strlcpy(ping->error_message, message, sizeof(ping->error_message));
	ping->over = true;
}

static void
end_ping(Ping *ping)
{
	MemoryContext old = MemoryContextSwitchTo(ping->context);

	dlist_delete(&ping->node);
	npings--;
	if (ping->channel != NULL)
		tc_channel_destroy(ping->channel);
	/* if there can be no transaction, what is ASCII is told */
	if (!tc_run_transaction(translate, ping))
		translate(ping);
	tc_worker_answer_ping(&ping->request, &ping->reply);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(ping->context);
}

/* The wire's words are UTF-8, the reader's those of the database. */
static void
translate(void *arg)
{
	Ping	   *ping = arg;
	char	   *version = NULL;

	if (ping->system_info_len > 0)
		version = tc_system_info_decode(ping->system_info, ping->system_info_len);
	if (version != NULL)
		tc_words_copy(ping->reply.server_version, sizeof(ping->reply.server_version), version);
	tc_words_copy(ping->reply.error_message, sizeof(ping->reply.error_message),
				  ping->error_message);
}
