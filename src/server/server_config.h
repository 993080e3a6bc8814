/*-------------------------------------------------------------------------
 *
 * server_config.h
 *	  What the options of a foreign server and a user mapping say.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SERVER_CONFIG_H
#define TC_SERVER_CONFIG_H

#include "wire/transport.h"

/* Everything the worker needs to know to send for one role to one server */
typedef struct ServerConfig
{
	Oid			serverid;
	Oid			umid;			/* user mapping, InvalidOid if none applies */
	const char *own_namespace;	/* option "namespace", in the database's
								 * encoding */
	const char *namespaces;		/* option "namespaces", the same; NULL = it is
								 * not given */
	ChannelOptions channel;
	ChannelOptions codec;		/* its codec_path is NULL: payloads are sent
								 * as they are */
	bool		encode_common_attributes;
	int			nserver_metadata;	/* of the channel's metadata; the
									 * mapping's follow */
	bool		has_user_metadata;
	bool		require_user_mapping;
	bool		allow_plaintext_credentials;	/* what the user mapping
												 * allows */
	bool		allow_unverified_server;
	bool		trust_server_owner;
	int			max_in_flight;
	int			max_requests_per_second;	/* 0 = any number */
	int			max_heartbeats_per_second;	/* the same */
	int			request_timeout_ms;
	int			retry_initial_interval_ms;
	int			retry_max_interval_ms;
	int			expire_after_s; /* 0 = never */
} ServerConfig;

#endif							/* TC_SERVER_CONFIG_H */
