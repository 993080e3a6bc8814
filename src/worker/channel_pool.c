/*-------------------------------------------------------------------------
 *
 * channel_pool.c
 *	  Which channel serves a queue, and when it is connected again.
 *
 * One channel for a server and a user mapping.  When options change, queues
 * move to a channel with the new ones, and the old one is closed when its
 * last call is over.  A channel that cannot be connected is backed off as a
 * whole: no request's attempts are used up for it.  A connection that is of
 * no use for long is closed, and sooner if there is no place for another one:
 * a database may have more servers than a process may have open files.
 *
 * A channel may have another one to a codec server: it is connected, backed off
 * and counted in the same way, and lives as long.
 *
 * There may be very many channels, of which few are connected: what is done often
 * goes through these only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "wire/codec.h"
#include "wire/connection.h"
#include "worker/channel_pool.h"

/*
 * An attempt to connect costs little, and a server that is back should be found
 * soon; of very many that cannot be reached each has to wait longer, see
 * tc_share_next_connect().
 */
#define CONNECT_DELAY_MAX_MS 5000

/* A connection without calls is closed after that long; Temporal's server would do so too */
#define IDLE_MS 120000

/* How often files with credentials are looked at, at most */
#define LOOK_AT_FILES_MS 1000

static dlist_head pool = DLIST_STATIC_INIT(pool);
static dlist_head unused = DLIST_STATIC_INIT(unused);
static dlist_head connected = DLIST_STATIC_INIT(connected); /* or connecting, or not
															 * yet settle()d */
static HTAB *channels_by_key;

typedef struct PooledEntry
{
	PooledKey	key;
	PooledChannel *channel;
} PooledEntry;

static uint64 last_serial;
static bool untidy;				/* there may be something to clean up */
static dlist_head changed = DLIST_STATIC_INIT(changed);

static void note_changed(PooledChannel *channel);
static PooledChannel *make_codec(PooledChannel *channel);
static void destroy(PooledChannel *channel);
static SipHash fingerprint(const ServerConfig *config);
static void state_changed(void *arg, Channel *channel, ChannelState state,
						  const ChannelError *error);
static void timer_due(void *arg);
static void idle_due(void *arg);
static bool is_idle(const PooledChannel *channel, int64 since);
static void disconnect(PooledChannel *channel);
static bool make_room(PooledChannel *channel, Account *account);
static bool close_idle(Account *role_of);
static void charge(PooledChannel *channel, Account *account);
static void charge_own(PooledChannel *channel, Account *account);
static void hold_codec_place(PooledChannel *channel, Account *account);
static int	count_connections(const PooledChannel *channel);
static void settle(PooledChannel *channel);
static void look_at_files(PooledChannel *channel);

/* Must not raise errors: it is called beneath the wire. */
static void
note_changed(PooledChannel *channel)
{
	if (channel->changed)
		return;
	channel->changed = true;
	dlist_push_tail(&changed, &channel->changed_node);
}

PooledChannel *
tc_channels_next_changed(void)
{
	PooledChannel *channel;

	if (dlist_is_empty(&changed))
		return NULL;
	channel = dlist_container(PooledChannel, changed_node, dlist_pop_head_node(&changed));
	channel->changed = false;
	return channel->codec_of != NULL ? channel->codec_of : channel;
}

