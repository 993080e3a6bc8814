/*-------------------------------------------------------------------------
 *
 * tls.h
 *	  What a channel asks of TLS: certificates, ALPN, and plain words.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TLS_H
#define TC_TLS_H

#include "wire/transport.h"

/* Where it is said which name a server may want; short, as messages are cut off */
#define TC_SEE_TLS_NAME "see the option tls_server_name, and \"Private links\" in operations.md"

typedef struct TlsSettings TlsSettings;

/* What is offered to the other side to speak (ALPN) */
typedef enum TlsProtocols
{
	TLS_HTTP2,
	TLS_HTTP1,
	TLS_HTTP2_OR_HTTP1			/* rather the first */
} TlsProtocols;

/*
 * Load certificates and key of the options.  NULL, with *error filled in, if
 * they cannot be used.  To be freed with tc_tls_free(), after the connection
 * that uses them.
 */
extern TlsSettings *tc_tls_load(const ChannelOptions *options, TlsProtocols protocols,
								ChannelError *error);
extern void tc_tls_free(TlsSettings *tls);

/* Are server certificates verified against the options' CA, not the system's? */
extern bool tc_tls_has_own_ca(const TlsSettings *tls);

/* Apply them to an SSL_CTX; false if OpenSSL refuses, as for a key that does not fit. */
extern bool tc_tls_apply(TlsSettings *tls, void *ssl_ctx, ChannelError *error);

/* "TLSv1.3" once the handshake is done, or NULL. */
extern const char *tc_tls_version(const TlsSettings *tls);

/* Of the client's certificate, and once the handshake is done of the server's. */
extern void tc_tls_add_expiry(const TlsSettings *tls, ChannelExpiry *expiry);

/* Offer that in handshakes to come. */
extern void tc_tls_offer(TlsSettings *tls, TlsProtocols protocols);

/* Has the server ever chosen HTTP/2? */
extern bool tc_tls_is_http2(const TlsSettings *tls);

/*
 * If the server's refusal explains why the connection failed, say so in
 * *error and return true.
 */
extern bool tc_tls_explain(const TlsSettings *tls, const char *address, ChannelError *error);

#endif							/* TC_TLS_H */
