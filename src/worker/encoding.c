/*-------------------------------------------------------------------------
 *
 * encoding.c
 *	  Payloads go through a server's codec server before they are sent.
 *
 * Those of many requests of a queue go in one call, a batch; several batches of
 * a codec server are under way at once, of which each role has its part.
 *
 *	  answer                 what follows
 *	  ------------------------------------------------------------------------
 *	  as many payloads       they take the places of those that were given
 *	  refused, or of         if it was one request, it is to blame; else each
 *	  another number         half is a batch of its own
 *	  failed, or none        if it was one request, it is tried again later, and
 *							 then alone; else all are put back, and go one by
 *							 one until that succeeds
 *	  refuses everything     all are put back; the channel backs off
 *
 * So a request never ends, or waits, because of another one; and a server that
 * is down or says that it is closed uses up nobody's attempts.
 *
 * What a codec server answers is not believed to be right, but it has to be:
 * as many payloads as it was given, each of which Temporal would take.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "request/request_payloads.h"
#include "wire/codec.h"
#include "worker/active_queues.h"
#include "worker/encoding.h"

/* Of a batch; one request may have more bytes */
#define BATCH_MAX 64
#define BATCH_BYTES_MAX (256 * 1024)

/* What is encrypted is longer, by a little for each, and what is compressed shorter */
#define MAX_REPLY(len, n) (2 * (len) + 4096 * (size_t) (n))

/* As share.c has it: the more, the more of a codec server one role alone gets */
#define GREED 3

typedef struct Batch
{
	dlist_node	node;			/* of its codec server: see batches */
	dlist_node	list_node;		/* to be started, or answered */
	MemoryContext context;		/* of everything here */
	PooledChannel *codec;
	Account    *account;
	Oid			role;
	char	   *namespace_utf8;
	bool		common_attributes;
	Encodable	items[BATCH_MAX];
	int			counts[BATCH_MAX];	/* payloads of each */
	int			nitems;
	int			npayloads;
	StringInfoData payloads;
	size_t		charged;

	/* its answer */
	CallFate	fate;
	int			status;			/* CodecVerdict */
	const char *code;
	char		message[256];
	uint8	   *reply;			/* NULL: there was none, or no memory for it */
	size_t		reply_len;
} Batch;

static MemoryContext encodings_context;

/* The one that is being put together, or NULL; those whose turn has not come; those answered */
static Batch *open_batch;
static Queue *open_queue;
static dlist_head waiting = DLIST_STATIC_INIT(waiting);
static dlist_head answered = DLIST_STATIC_INIT(answered);

static bool has_room(Queue *queue);
static Batch *make_batch(PooledChannel *codec, Account *account, Oid role, const char *namespace_utf8,
						 bool common_attributes);
static bool add_item(Batch *batch, const Encodable *it, const StringInfo payloads, int count);
static void start_waiting(void);
static void start(Batch *batch);
static void call_done(void *arg, const CallResult *result);
static void settle(Batch *batch);
static void take_payloads(Batch *batch);
static void split(Batch *batch);
static void tell(Batch *batch, int first, int n, const EncodeResult *result);
static void tell_all(Batch *batch, EncodeVerdict verdict);
static void free_batch(Batch *batch);

void
tc_encodings_init(void)
{
	encodings_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete encodings",
											  ALLOCSET_SMALL_SIZES);
}

bool
tc_encoding_is_ready(Queue *queue)
{
	PooledChannel *codec = queue->channel->codec;

	return codec == NULL || tc_channels_connect(codec, queue->account);
}

/*---- putting together ----*/

EncodeBegin
tc_encode(Queue *queue, const Encodable *it)
{
	PooledChannel *codec = queue->channel->codec;
	bool		common_attributes = queue->channel->config->encode_common_attributes;
	StringInfoData payloads;
	int			count;
	int			most;

	initStringInfo(&payloads);
	count = tc_request_payloads(it->method, it->bytes, it->len, common_attributes, &payloads);
	if (count <= 0)
	{
		pfree(payloads.data);
		return count == 0 ? ENCODE_NEEDLESS : ENCODE_MALFORMED;
	}
	if (open_batch != NULL && (open_queue != queue || it->alone))
		tc_encodings_flush();
	if (open_batch == NULL)
	{
		if (!has_room(queue))
		{
			pfree(payloads.data);
			return ENCODE_NO_ROOM;
		}
		open_batch = make_batch(codec, queue->account, queue->row.key.role, queue->namespace_utf8,
								common_attributes);
		open_queue = queue;
	}
	else if (open_batch->payloads.len + payloads.len > BATCH_BYTES_MAX)
	{
		tc_encodings_flush();
		pfree(payloads.data);
		return tc_encode(queue, it);
	}
	add_item(open_batch, it, &payloads, count);
	pfree(payloads.data);
	if (codec->batch_max == 0)
		codec->batch_max = BATCH_MAX;
	most = it->alone ? 1 : codec->batch_max;
	if (open_batch->nitems >= most)
		tc_encodings_flush();
	return ENCODE_BEGUN;
}