void
tc_channels_init(void)
{
	HASHCTL		info = {
		.keysize = sizeof(PooledKey),
		.entrysize = sizeof(PooledEntry),
		.hcxt = TopMemoryContext
	};

	channels_by_key = hash_create("temporal_complete channels", 64, &info,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	tc_rates_init();
}

PooledChannel *
tc_channels_get(const QueueRow *queue, bool to_look, char **namespace_name, bool *is_own_namespace,
				ServerProblem *problem)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "temporal_complete channel",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ServerConfig *config;
	PooledChannel *channel;
	PooledEntry *entry;
	PooledKey	key;
	bool		found;

	config = to_look ? tc_server_config_to_look(queue, problem) : tc_server_config(queue, problem);
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

	key.fingerprint = fingerprint(config);
	key.serverid = config->serverid;
	key.umid = config->umid;
	entry = hash_search(channels_by_key, &key, HASH_FIND, NULL);
	if (entry != NULL)
	{
		MemoryContextDelete(context);
		channel = entry->channel;
		if (channel->users++ == 0)
			dlist_delete(&channel->unused_node);
		return channel;
	}

	channel = MemoryContextAllocZero(context, sizeof(PooledChannel));
	channel->context = context;
	channel->config = config;
	channel->key = key;
	channel->serial = ++last_serial;
	channel->users = 1;
	dlist_init(&channel->queues);
	if (config->max_requests_per_second > 0)
		channel->rate = tc_rate_get(config->serverid, RATE_REQUESTS);
	if (config->max_heartbeats_per_second > 0)
		channel->heartbeat_rate = tc_rate_get(config->serverid, RATE_HEARTBEATS);
	channel->channel = tc_channel_create(&config->channel, state_changed, channel);
	if (config->codec.codec_path != NULL)
		channel->codec = make_codec(channel);
	entry = hash_search(channels_by_key, &key, HASH_ENTER, &found);
	Assert(!found);
	entry->channel = channel;
	dlist_push_tail(&pool, &channel->node);
	return channel;
}

/* That of a server's codec server; its memory is that of the channel. */
static PooledChannel *
make_codec(PooledChannel *channel)
{
	PooledChannel *codec = MemoryContextAllocZero(channel->context, sizeof(PooledChannel));

	codec->config = MemoryContextAlloc(channel->context, sizeof(ServerConfig));
	*codec->config = *channel->config;
	codec->config->channel = channel->config->codec;
	codec->codec_of = channel;
	codec->users = 1;
	dlist_init(&codec->queues);
	dlist_init(&codec->batches);
	codec->channel = tc_channel_create(&codec->config->channel, state_changed, codec);
	dlist_push_tail(&pool, &codec->node);
	return codec;
}

void
tc_channels_release(PooledChannel *channel)
{
	Assert(channel->users > 0);
	if (--channel->users > 0)
		return;
	dlist_push_tail(&unused, &channel->unused_node);
	untidy = true;
}

void
tc_channels_cleanup(void)
{
	dlist_mutable_iter iter;

	if (!untidy)
		return;
	untidy = false;
	dlist_foreach_modify(iter, &connected)
	{
		PooledChannel *channel = dlist_container(PooledChannel, connected_node, iter.cur);

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
		/* its role has use for the place */
		if (is_idle(channel, PG_INT64_MAX) &&
			tc_share_role_lacks(channel->account, SHARE_CONNECTIONS))
			disconnect(channel);
		if (channel->users > 0 && channel->account != NULL)
			settle(channel);
	}
	dlist_foreach_modify(iter, &unused)
	{
		PooledChannel *channel = dlist_container(PooledChannel, unused_node, iter.cur);

		dlist_delete(&channel->unused_node);
		(void) hash_search(channels_by_key, &channel->key, HASH_REMOVE, NULL);
		if (channel->codec != NULL)
			destroy(channel->codec);
		destroy(channel);
		if (channel->rate != NULL)
			tc_rate_release(channel->rate);
		if (channel->heartbeat_rate != NULL)
			tc_rate_release(channel->heartbeat_rate);
		MemoryContextDelete(channel->context);
	}
}

/* All but its memory */
static void
destroy(PooledChannel *channel)
{
	dlist_delete(&channel->node);
	tc_timer_cancel(&channel->timer);
	tc_timer_cancel(&channel->idle_timer);
	tc_channel_destroy(channel->channel);
	if (channel->changed)
		dlist_delete(&channel->changed_node);
	charge(channel, NULL);
}

/* What is put down for a channel is what it has; sessions that end are not told of. */
static void
settle(PooledChannel *channel)
{
	int			now = count_connections(channel);

	if (now == 0)
		charge(channel, NULL);
	else if (now < channel->connections)
	{
		tc_share_give(channel->account, SHARE_CONNECTIONS, channel->connections - now);
		channel->connections = now;
	}
	if (tc_channel_sessions(channel->channel) > (tc_channel_state(channel->channel) == CHANNEL_READY))
		untidy = true;
}

