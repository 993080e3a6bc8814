/*-------------------------------------------------------------------------
 *
 * session_calls.c
 *	  The worker's side of what sessions ask of a server.
 *
 * Such a call goes the way that requests go, by the options as they are now.
 *
 * A ping tests that way: over a connection of its own it asks for the server's
 * version, which needs no authorization, and then makes a request that cannot
 * touch any activity and is refused with INVALID_ARGUMENT once credentials and
 * namespace have been accepted.  If there is a codec server it is asked at the
 * same time to encode nothing.
 *
 * A description is asked for over the channel that requests use.  It is handed
 * over as it came: the session reads it.  So nothing in it can harm the worker.
 * But where there is a codec server, what it has of failures is decoded, if the
 * role may use the server: then it has those messages in place of what stands
 * for them.  If that cannot be done it is handed over as it came.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "base/foreign_text.h"
#include "compat.h"
#include "process/session_calls.h"
#include "request/description.h"
#include "request/method.h"
#include "request/replies.h"
#include "request/request_payloads.h"
#include "request/request.h"
#include "server/server.h"
#include "wire/classify.h"
#include "wire/codec.h"
#include "worker/channel_pool.h"
#include "worker/session_calls.h"
#include "worker/transaction.h"

#define SYSTEM_INFO_PATH WORKFLOW_SERVICE "GetSystemInfo"

/* What a server says of itself, and of the probe */
#define MAX_REPLY (64 * 1024)

/* Of a description, with what activities have failed with and heartbeaten: as of proofs */
#define MAX_DESCRIPTION (8 * 1024 * 1024)

/* Of that, what is decoded, and what that may get to be */
#define MAX_ENCODED (256 * 1024)
#define MAX_DECODED (1024 * 1024)

typedef struct CallOfSession
{
	dlist_node	node;
	SessionCall asked;
	SessionAnswer answer;
	MemoryContext context;
	const char *namespace_name; /* in UTF-8 */
	ServerProblem problem;		/* in UTF-8; if it has a message */
	int			timeout_ms;
	/* of a ping */
	ServerConfig *config;
	Channel    *channel;
	Channel    *codec;			/* NULL = there is none */
	bool		codec_answered;
	/* of a description; NULL = it must not be asked for */
	PooledChannel *pooled;
	Account    *account;
	bool		is_called;		/* and there is no answer yet */
	bool		may_decode;
	bool		is_described;	/* and perhaps to be decoded */
	StringInfoData encoded;		/* what is */
	uint8	   *decoded;		/* NULL = nothing */
	size_t		decoded_len;
	const char *path;			/* of the call that matters */
	uint8	   *message;
	size_t		message_len;
	uint8		system_info[2048];
	size_t		system_info_len;
	instr_time	sent_at;
	uint8	   *description;	/* NULL = none */
	size_t		description_len;
	size_t		handed_over;
	char		error_message[1024];	/* as it came (UTF-8) */
	bool		over;
	bool		translated;		/* the answer is complete */
} CallOfSession;

/*
 * At once; more wait until one of them has ended.  Descriptions may be large,
 * so a role has its share of them; of pings the mailboxes see to it.
 */
#define MAX_PINGS 32
#define MAX_DESCRIPTIONS 8
#define MAX_DESCRIPTIONS_OF_ROLE 2

static dlist_head calls = DLIST_STATIC_INIT(calls);

static bool may_begin(const SessionCall *asked);
static void end_calls(void);
static void describe(CallOfSession *it);
static void decode(CallOfSession *it);
static void decode_done(void *arg, const CallResult *result);
static void put_in_decoded(CallOfSession *it);
static bool hand_over(CallOfSession *it);
static void begin_call(const SessionCall *asked);
static void read_options(void *arg);
static void prepare_ping(CallOfSession *it, const QueueRow *queue);
static void prepare_description(CallOfSession *it, const QueueRow *queue);
static void state_changed(void *arg, Channel *channel, ChannelState state,
						  const ChannelError *error);