/*
 * A role has its part of what a codec server takes at once, as it has of all.
 * A codec server may make much of little: that counts for whoever has it encode.
 */
static bool
has_room(Queue *queue)
{
	PooledChannel *codec = queue->channel->codec;
	int			left = tc_channel_capacity(codec->channel);
	int			own = 0;
	dlist_iter	iter;

	if (left > 0 && !tc_queue_may_have(queue, SHARE_ENCODED))
		return false;
	dlist_foreach(iter, &codec->batches)
		own += dlist_container(Batch, node, iter.cur)->role == queue->row.key.role;
	return left > 0 && own < GREED * left;
}

static Batch *
make_batch(PooledChannel *codec, Account *account, Oid role, const char *namespace_utf8,
		   bool common_attributes)
{
	MemoryContext context = AllocSetContextCreate(encodings_context, "temporal_complete encoding",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Batch	   *batch = palloc0(sizeof(Batch));

	batch->context = context;
	batch->codec = codec;
	batch->account = tc_account_share(account);
	batch->role = role;
	batch->namespace_utf8 = pstrdup(namespace_utf8);
	batch->common_attributes = common_attributes;
	initStringInfo(&batch->payloads);
	dlist_push_tail(&codec->batches, &batch->node);
	tc_channels_begin_call(codec);
	MemoryContextSwitchTo(old);
	return batch;
}

static bool
add_item(Batch *batch, const Encodable *it, const StringInfo payloads, int count)
{
	if (batch->nitems == BATCH_MAX)
		return false;
	appendBinaryStringInfo(&batch->payloads, payloads->data, payloads->len);
	batch->items[batch->nitems] = *it;
	batch->counts[batch->nitems++] = count;
	batch->npayloads += count;
	return true;
}

void
tc_encodings_flush(void)
{
	Batch	   *batch = open_batch;

	if (batch == NULL)
		return;
	open_batch = NULL;
	open_queue = NULL;
	start(batch);
}

/* Halves of what was refused */
static void
start_waiting(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &waiting)
	{
		Batch	   *batch = dlist_container(Batch, list_node, iter.cur);

		if (tc_channel_state(batch->codec->channel) == CHANNEL_READY &&
			tc_channel_capacity(batch->codec->channel) == 0)
			continue;
		dlist_delete(iter.cur);
		start(batch);
	}
}

static void
start(Batch *batch)
{
	Call		call = {0};

	if (tc_channel_capacity(batch->codec->channel) == 0)
	{
		/* it was closed meanwhile */
		batch->fate = CALL_NOT_PROCESSED;
		dlist_push_tail(&answered, &batch->list_node);
		return;
	}
	batch->charged = batch->payloads.len;
	tc_share_take(batch->account, SHARE_ENCODED, batch->charged);
	call.path = TC_CODEC_ENCODE;
	call.namespace_name = batch->namespace_utf8;
	call.message = (const uint8 *) batch->payloads.data;
	call.message_len = batch->payloads.len;
	call.timeout_ms = batch->codec->config->request_timeout_ms;
	call.max_reply = MAX_REPLY(call.message_len, batch->npayloads);
	call.done = call_done;
	call.arg = batch;
	tc_channel_call(batch->codec->channel, &call);
	tc_channel_flush(batch->codec->channel);
}

/*---- answers ----*/