static int
count_connections(const PooledChannel *channel)
{
	int			sessions = tc_channel_sessions(channel->channel);

	return tc_channel_state(channel->channel) == CHANNEL_CONNECTING ? Max(sessions, 1) : sessions;
}

/*
 * One connection more of that account, or with NULL none any longer.  Who has a
 * connection has a place for one to its codec server, too: else the two would
 * wait for each other.
 */
static void
charge(PooledChannel *channel, Account *account)
{
	PooledChannel *server = channel->codec_of != NULL ? channel->codec_of : channel;

	charge_own(channel, account);
	if (server->codec != NULL)
		hold_codec_place(server, server->codec->account == NULL ? server->account : NULL);
}

static void
hold_codec_place(PooledChannel *channel, Account *account)
{
	Account    *before = channel->codec_place;

	if (before == account)
		return;
	if (account != NULL)
	{
		tc_share_take(account, SHARE_CONNECTIONS, 1);
		(void) tc_account_share(account);
	}
	if (before != NULL)
	{
		tc_share_give(before, SHARE_CONNECTIONS, 1);
		tc_account_release(before);
	}
	channel->codec_place = account;
}

static void
charge_own(PooledChannel *channel, Account *account)
{
	/*
	 * those that drain may be another one's: who connects anew takes them
	 * over
	 */
	if (channel->account != NULL && channel->account != account)
	{
		tc_share_give(channel->account, SHARE_CONNECTIONS, channel->connections);
		tc_account_release(channel->account);
		channel->account = NULL;
		dlist_delete(&channel->connected_node);
		if (account == NULL)
			channel->connections = 0;
		else if (channel->connections > 0)
			tc_share_take(account, SHARE_CONNECTIONS, channel->connections);
	}
	if (account == NULL)
		return;
	if (channel->account == NULL)
	{
		channel->account = tc_account_share(account);
		dlist_push_tail(&connected, &channel->connected_node);
	}
	channel->connections++;
	tc_share_take(account, SHARE_CONNECTIONS, 1);
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
	if (--channel->calls == 0)
		untidy = true;
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
	charge(channel, NULL);
}

/*
 * Is there a place for another connection of that account, and for one to the
 * codec server if it is to have one?  If not, those that have been idle for
 * the longest time give way: its role's own, or if there is none left for
 * anybody, any.
 */
static bool
make_room(PooledChannel *channel, Account *account)
{
	bool		needs_codec = channel->codec != NULL && channel->codec->account == NULL;

	while (!tc_share_has_room_for(account, SHARE_CONNECTIONS, needs_codec ? 2 : 1))
		if (!close_idle(account))
			return false;
	for (;;)
	{
		if (tc_connection_has_files())
			return true;
		if (!close_idle(NULL))
			return true;		/* it will be said what is wrong */
	}
}

/* Close the connection that has been idle for the longest time, of a role or of all. */
static bool
close_idle(Account *role_of)
{
	PooledChannel *longest = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, &connected)
	{
		PooledChannel *channel = dlist_container(PooledChannel, connected_node, iter.cur);

		if (is_idle(channel, PG_INT64_MAX) &&
			(role_of == NULL || tc_share_same_role(channel->account, role_of)) &&
			(longest == NULL || channel->used_at < longest->used_at))
			longest = channel;
	}
	if (longest == NULL)
		return false;
	disconnect(longest);
	return true;
}

