/*-------------------------------------------------------------------------
 *
 * channel_pool.h
 *	  Which channel serves a queue, and when it is connected again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CHANNEL_POOL_H
#define TC_CHANNEL_POOL_H

#include "lib/ilist.h"

#include "base/event_loop.h"
#include "base/siphash.h"
#include "outbox/outbox.h"
#include "server/server.h"
#include "worker/rate.h"
#include "worker/share.h"

/* What it is found by */
typedef struct PooledKey
{
	SipHash		fingerprint;	/* of the configuration */
	Oid			serverid;
	Oid			umid;
} PooledKey;

/* The channel for a server and a user mapping, shared by all queues that use both */
typedef struct PooledChannel
{
	dlist_node	node;			/* in the pool */
	dlist_node	unused_node;	/* of those without users */
	dlist_node	connected_node; /* of those with an account */
	bool		changed;		/* and tc_channels_next_changed() has not said
								 * so */
	dlist_node	changed_node;
	MemoryContext context;		/* of everything here */
	ServerConfig *config;
	PooledKey	key;
	uint64		serial;			/* no other one has, or had, the same */
	Channel    *channel;
	Rate	   *rate;			/* of its server; NULL = no limit */
	Rate	   *heartbeat_rate; /* the same */
	dlist_head	queues;			/* that use it; the owner of this keeps them */
	Account    *account;		/* that its connections are put down to, or
								 * NULL */
	int			connections;	/* how many that are */
	bool		lacks_room;		/* the last attempt to connect found none */
	int			users;			/* queues and calls that refer to it */
	int			calls;			/* of these, calls */
	int			failed_calls;	/* since one succeeded */
	int64		used_at;		/* monotonic ms: when it was of use last */
	int64		files_seen_at;	/* monotonic ms: when its files were looked at
								 * last */
	int			failures;		/* attempts to connect that failed, in a row */
	int64		failing_since;	/* monotonic ms: the first of these */
	int64		connect_at;		/* monotonic ms; not before then */
	ChannelExpiry expiry;		/* of what it was connected with last */
	ChannelError error;			/* why it failed last; code NULL = it did not */
	LoopTimer	timer;
	LoopTimer	idle_timer;
	bool		idle_is_due;	/* it may be idle for too long */

	/* its codec server, through which all payloads go before; or NULL */
	struct PooledChannel *codec;
	Account    *codec_place;	/* to which a connection to that is put down
								 * that there is not yet, or NULL */

	/* of a codec server, which has no queues, users or key of its own */
	struct PooledChannel *codec_of;
	dlist_head	batches;		/* encoding.c's */
	int			batch_max;		/* the same */
} PooledChannel;

extern void tc_channels_init(void);

/*
 * A channel that has become ready, or has failed and backs off, or may be tried
 * again, since this was asked last; NULL if there is none.
 */
extern PooledChannel *tc_channels_next_changed(void);

/*
 * The channel for a queue by today's options, and the namespace into which its
 * requests go, palloc'd, in the database's encoding; NULL, and *problem, if it
 * must not or cannot send; to_look: if its role must not look (see server.h).
 * The caller becomes one of its users.  Needs a transaction.
 */
extern PooledChannel *tc_channels_get(const QueueRow *queue, bool to_look, char **namespace_name,
									  bool *is_own_namespace, ServerProblem *problem);

/* One user less; without users a channel is closed (not at once). */
extern void tc_channels_release(PooledChannel *channel);

/* A call is a user as long as it lasts. */
extern void tc_channels_begin_call(PooledChannel *channel);
extern void tc_channels_end_call(PooledChannel *channel);

/*
 * Can calls be made?  If not, connect, unless it is too early to try again or
 * there is no room for another connection of that account (lacks_room).
 */
extern bool tc_channels_connect(PooledChannel *channel, Account *account);

/* What was read from files may be old: look at them before the next call. */
extern void tc_channels_files_may_have_changed(void);

/* Is it waiting to connect again after a failure? */
extern bool tc_channels_backing_off(const PooledChannel *channel);

/*
 * Close what nobody uses any more, and connections that were of no use for
 * long; call it outside of callbacks.
 */
extern void tc_channels_cleanup(void);

/*
 * Milliseconds until attempt number `attempts` + 1: doubling from the
 * initial interval up to the maximum, 20 % more or less.
 */
extern int	tc_backoff_ms(const ServerConfig *config, int attempts);

#endif							/* TC_CHANNEL_POOL_H */
