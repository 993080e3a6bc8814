/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  Channels (implements transport.h): which transport carries them, and how
 *	  long they live.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel.h"
#include "wire/channel_options.h"

Channel *
tc_channel_create(const ChannelOptions *options, ChannelStateChanged changed, void *arg)
{
	const Transport *transport = options->http ? &tc_http_transport : &tc_grpc_transport;
	Channel    *channel = calloc(1, transport->size);

	if (channel == NULL || !tc_channel_options_copy(&channel->options, options))
	{
		free(channel);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	channel->transport = transport;
	channel->changed = changed;
	channel->arg = arg;
	channel->state = CHANNEL_IDLE;
	transport->init(channel);
	return channel;
}

int
tc_channel_max_connections(const Channel *channel)
{
	return channel->transport->max_connections;
}

void
tc_channel_connect(Channel *channel, int connections)
{
	if (!channel->destroyed &&
		channel->state != CHANNEL_CONNECTING && channel->state != CHANNEL_READY)
		channel->transport->connect(channel, connections);
}

ChannelState
tc_channel_state(const Channel *channel)
{
	return channel->state;
}

int
tc_channel_sessions(const Channel *channel)
{
	return channel->transport->sessions(channel);
}

int
tc_channel_capacity(const Channel *channel)
{
	return channel->state == CHANNEL_READY ? channel->transport->capacity(channel) : 0;
}

void
tc_channel_call(Channel *channel, const Call *call)
{
	channel->transport->call(channel, call);
}

void
tc_channel_flush(Channel *channel)
{
	channel->transport->flush(channel);
}

const char *
tc_channel_tls_version(const Channel *channel)
{
	return channel->tls_version;
}

ChannelExpiry
tc_channel_expiry(const Channel *channel)
{
	return channel->expiry;
}

void
tc_channel_look_at_files(Channel *channel)
{
	if (channel->state == CHANNEL_READY)
		channel->transport->look_at_files(channel);
}

void
tc_channel_destroy(Channel *channel)
{
	if (channel->destroyed)
		return;
	tc_channel_hold(channel);
	channel->destroyed = true;
	channel->state = CHANNEL_IDLE;
	channel->transport->close(channel);
	tc_channel_let_go(channel);
}

void
tc_channel_hold(Channel *channel)
{
	channel->busy++;
}

void
tc_channel_let_go(Channel *channel)
{
	if (--channel->busy > 0)
		return;
	channel->transport->sweep(channel);
	if (!channel->destroyed)
		return;
	tc_channel_options_free(&channel->options);
	free(channel);
}

void
tc_channel_set_state(Channel *channel, ChannelState state, const ChannelError *error)
{
	channel->state = state;
	channel->changed(channel->arg, channel, state, error);
}