/* Hash of all options, to tell whether they have changed. */
static SipHash
fingerprint(const ServerConfig *config)
{
	const ChannelOptions *options = &config->channel;
	StringInfoData buf;
	SipHash		result;
	int			numbers[] = {
		options->http, options->tls, options->tls_disable_host_verification, options->connect_timeout_ms,
		config->max_in_flight, config->max_requests_per_second,
		config->max_heartbeats_per_second, config->request_timeout_ms, config->retry_initial_interval_ms,
		config->retry_max_interval_ms, config->expire_after_s, config->codec.tls,
		config->encode_common_attributes
	};
	const char *texts[] = {
		options->address, options->proxy, options->proxy_auth,
		options->tls_server_name, options->tls_server_ca_cert_path,
		options->tls_server_ca_cert_data, options->tls_client_cert_path,
		options->tls_client_cert_data, options->tls_client_key_path,
		options->tls_client_key_data, options->authority, options->api_key,
		options->api_key_path, config->codec.address, config->codec.codec_path,
		config->codec.codec_auth, config->codec.tls_server_ca_cert_path,
		config->codec.tls_server_ca_cert_data
	};

	/* each with its zero byte, which no option contains */
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, (char *) numbers, sizeof(numbers));
	for (int i = 0; i < lengthof(texts); i++)
		appendBinaryStringInfo(&buf, texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) + 1 : 1);
	for (int i = 0; i < options->nmetadata; i++)
	{
		appendBinaryStringInfo(&buf, options->metadata_keys[i],
							   strlen(options->metadata_keys[i]) + 1);
		appendBinaryStringInfo(&buf, options->metadata_values[i],
							   strlen(options->metadata_values[i]) + 1);
	}
	result = tc_siphash(buf.data, buf.len);
	explicit_bzero(buf.data, buf.len);
	pfree(buf.data);
	return result;
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
tc_channels_connect(PooledChannel *channel, Account *account)
{
	look_at_files(channel);
	channel->lacks_room = false;
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
	{
		if (!channel->timer.armed || channel->timer.when.due != channel->connect_at)
			tc_timer_set(&channel->timer, channel->connect_at, timer_due, channel);
	}

	else if (channel->codec_of != NULL || make_room(channel, account))
	{
		int			wanted = tc_channel_max_connections(channel->channel);
		int			granted = 1;

		charge(channel, account);
		for (; granted < wanted && tc_share_has_room(account, SHARE_CONNECTIONS); granted++)
			charge(channel, account);
		tc_channel_connect(channel->channel, granted);
	}
	else
		channel->lacks_room = true;
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
	untidy = true;
}

/* Time to try again: those who need the channel will, if they still do. */
static void
timer_due(void *arg)
{
	note_changed((PooledChannel *) arg);
}

/* Runs beneath the wire: must not raise errors. */
static void
state_changed(void *arg, Channel *wire_channel, ChannelState state, const ChannelError *error)
{
	PooledChannel *channel = arg;

	untidy = true;
	if (state == CHANNEL_READY)
	{
		/* of a codec server that says little: see encoding.c */
		if (channel->codec_of == NULL)
			channel->failures = 0;
		channel->connect_at = 0;
		channel->error.code = NULL;
		channel->expiry = tc_channel_expiry(wire_channel);
		channel->used_at = tc_monotonic_ms();
		tc_timer_set(&channel->idle_timer, channel->used_at + IDLE_MS, idle_due, channel);
	}
	else if (error != NULL)
	{
		int64		now = tc_monotonic_ms();
		int			delay = tc_backoff_ms(channel->config,
										  error->needs_operator ? 100 : channel->failures);

		channel->error = *error;
		if (channel->codec_of != NULL)
			channel->error.code = tc_codec_channel_code(error->code);
		if (channel->failures++ == 0)
			channel->failing_since = now;
		channel->connect_at = now + Min(delay, CONNECT_DELAY_MAX_MS);
		if (channel->account != NULL)
			channel->connect_at = Max(channel->connect_at, tc_share_next_connect(channel->account, now));
	}
	note_changed(channel);
}

int
tc_backoff_ms(const ServerConfig *config, int attempts)
{
	double		delay = config->retry_initial_interval_ms;

	delay = ldexp(delay, Min(attempts, 30));
	delay = Min(delay, config->retry_max_interval_ms);
	return (int) (delay * (0.8 + 0.4 * tc_random_fraction()));
}