static void codec_changed(void *arg, Channel *channel, ChannelState state,
						  const ChannelError *error);
static void system_info_done(void *arg, const CallResult *result);
static void make_call(CallOfSession *it, Channel *channel, const char *path, const uint8 *message,
					  size_t len, size_t max_reply, CallDone done);
static void probe_done(void *arg, const CallResult *result);
static void description_done(void *arg, const CallResult *result);
static void call_failed(CallOfSession *it, const char *code, const char *message);
static void close_channels(CallOfSession *it);
static void end_call(CallOfSession *it);
static void translate(void *arg);

void
tc_session_calls_turn(void)
{
	SessionCall asked;

	/* one that ends may make room for another one, and one may end at once */
	for (;;)
	{
		end_calls();
		if (!tc_worker_take_call(&asked, may_begin))
			break;
		begin_call(&asked);
	}
}

/* Runs under a spinlock: must not fail. */
static bool
may_begin(const SessionCall *asked)
{
	int			pings = 0;
	int			descriptions = 0;
	int			of_role = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &calls)
	{
		const SessionCall *other = &dlist_container(CallOfSession, node, iter.cur)->asked;

		if (other->kind == CALL_PING)
			pings++;
		else
		{
			descriptions++;
			of_role += other->role == asked->role;
		}
	}
	if (asked->kind == CALL_PING)
		return pings < MAX_PINGS;
	return descriptions < MAX_DESCRIPTIONS && of_role < MAX_DESCRIPTIONS_OF_ROLE;
}

/*
 * End those that are over, and those that nobody waits for any more; but one
 * whose call is under way is kept until that has ended.
 */
static void
end_calls(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &calls)
	{
		CallOfSession *it = dlist_container(CallOfSession, node, iter.cur);

		if (it->pooled != NULL && !it->over && !it->is_called)
		{
			if (it->is_described)
				decode(it);
			else
				describe(it);
		}
		if (!it->is_called &&
			(!tc_worker_call_is_awaited(&it->asked) || (it->over && hand_over(it))))
			end_call(it);
	}
}

/* Ask for a description, as soon as the channel is connected. */
static void
describe(CallOfSession *it)
{
	PooledChannel *pooled = it->pooled;

	if (tc_channels_connect(pooled, it->account))
	{
		if (tc_channel_capacity(pooled->channel) == 0)
			return;
		tc_channels_begin_call(pooled);
		it->is_called = true;
		make_call(it, pooled->channel, it->path, it->message, it->message_len, MAX_DESCRIPTION,
				  description_done);
	}
	else if (tc_channel_state(pooled->channel) != CHANNEL_CONNECTING && tc_channels_backing_off(pooled))
		call_failed(it, pooled->error.code, pooled->error.message);
}

/* Have decoded what there is, as soon as the codec server is connected, or else leave it as it is. */
static void
decode(CallOfSession *it)
{
	PooledChannel *codec = it->pooled->codec;

	if (it->decoded != NULL)
		put_in_decoded(it);
	else if (it->encoded.data == NULL && codec != NULL && it->may_decode)
	{
		MemoryContext old = MemoryContextSwitchTo(it->context);

		initStringInfo(&it->encoded);
		MemoryContextSwitchTo(old);
		(void) tc_description_payloads(it->asked.kind == CALL_DESCRIBE_WORKFLOW, it->description,
									   it->description_len, MAX_ENCODED, &it->encoded);
	}
	if (it->encoded.len == 0 || it->decoded != NULL)
		it->over = true;
	else if (tc_channels_connect(codec, it->account))
	{
		if (tc_channel_capacity(codec->channel) == 0)
			return;
		tc_channels_begin_call(codec);
		it->is_called = true;
		make_call(it, codec->channel, TC_CODEC_DECODE, (const uint8 *) it->encoded.data,
				  it->encoded.len, MAX_DECODED, decode_done);
	}
	else if (tc_channel_state(codec->channel) != CHANNEL_CONNECTING)
		it->over = true;
}

