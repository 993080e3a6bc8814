/*-------------------------------------------------------------------------
 *
 * channel.h
 *	  What channels of all transports have in common, for those behind
 *	  transport.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CHANNEL_H
#define TC_CHANNEL_H

#include "wire/transport.h"

/* A way to make calls.  Its functions are not called for a channel that is destroyed. */
typedef struct Transport
{
	size_t		size;			/* of its channels, which begin with a Channel */
	int			max_connections;
	void		(*init) (Channel *channel);
	void		(*connect) (Channel *channel, int connections);
	int			(*sessions) (const Channel *channel);
	int			(*capacity) (const Channel *channel);
	void		(*call) (Channel *channel, const Call *call);
	void		(*flush) (Channel *channel);
	void		(*look_at_files) (Channel *channel);

	/* End all sessions, and tell of their calls; the channel is held. */
	void		(*close) (Channel *channel);

	/* Free what was closed: nothing refers to it any more. */
	void		(*sweep) (Channel *channel);
} Transport;

extern const Transport tc_grpc_transport;
extern const Transport tc_http_transport;

/* Beneath the callbacks of a transport; what follows is its own. */
struct Channel
{
	const Transport *transport;
	ChannelOptions options;		/* our copy */
	ChannelStateChanged changed;
	void	   *arg;
	ChannelState state;
	const char *tls_version;	/* a constant string, or NULL */
	ChannelExpiry expiry;
	ChannelClock clock;
	int64		clock_after;	/* monotonic ms: it is not looked at before */
	size_t		held;			/* by the answers of all calls */
	int			busy;			/* depth of functions that run callbacks */
	bool		destroyed;
};

/*
 * Around what runs callbacks.  They may destroy the channel, or close sessions;
 * what that leaves is freed by the outermost tc_channel_let_go().
 */
extern void tc_channel_hold(Channel *channel);
extern void tc_channel_let_go(Channel *channel);

/* An answer has the header date with that value. */
extern void tc_channel_tell_date(Channel *channel, const char *value, size_t len);

/* Set the state, and tell of it. */
extern void tc_channel_set_state(Channel *channel, ChannelState state, const ChannelError *error);

#endif							/* TC_CHANNEL_H */
