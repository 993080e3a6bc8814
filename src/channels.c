/*-------------------------------------------------------------------------
 *
 * channels.c
 *	  Which channel serves a queue, and when it is connected again.
 *
 * One channel for a server and a user mapping.  When options change, queues
 * move to a channel with the new ones, and the old one is closed when its
 * last call is over.  A channel that cannot be connected is backed off as a
 * whole: no request's attempts are used up for it.  A connection that is of
 * no use for long is closed, and sooner if there is no place for another one:
 * a database may have more servers than a process may have open files.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "compat.h"
#include "storage/fd.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "channels.h"
#include "hash_bytes.h"

/* An attempt to connect costs little, and a server that is back should be found soon */
#define CONNECT_DELAY_MAX_MS 5000

/* A connection without calls is closed after that long; Temporal's server would do so too */
#define IDLE_MS 120000

/* How often files with credentials are looked at, at most */
#define LOOK_AT_FILES_MS 1000

static dlist_head pool = DLIST_STATIC_INIT(pool);
static PoolChanged pool_changed;
static bool options_changed;

static void note_options_changed(Datum arg, int cacheid, uint32 hashvalue);
static uint64 fingerprint(const ServerConfig *config);
static void state_changed(void *arg, Channel *channel, ChannelState state,
						  const ChannelError *error);
static void timer_due(void *arg);
static void idle_due(void *arg);
static bool is_idle(const PooledChannel *channel, int64 since);
static void disconnect(PooledChannel *channel);
static void make_room(void);
static void look_at_files(PooledChannel *channel);

void
tc_channels_init(PoolChanged changed)
{
	pool_changed = changed;
	for (const int *cache = tc_server_catalogs; *cache >= 0; cache++)
		CacheRegisterSyscacheCallback(*cache, note_options_changed, (Datum) 0);
}

static void
note_options_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	options_changed = true;
}

bool
tc_channels_options_changed(void)
{
	AcceptInvalidationMessages();
	return options_changed;
}

void
tc_channels_options_seen(void)
{
	options_changed = false;
}

PooledChannel *
tc_channels_get(const QueueRow *queue, char **namespace_name, bool *is_own_namespace,
				ServerProblem *problem)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "temporal_complete channel",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ServerConfig *config;
	PooledChannel *channel;
	dlist_iter	iter;
	uint64		print;

	config = tc_server_config(queue, problem);
	MemoryContextSwitchTo(old);
	if (config == NULL)
	{
		problem->message = pstrdup(problem->message);
		MemoryContextDelete(context);
		return NULL;
	}
	/* a channel may be found that was made before the namespace was changed */
	*namespace_name = pstrdup(tc_server_namespace(config, &queue->key));
	*is_own_namespace = strcmp(*namespace_name, config->own_namespace) == 0;

	print = fingerprint(config);
	dlist_foreach(iter, &pool)
	{
		channel = dlist_container(PooledChannel, node, iter.cur);
		if (channel->fingerprint == print &&
			channel->config->serverid == config->serverid &&
			channel->config->umid == config->umid)
		{
			MemoryContextDelete(context);
			channel->users++;
			return channel;
		}
	}

	channel = MemoryContextAllocZero(context, sizeof(PooledChannel));
	channel->context = context;
	channel->config = config;
	channel->fingerprint = print;
	channel->users = 1;
	channel->channel = tc_channel_create(&config->channel, state_changed, channel);
	dlist_push_tail(&pool, &channel->node);
	return channel;
}

void
tc_channels_release(PooledChannel *channel)
{
	Assert(channel->users > 0);
	channel->users--;
}

void
tc_channels_cleanup(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &pool)
	{
		PooledChannel *channel = dlist_container(PooledChannel, node, iter.cur);

		if (channel->idle_is_due)
		{
			channel->idle_is_due = false;
			if (is_idle(channel, tc_monotonic_ms() - IDLE_MS))
				disconnect(channel);
			else if (tc_channel_state(channel->channel) == CHANNEL_READY)
				tc_timer_set(&channel->idle_timer,
							 (channel->calls > 0 ? tc_monotonic_ms() : channel->used_at) + IDLE_MS,
							 idle_due, channel);
		}
		if (channel->users > 0)
			continue;
		dlist_delete(&channel->node);
		tc_timer_cancel(&channel->timer);
		tc_timer_cancel(&channel->idle_timer);
		tc_channel_destroy(channel->channel);
		MemoryContextDelete(channel->context);
	}
}

void
tc_channels_begin_call(PooledChannel *channel)
{
	channel->users++;
	channel->calls++;
}

void
tc_channels_end_call(PooledChannel *channel)
{
	Assert(channel->calls > 0);
	channel->calls--;
	channel->used_at = tc_monotonic_ms();
	tc_channels_release(channel);
}

/* Was a connection of no use since then, and is it of none now? */
static bool
is_idle(const PooledChannel *channel, int64 since)
{
	return tc_channel_state(channel->channel) == CHANNEL_READY &&
		channel->calls == 0 && channel->used_at <= since;
}