/* Beneath the wire */
static void
decode_done(void *arg, const CallResult *result)
{
	CallOfSession *it = arg;

	it->is_called = false;
	tc_channels_end_call(it->pooled->codec);
	if (result->fate == CALL_ANSWERED && result->grpc_status == CODEC_OK)
		it->decoded = MemoryContextAllocExtended(it->context, result->reply_len + 1,
												 MCXT_ALLOC_NO_OOM);
	if (it->decoded == NULL)
	{
		it->over = true;
		return;
	}
	memcpy(it->decoded, result->reply, result->reply_len);
	it->decoded_len = result->reply_len;
}

static void
put_in_decoded(CallOfSession *it)
{
	MemoryContext old = MemoryContextSwitchTo(it->context);
	ProtoReader payloads;
	uint8	   *description;
	size_t		len;

	tc_proto_begin(&payloads, it->decoded, it->decoded_len);
	description = tc_description_decoded(it->asked.kind == CALL_DESCRIBE_WORKFLOW, it->description,
										 it->description_len, MAX_ENCODED, &payloads, &len);
	if (description != NULL)
	{
		it->description = description;
		it->description_len = len;
	}
	MemoryContextSwitchTo(old);
}

/* Hand over as much as the session takes now.  True when it has got all of it, and the answer. */
static bool
hand_over(CallOfSession *it)
{
	close_channels(it);
	while (it->handed_over < it->description_len)
	{
		size_t		len = Min(it->description_len - it->handed_over, SESSION_PART_SIZE);

		if (!tc_worker_hand_over(&it->asked, it->handed_over,
								 it->description + it->handed_over, len))
			return false;
		it->handed_over += len;
	}
	if (!it->translated)
	{
		MemoryContext old = MemoryContextSwitchTo(it->context);

		/* if there can be no transaction, what is ASCII is told */
		if (!tc_run_transaction(translate, it))
			translate(it);
		it->translated = true;
		MemoryContextSwitchTo(old);
	}
	return tc_worker_answer_call(&it->asked, &it->answer);
}

bool
tc_session_calls_are_busy(void)
{
	return !dlist_is_empty(&calls);
}

static void
begin_call(const SessionCall *asked)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "temporal_complete call of a session",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CallOfSession *it = palloc0(sizeof(CallOfSession));

	it->context = context;
	it->asked = *asked;
	dlist_push_tail(&calls, &it->node);
	if (asked->kind == CALL_PING)
	{
		/* what it finds to be right, requests have to find, too */
		tc_channels_files_may_have_changed();
	}
	else
		it->account = tc_account_get(asked->role, asked->serverid);
	if (!tc_run_transaction(read_options, it))
		call_failed(it, "CONFIGURATION", "the server's options cannot be read; see the server log");
	else if (it->problem.message != NULL)
		call_failed(it, it->problem.code, it->problem.message);
	else if (it->config != NULL)
	{
		it->channel = tc_channel_create(&it->config->channel, state_changed, it);
		if (it->config->codec.codec_path != NULL)
			it->codec = tc_channel_create(&it->config->codec, codec_changed, it);
		else
			it->codec_answered = true;
		tc_channel_connect(it->channel, 1);
		if (it->codec != NULL)
			tc_channel_connect(it->codec, 1);
	}
	MemoryContextSwitchTo(old);
}

