/*-------------------------------------------------------------------------
 *
 * json_channel.c
 *	  Channels of HTTP/JSON that have HTTP/2 only, for fuzz_grpc.
 *
 * They stand in for http_channel.c, and ask nothing before they are ready.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/http_streams.h"
#include "wire/streams.h"

typedef struct JsonChannel
{
	Channel		channel;		/* must be first */
	Streams		streams;
}			JsonChannel;

static Streams *
streams_of(const Channel *channel)
{
	return &((JsonChannel *) channel)->streams;
}

static void
opened(Channel *channel)
{
	tc_channel_set_state(channel, CHANNEL_READY, NULL);
}

static void
failed(Channel *channel, const ChannelError *error, bool wants_http1)
{
	tc_channel_set_state(channel, CHANNEL_FAILED, error);
}

static void
init(Channel *channel)
{
	tc_streams_init(streams_of(channel), channel, &tc_http_streams, opened, failed);
	streams_of(channel)->has_http1 = true;
}

static void
connect_session(Channel *channel, int connections)
{
	channel->state = CHANNEL_CONNECTING;
	tc_streams_connect(streams_of(channel));
}

static int
sessions(const Channel *channel)
{
	return tc_streams_sessions(streams_of(channel));
}

static int
capacity(const Channel *channel)
{
	return tc_streams_capacity(streams_of(channel));
}

static void
call_method(Channel *channel, const Call *call)
{
	tc_streams_call(streams_of(channel), call);
}

static void
flush(Channel *channel)
{
	tc_streams_flush(streams_of(channel));
}

static void
look_at_files(Channel *channel)
{
	tc_streams_look_at_files(streams_of(channel));
}

static void
close_sessions(Channel *channel)
{
	tc_streams_close(streams_of(channel));
}

static void
sweep(Channel *channel)
{
	tc_streams_sweep(streams_of(channel));
}

const Transport tc_http_transport = {
	.size = sizeof(JsonChannel),
	.max_connections = 1,
	.init = init,
	.connect = connect_session,
	.sessions = sessions,
	.capacity = capacity,
	.call = call_method,
	.flush = flush,
	.look_at_files = look_at_files,
	.close = close_sessions,
	.sweep = sweep
};
