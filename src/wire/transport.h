/*-------------------------------------------------------------------------
 *
 * transport.h
 *	  What the dispatcher asks of the wire: calls over a channel.
 *
 * A channel belongs to one foreign server and one user mapping.  The
 * dispatcher connects it, makes unary calls on it, and is told of each call,
 * exactly once, what became of it.  Nothing here knows about tables,
 * retries or order; nothing here opens a transaction.
 *
 * Callbacks are run from tc_event_loop_wait() and tc_channel_destroy(), and
 * from tc_channel_call() for a call that cannot be started.  They may call
 * anything declared here, even destroy their channel; they must not raise
 * errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TRANSPORT_H
#define TC_TRANSPORT_H

/* What is certain about a call that is over */
typedef enum CallFate
{
	CALL_ANSWERED,				/* grpc_status is the other side's word */
	CALL_NOT_PROCESSED,			/* certainly not processed: safe to send again */
	CALL_AMBIGUOUS				/* sent, and no answer: may have been
								 * processed */
} CallFate;

/*
 * Result of a call; valid during the callback only.  Strings are what the
 * other side sent (UTF-8 expected, not verified), never NULL.
 */
typedef struct CallResult
{
	CallFate	fate;
	int			grpc_status;	/* with CALL_ANSWERED; 0 = OK; of a codec
								 * server a CodecVerdict */
	const char *message;		/* grpc-message, percent-decoded, or our words */
	const char *detail_type;	/* last part of the type_url of the first
								 * error detail, such as
								 * NamespaceNotFoundFailure */
	const uint8 *reply;			/* encoded reply message */
	size_t		reply_len;
} CallResult;

typedef void (*CallDone) (void *arg, const CallResult *result);

/* A unary call.  All pointers must stay valid until done() is called. */
typedef struct Call
{
	const char *path;			/* :path, for instance
								 * /temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo */
	const char *namespace_name; /* for the header temporal-namespace, or NULL */
	const uint8 *message;		/* encoded request */
	size_t		message_len;
	int			timeout_ms;		/* grpc-timeout, and our own deadline */
	size_t		max_reply;		/* a longer reply is not taken */
	CallDone	done;
	void	   *arg;
} Call;

typedef enum ChannelState
{
	CHANNEL_IDLE,				/* no connection for new calls; connect first */
	CHANNEL_CONNECTING,
	CHANNEL_READY,				/* calls can be made */
	CHANNEL_FAILED				/* the last attempt to connect failed */
} ChannelState;

/* Why a channel could not be connected, for operators */
typedef struct ChannelError
{
	const char *code;			/* one of channel_error.h */
	char		message[512];	/* never holds a secret */
	bool		needs_operator; /* waiting alone will not mend it (TLS,
								 * options) */
} ChannelError;

/* Strings are owned by who fills it in, and copied by the channel. */
typedef struct ChannelOptions
{
	bool		http;			/* HTTP/JSON instead of gRPC */
	const char *address;		/* host:port; [v6]:port */
	const char *proxy;			/* http://host:port, or NULL */
	const char *proxy_auth;		/* user:password for it, or NULL */
	bool		tls;
	const char *tls_server_name;	/* SNI and verification; NULL = host */
	bool		tls_disable_host_verification;
	const char *tls_server_ca_cert_path;	/* NULL = the system's */
	const char *tls_server_ca_cert_data;	/* PEM */
	const char *tls_client_cert_path;
	const char *tls_client_cert_data;
	const char *tls_client_key_path;
	const char *tls_client_key_data;
	const char *authority;		/* :authority; NULL = address */
	const char *api_key;		/* bearer token, or NULL */
	const char *api_key_path;	/* or NULL */

	/* a codec server: see codec.h */
	const char *codec_path;		/* of its endpoints; NULL = it is none */
	const char *codec_auth;		/* header authorization, or NULL */
	int			nmetadata;		/* grpc_meta_*: lower-case keys */
	const char **metadata_keys;
	const char **metadata_values;
	int			connect_timeout_ms;
} ChannelOptions;

typedef struct Channel Channel;

/* When credentials expire, in seconds since 1970; 0 = not known, or never */
typedef struct ChannelExpiry
{
	int64		server_certificate;
	int64		client_certificate;
	int64		api_key;
} ChannelExpiry;

/* By how many seconds the other side's clock is ahead, if it has said what time it is */
typedef struct ChannelClock
{
	bool		known;
	int64		ahead;
} ChannelClock;

/*
 * Told when a channel becomes ready, idle (GOAWAY, connection lost) or failed;
 * after a loss, before the calls that end with it.  error is NULL unless state
 * is CHANNEL_FAILED, or CHANNEL_IDLE after a loss of the connection or a
 * GOAWAY that is to be backed off from: one that names an error, or comes at
 * once and before any call was taken.  The usual GOAWAY has no error; calls in
 * flight go on behind it.
 */
typedef void (*ChannelStateChanged) (void *arg, Channel *channel,
									 ChannelState state, const ChannelError *error);

extern Channel *tc_channel_create(const ChannelOptions *options,
								  ChannelStateChanged changed, void *arg);

/*
 * Connect, unless that is done or under way.  So many connections are granted,
 * of which each counts for TC_CONNECTION_FILES open files: at least one, and
 * not more than the channel has use for.
 */
extern int	tc_channel_max_connections(const Channel *channel);
extern void tc_channel_connect(Channel *channel, int connections);
extern ChannelState tc_channel_state(const Channel *channel);

/*
 * Files that options name are read when a connection is made.  If they have
 * changed since, the channel becomes idle, without being told of it; calls in
 * flight go on.  Without being asked it looks when credentials are refused:
 * if they have changed, the call was not processed.
 */
extern void tc_channel_look_at_files(Channel *channel);

/* Connections that are open: those for new calls, and others whose calls go on. */
extern int	tc_channel_sessions(const Channel *channel);

/* How many more calls can be started now; 0 unless READY. */
extern int	tc_channel_capacity(const Channel *channel);

/* Start a call; requires tc_channel_capacity() > 0.  Bytes leave with tc_channel_flush(). */
extern void tc_channel_call(Channel *channel, const Call *call);
extern void tc_channel_flush(Channel *channel);

/* "TLSv1.3" or NULL for cleartext; valid while the channel lives. */
extern const char *tc_channel_tls_version(const Channel *channel);

/* Of what it was connected with last. */
extern ChannelExpiry tc_channel_expiry(const Channel *channel);

/* By what was said last. */
extern ChannelClock tc_channel_clock(const Channel *channel);

/*
 * Close the channel at once: callbacks of calls in flight are run with
 * CALL_AMBIGUOUS or CALL_NOT_PROCESSED, then the channel is gone.
 */
extern void tc_channel_destroy(Channel *channel);

#endif							/* TC_TRANSPORT_H */