/* All that needs a transaction: looking at catalogs, and converting texts. */
static void
read_options(void *arg)
{
	CallOfSession *it = arg;
	const SessionCall *asked = &it->asked;
	QueueRow	queue = {
		.key.server = asked->serverid,
		.key.role = asked->role,
		.key.namespace_name = asked->namespace_name[0] != '\0' ? asked->namespace_name : NULL,
		.server_name = asked->server,
		.role_name = "?",
	};
	MemoryContext old = MemoryContextSwitchTo(it->context);

	if (asked->kind == CALL_PING)
		prepare_ping(it, &queue);
	else
		prepare_description(it, &queue);
	if (it->problem.message != NULL)
		it->problem.message = tc_words_from_server(it->problem.message);
	MemoryContextSwitchTo(old);
}

static void
prepare_ping(CallOfSession *it, const QueueRow *queue)
{
	ServerConfig *config = tc_server_config_to_look(queue, &it->problem);
	const char *namespace_name;
	RequestMethod method;

	if (config == NULL)
		return;
	namespace_name = tc_server_namespace(config, &queue->key);
	it->namespace_name = tc_namespace_to_utf8(namespace_name);
	/* ids are in the path of HTTP, and without one there is none */
	method = config->channel.http ? METHOD_HEARTBEAT : METHOD_HEARTBEAT_BY_ID;
	it->path = tc_method_path(method);
	it->message = tc_probe_request_encode(method, namespace_name, &it->message_len);
	it->timeout_ms = config->request_timeout_ms;
	tc_words_copy(it->answer.address, sizeof(it->answer.address),
				  tc_words_from_server(config->channel.address));
	it->config = config;
}

static void
prepare_description(CallOfSession *it, const QueueRow *queue)
{
	const SessionCall *asked = &it->asked;
	char	   *namespace_name;
	bool		is_own;

	it->pooled = tc_channels_get(queue, true, &namespace_name, &is_own, &it->problem);
	if (it->pooled == NULL)
		return;
	it->timeout_ms = it->pooled->config->request_timeout_ms;
	it->may_decode = tc_server_aclcheck(asked->serverid, asked->role) == ACLCHECK_OK;
	it->namespace_name = tc_namespace_to_utf8(namespace_name);
	if (asked->kind == CALL_DESCRIBE_WORKFLOW)
	{
		it->path = DESCRIBE_WORKFLOW_PATH;
		it->message = tc_describe_workflow_encode(it->namespace_name, asked->id, asked->run_id,
												  &it->message_len);
	}
	else
	{
		it->path = DESCRIBE_ACTIVITY_PATH;
		it->message = tc_describe_activity_encode(it->namespace_name, asked->id, asked->run_id,
												  false, &it->message_len);
	}
}

/* This and what follows runs beneath the wire: it must not raise errors. */
static void
state_changed(void *arg, Channel *channel, ChannelState state, const ChannelError *error)
{
	CallOfSession *it = arg;

	if (it->over)
		return;
	if (error != NULL)
	{
		call_failed(it, error->code, error->message);
		return;
	}
	if (state != CHANNEL_READY)
		return;

	if (tc_channel_tls_version(channel) != NULL)
		strlcpy(it->answer.tls_version, tc_channel_tls_version(channel),
				sizeof(it->answer.tls_version));
	INSTR_TIME_SET_CURRENT(it->sent_at);
	make_call(it, channel, SYSTEM_INFO_PATH, (const uint8 *) "", 0, MAX_REPLY, system_info_done);
}

static void
codec_changed(void *arg, Channel *channel, ChannelState state, const ChannelError *error)
{
	CallOfSession *it = arg;

	if (it->over)
		return;
	if (error != NULL)
		call_failed(it, tc_codec_channel_code(error->code), error->message);
	else if (state == CHANNEL_READY)
	{
		it->codec_answered = true;
		it->over = it->answer.authorized;
	}
}

static void
make_call(CallOfSession *it, Channel *channel, const char *path, const uint8 *message, size_t len,
		  size_t max_reply, CallDone done)
{
	Call		call = {0};

	call.path = path;
	call.namespace_name = it->namespace_name;
	call.message = message;
	call.message_len = len;
	call.timeout_ms = it->timeout_ms;
	call.max_reply = max_reply;
	call.done = done;
	call.arg = it;
	tc_channel_call(channel, &call);
	tc_channel_flush(channel);
}

