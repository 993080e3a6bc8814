/*-------------------------------------------------------------------------
 *
 * grpc_channel.c
 *	  Channels of gRPC (a transport of channel.h): unary calls over HTTP/2
 *	  sessions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/grpc_calls.h"
#include "wire/streams.h"

typedef struct GrpcChannel
{
	Channel		channel;		/* must be first */
	Streams		streams;
} GrpcChannel;

static Streams *
streams_of(const Channel *channel)
{
	return &((GrpcChannel *) channel)->streams;
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
	tc_streams_init(streams_of(channel), channel, &tc_grpc_calls, opened, failed);
}

/* One connection, whatever is granted: calls are streams of it. */
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

const Transport tc_grpc_transport = {
	.size = sizeof(GrpcChannel),
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