/* Close a connection that has no calls; who needs the channel connects it again. */
static void
disconnect(PooledChannel *channel)
{
	tc_timer_cancel(&channel->idle_timer);
	tc_channel_destroy(channel->channel);
	channel->channel = tc_channel_create(&channel->config->channel, state_changed, channel);
}

/*
 * A process may have so many open files only: close the connection that has
 * been idle for the longest time if there is no place for another one.
 */
static void
make_room(void)
{
	PooledChannel *longest = NULL;
	dlist_iter	iter;

	if (AcquireExternalFD())
	{
		ReleaseExternalFD();
		return;
	}
	dlist_foreach(iter, &pool)
	{
		PooledChannel *channel = dlist_container(PooledChannel, node, iter.cur);

		if (is_idle(channel, PG_INT64_MAX) &&
			(longest == NULL || channel->used_at < longest->used_at))
			longest = channel;
	}
	if (longest != NULL)
		disconnect(longest);
}

/* Hash of all options, to tell whether they have changed. */
static uint64
fingerprint(const ServerConfig *config)
{
	const ChannelOptions *options = &config->channel;
	uint64		hash;
	int			numbers[] = {
		options->tls, options->tls_disable_host_verification, options->connect_timeout_ms,
		config->max_in_flight, config->request_timeout_ms, config->retry_initial_interval_ms,
		config->retry_max_interval_ms, config->expire_after_s
	};
	const char *texts[] = {
		options->address, options->tls_server_name, options->tls_server_ca_cert_path,
		options->tls_server_ca_cert_data, options->tls_client_cert_path,
		options->tls_client_cert_data, options->tls_client_key_path,
		options->tls_client_key_data, options->authority, options->api_key,
		options->api_key_path
	};

	hash = tc_hash_bytes(0, numbers, sizeof(numbers));
	for (int i = 0; i < lengthof(texts); i++)
		hash = tc_hash_string(hash, texts[i] ? texts[i] : "");
	for (int i = 0; i < options->nmetadata; i++)
	{
		hash = tc_hash_string(hash, options->metadata_keys[i]);
		hash = tc_hash_string(hash, options->metadata_values[i]);
	}
	return hash;
}

/*
 * Files that options name are looked at when there is something to send, so
 * nothing is done for them while nobody sends.
 */
static void
look_at_files(PooledChannel *channel)
{
	const ChannelOptions *options = &channel->config->channel;
	int64		now;

	if (options->api_key_path == NULL && options->tls_client_key_path == NULL &&
		options->tls_client_cert_path == NULL && options->tls_server_ca_cert_path == NULL)
		return;
	now = tc_monotonic_ms();
	if (channel->files_seen_at != 0 && now - channel->files_seen_at < LOOK_AT_FILES_MS)
		return;
	channel->files_seen_at = now;
	tc_channel_look_at_files(channel->channel);
}

void
tc_channels_files_may_have_changed(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &pool)
		dlist_container(PooledChannel, node, iter.cur)->files_seen_at = 0;
}

bool
tc_channels_connect(PooledChannel *channel)
{
	look_at_files(channel);
	switch (tc_channel_state(channel->channel))
	{
		case CHANNEL_READY:
			return true;
		case CHANNEL_CONNECTING:
			return false;
		case CHANNEL_IDLE:
		case CHANNEL_FAILED:
			break;
	}
	if (channel->connect_at > tc_monotonic_ms())
		tc_timer_set(&channel->timer, channel->connect_at, timer_due, channel);
	else
	{
		make_room();
		tc_channel_connect(channel->channel);
	}
	return tc_channel_state(channel->channel) == CHANNEL_READY;
}

bool
tc_channels_backing_off(const PooledChannel *channel)
{
	return channel->error.code != NULL;
}

/* tc_channels_cleanup() will see to it. */
static void
idle_due(void *arg)
{
	((PooledChannel *) arg)->idle_is_due = true;
}

/* Time to try again: those who need the channel will, if they still do. */
static void
timer_due(void *arg)
{
	pool_changed((PooledChannel *) arg);
}

/* Runs beneath the wire: must not raise errors. */
static void
state_changed(void *arg, Channel *wire_channel, ChannelState state, const ChannelError *error)
{
	PooledChannel *channel = arg;

	if (state == CHANNEL_READY)
	{
		channel->failures = 0;
		channel->connect_at = 0;
		channel->error.code = NULL;
		channel->used_at = tc_monotonic_ms();
		tc_timer_set(&channel->idle_timer, channel->used_at + IDLE_MS, idle_due, channel);
	}
	else if (error != NULL)
	{
		int			delay = tc_backoff_ms(channel->config,
										  error->needs_operator ? 100 : channel->failures);

		delay = Min(delay, CONNECT_DELAY_MAX_MS);

		channel->error = *error;
		channel->failures++;
		channel->connect_at = tc_monotonic_ms() + delay;
	}
	pool_changed(channel);
}

int
tc_backoff_ms(const ServerConfig *config, int attempts)
{
	double		delay = config->retry_initial_interval_ms;

	delay = ldexp(delay, Min(attempts, 30));
	delay = Min(delay, config->retry_max_interval_ms);
	return (int) (delay * (0.8 + 0.4 * pg_prng_double(&pg_global_prng_state)));
}