/* Runs beneath the wire: must not raise errors, so the reply is only kept. */
static void
call_done(void *arg, const CallResult *result)
{
	Batch	   *batch = arg;

	batch->fate = result->fate;
	batch->status = result->grpc_status;
	batch->code = tc_codec_result_code(result);
	strlcpy(batch->message, result->message, sizeof(batch->message));
	if (result->fate == CALL_ANSWERED && result->grpc_status == CODEC_OK)
	{
		batch->reply = MemoryContextAllocExtended(batch->context, result->reply_len + 1,
												  MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
		if (batch->reply != NULL)
		{
			memcpy(batch->reply, result->reply, result->reply_len);
			batch->reply_len = result->reply_len;
		}
	}
	dlist_push_tail(&answered, &batch->list_node);
}

void
tc_encodings_settle(void)
{
	while (!dlist_is_empty(&answered))
		settle(dlist_container(Batch, list_node, dlist_pop_head_node(&answered)));
	start_waiting();
}

static void
settle(Batch *batch)
{
	PooledChannel *codec = batch->codec;
	EncodeResult result = {ENCODE_FAILED};
	CodecVerdict verdict = batch->fate != CALL_ANSWERED ? CODEC_FAILED : (CodecVerdict) batch->status;

	tc_share_give(batch->account, SHARE_ENCODED, batch->charged);
	batch->charged = 0;
	if (verdict == CODEC_OK && batch->reply == NULL)
		verdict = CODEC_FAILED;
	else if (verdict == CODEC_OK &&
			 tc_payloads_count(batch->reply, batch->reply_len) != batch->npayloads)
	{
		verdict = CODEC_GARBLED;
		snprintf(batch->message, sizeof(batch->message),
				 "the codec server at \"%s\" answers with another number of payloads than it was given",
				 codec->config->channel.address);
	}
	if (verdict == CODEC_OK || verdict == CODEC_REFUSED || verdict == CODEC_GARBLED)
	{
		codec->failures = 0;
		codec->batch_max = Min(2 * codec->batch_max, BATCH_MAX);
	}

	switch (verdict)
	{
		case CODEC_OK:
			take_payloads(batch);
			return;
		case CODEC_REFUSED:
		case CODEC_GARBLED:
			if (batch->nitems > 1)
			{
				split(batch);
				return;
			}
			result.verdict = ENCODE_REFUSED;
			break;
		case CODEC_STUMBLED:
		case CODEC_FAILED:
		case CODEC_NONSENSE:
			codec->batch_max = 1;

			/*
			 * what was not sent had no part in it, unless it could not be
			 * sent at all
			 */
			if (batch->nitems == 1 &&
				(batch->fate != CALL_NOT_PROCESSED ||
				 tc_channel_state(codec->channel) == CHANNEL_READY))
				break;
			tell_all(batch, ENCODE_PUT_BACK);
			return;
		case CODEC_CLOSED:
			tell_all(batch, ENCODE_PUT_BACK);
			return;
	}
	result.code = batch->code;
	result.message = batch->message;
	tell(batch, 0, 1, &result);
	free_batch(batch);
}

static void
take_payloads(Batch *batch)
{
	ProtoReader payloads;
	EncodeResult results[BATCH_MAX];

	tc_proto_begin(&payloads, batch->reply, batch->reply_len);
	for (int i = 0; i < batch->nitems; i++)
	{
		const Encodable *it = &batch->items[i];
		EncodeResult *result = &results[i];
		ProtoReader next = payloads;
		ProtoField	field;

		memset(result, 0, sizeof(*result));
		result->bytes = tc_request_with_payloads(it->method, it->bytes, it->len,
												 batch->common_attributes, &next, &result->len);
		if (result->bytes == NULL)
		{
			result->verdict = ENCODE_REFUSED;
			result->code = TC_CODEC_BAD_ANSWER;
			result->message = "the codec server answers with a payload that is none";
		}
		/* whatever became of it, the next one's come behind its own */
		for (int n = 0; n < batch->counts[i]; n++)
			(void) tc_proto_next(&payloads, &field);
	}
	/* who puts them first has them in their order then */
	for (int i = batch->nitems - 1; i >= 0; i--)
		tell(batch, i, 1, &results[i]);
	free_batch(batch);
}

/* One of them is to blame: it is in one half. */
static void
split(Batch *batch)
{
	int			half = batch->nitems / 2;

	for (int part = 0; part < 2; part++)
	{
		int			first = part == 0 ? 0 : half;
		int			end = part == 0 ? half : batch->nitems;
		Batch	   *piece = make_batch(batch->codec, batch->account, batch->role,
									   batch->namespace_utf8, batch->common_attributes);

		for (int i = first; i < end; i++)
		{
			StringInfoData payloads;

			initStringInfo(&payloads);
			tc_request_payloads(batch->items[i].method, batch->items[i].bytes, batch->items[i].len,
								batch->common_attributes, &payloads);
			add_item(piece, &batch->items[i], &payloads, batch->counts[i]);
			pfree(payloads.data);
		}
		dlist_push_tail(&waiting, &piece->list_node);
	}
	free_batch(batch);
}

static void
tell(Batch *batch, int first, int n, const EncodeResult *result)
{
	for (int i = first; i < first + n; i++)
		batch->items[i].over(batch->items[i].arg, result);
}

static void
tell_all(Batch *batch, EncodeVerdict verdict)
{
	EncodeResult result = {verdict};

	tell(batch, 0, batch->nitems, &result);
	free_batch(batch);
}

static void
free_batch(Batch *batch)
{
	dlist_delete(&batch->node);
	tc_channels_end_call(batch->codec);
	tc_account_release(batch->account);
	MemoryContextDelete(batch->context);
}