static void
system_info_done(void *arg, const CallResult *result)
{
	CallOfSession *it = arg;
	instr_time	now;

	if (it->over)
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, it->sent_at);
	it->answer.round_trip_ms = INSTR_TIME_GET_MILLISEC(now);
	if (result->fate != CALL_ANSWERED || result->grpc_status != 0)
	{
		call_failed(it, tc_error_code(result), result->message);
		return;
	}
	it->system_info_len = Min(result->reply_len, sizeof(it->system_info));
	memcpy(it->system_info, result->reply, it->system_info_len);

	if (tc_channel_capacity(it->channel) == 0)
	{
		call_failed(it, "UNAVAILABLE", "the connection was closed");
		return;
	}
	make_call(it, it->channel, it->path, it->message, it->message_len, MAX_REPLY, probe_done);
}

static void
probe_done(void *arg, const CallResult *result)
{
	CallOfSession *it = arg;

	if (it->over)
		return;

	/*
	 * refused for the missing activity id, by a test server because there is
	 * no such activity, or for nothing at all: all else was right
	 */
	if (result->fate == CALL_ANSWERED &&
		(tc_classify(result) == MEANING_REJECTED || tc_classify(result) == MEANING_GONE ||
		 result->grpc_status == 0))
	{
		it->answer.authorized = true;
		it->over = it->codec_answered;
		return;
	}
	call_failed(it, tc_error_code(result), result->message);
}

static void
description_done(void *arg, const CallResult *result)
{
	CallOfSession *it = arg;

	it->is_called = false;
	tc_channels_end_call(it->pooled);
	if (result->fate == CALL_ANSWERED && tc_classify(result) == MEANING_GONE)
	{
		it->answer.not_found = true;
		it->over = true;
		return;
	}
	if (result->fate != CALL_ANSWERED || result->grpc_status != 0)
	{
		call_failed(it, tc_error_code(result), result->message);
		return;
	}
	it->description = MemoryContextAllocExtended(it->context, result->reply_len + 1,
												 MCXT_ALLOC_NO_OOM);
	if (it->description == NULL)
	{
		call_failed(it, "RESOURCE_EXHAUSTED", "out of memory");
		return;
	}
	memcpy(it->description, result->reply, result->reply_len);
	it->description_len = result->reply_len;
	it->is_described = true;
}

/* It is over, and why: the turn tells who asked. */
static void
call_failed(CallOfSession *it, const char *code, const char *message)
{
	strlcpy(it->answer.error_code, code, sizeof(it->answer.error_code));
	strlcpy(it->error_message, message, sizeof(it->error_message));
	it->over = true;
}

static void
close_channels(CallOfSession *it)
{
	if (it->channel != NULL)
		tc_channel_destroy(it->channel);
	if (it->codec != NULL)
		tc_channel_destroy(it->codec);
	it->channel = it->codec = NULL;
}

static void
end_call(CallOfSession *it)
{
	dlist_delete(&it->node);
	/* calls of a ping end with its channels */
	it->over = true;
	close_channels(it);
	if (it->pooled != NULL)
		tc_channels_release(it->pooled);
	if (it->account != NULL)
		tc_account_release(it->account);
	MemoryContextDelete(it->context);
}

/* The wire's words are UTF-8, the reader's those of the database. */
static void
translate(void *arg)
{
	CallOfSession *it = arg;
	char	   *version = NULL;

	if (it->system_info_len > 0)
		version = tc_system_info_decode(it->system_info, it->system_info_len);
	if (version != NULL)
		tc_words_copy(it->answer.server_version, sizeof(it->answer.server_version), version);
	tc_words_copy(it->answer.error_message, sizeof(it->answer.error_message),
				  it->error_message);
}
