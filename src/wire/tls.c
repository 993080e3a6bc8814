/*-------------------------------------------------------------------------
 *
 * tls.c
 *	  What a channel asks of TLS: certificates, ALPN, and plain words.
 *
 * libcurl makes the TLS connection; its SSL_CTX is given our certificates,
 * so that a wrong one is told apart from a wrong server, and is watched, so
 * that a refusal by the server can be put to words: with TLS 1.3 a client
 * certificate is refused only after the handshake.
 *
 * Runs beneath libcurl: nothing here raises errors.  No key material may
 * reach a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <time.h>

#include "wire/channel_error.h"
#include "wire/credential_files.h"
#include "wire/tls.h"

/* For a server that wants a client certificate, and there is none */
#define CLIENT_HINT \
	"set tls_client_cert_path and tls_client_key_path, or tls_client_cert_data and tls_client_key_data"

struct TlsSettings
{
	X509_STORE *ca;				/* NULL = the system's */
	X509	   *certificate;	/* client's, or NULL */
				STACK_OF(X509) * chain; /* what follows it in the file */
	EVP_PKEY   *key;
	TlsProtocols protocols;

	/* What was seen of the handshake */
	const char *version;
	int64		server_expires_at;	/* seconds since 1970; 0 = not known */
	bool		http2;
	bool		certificate_requested;	/* and we have none */
	int			alert;			/* fatal alert sent by the server, or -1 */
};

/* By TlsProtocols: for ALPN, and for operators */
static const struct
{
	const char *alpn;
	const char *name;
}			protocols_offered[] =

{
	[TLS_HTTP2] = {"\002h2", "HTTP/2"},
	[TLS_HTTP1] = {"\010http/1.1", "HTTP/1.1"},
	[TLS_HTTP2_OR_HTTP1] = {"\002h2\010http/1.1", "HTTP/2 or HTTP/1.1"},
};

/* Where an SSL_CTX keeps its TlsSettings */
static int	ctx_index = -1;

static char *option_contents(const char *path, const char *data, const char *option,
							 bool is_secret, ChannelError *error);
static bool load_ca(TlsSettings *tls, char *pem, const char *option, ChannelError *error);
static bool load_certificate(TlsSettings *tls, char *pem, const char *option, ChannelError *error);
static bool load_key(TlsSettings *tls, char *pem, const char *option, ChannelError *error);
static bool bad_pem(const char *option, const char *contents, ChannelError *error);
static const char *alert_text(int alert);
static int	no_passphrase(char *buf, int size, int rwflag, void *arg);
static int64 expires_at(const X509 *certificate);
static void on_info(const SSL *ssl, int where, int value);
static int	on_certificate_request(SSL *ssl, X509 **certificate, EVP_PKEY **key);

TlsSettings *
tc_tls_load(const ChannelOptions *options, TlsProtocols protocols, ChannelError *error)
{
	TlsSettings *tls;
	char	   *ca = NULL;
	char	   *certificate = NULL;
	char	   *key = NULL;
	bool		has_ca = options->tls_server_ca_cert_path || options->tls_server_ca_cert_data;
	bool		has_certificate = options->tls_client_cert_path || options->tls_client_cert_data;
	bool		has_key = options->tls_client_key_path || options->tls_client_key_data;
	bool		ok = true;

	if (has_certificate != has_key)
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "a client certificate needs both tls_client_cert_path or tls_client_cert_data, and tls_client_key_path or tls_client_key_data");
		return NULL;
	}
	if (ctx_index < 0)
		ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	tls = calloc(1, sizeof(TlsSettings));
	if (tls == NULL || ctx_index < 0)
	{
		free(tls);
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
		return NULL;
	}
	tls->alert = -1;
	tls->protocols = protocols;

	ERR_clear_error();
	if (has_ca)
	{
		const char *option = options->tls_server_ca_cert_path ?
			"tls_server_ca_cert_path" : "tls_server_ca_cert_data";

		ca = option_contents(options->tls_server_ca_cert_path, options->tls_server_ca_cert_data,
							 option, false, error);
		ok = ca != NULL && load_ca(tls, ca, option, error);
	}
	if (ok && has_certificate)
	{
		const char *option = options->tls_client_cert_path ?
			"tls_client_cert_path" : "tls_client_cert_data";

		certificate = option_contents(options->tls_client_cert_path,
									  options->tls_client_cert_data, option, false, error);
		ok = certificate != NULL && load_certificate(tls, certificate, option, error);
	}
	if (ok && has_key)
	{
		const char *option = options->tls_client_key_path ?
			"tls_client_key_path" : "tls_client_key_data";

		key = option_contents(options->tls_client_key_path, options->tls_client_key_data,
							  option, true, error);
		ok = key != NULL && load_key(tls, key, option, error);
	}
	if (ok && has_key && X509_check_private_key(tls->certificate, tls->key) != 1)
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the client key does not belong to the client certificate");
		ok = false;
	}
	ERR_clear_error();

	free(ca);
	free(certificate);
	tc_free_secret(key);
	if (!ok)
	{
		tc_tls_free(tls);
		return NULL;
	}
	return tls;
}

void
tc_tls_free(TlsSettings *tls)
{
	if (tls == NULL)
		return;
	X509_STORE_free(tls->ca);
	X509_free(tls->certificate);
	sk_X509_pop_free(tls->chain, X509_free);
	EVP_PKEY_free(tls->key);
	free(tls);
}

bool
tc_tls_has_own_ca(const TlsSettings *tls)
{
	return tls->ca != NULL;
}

bool
tc_tls_apply(TlsSettings *tls, void *ssl_ctx, ChannelError *error)
{
	SSL_CTX    *ctx = ssl_ctx;
	const char *alpn = protocols_offered[tls->protocols].alpn;

	/*
	 * Records are written one by one, and the rest may have moved in memory
	 * when writing goes on.
	 */
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_info_callback(ctx, on_info);

	/* SSL_CTX_set_alpn_protos returns 0 on success, unlike the others. */
	if (SSL_CTX_set_ex_data(ctx, ctx_index, tls) != 1 ||
		SSL_CTX_set_alpn_protos(ctx, (const unsigned char *) alpn, strlen(alpn)) != 0 ||
		(tls->certificate != NULL &&
		 (SSL_CTX_use_certificate(ctx, tls->certificate) != 1 ||
		  SSL_CTX_use_PrivateKey(ctx, tls->key) != 1 ||
		  (tls->chain != NULL && SSL_CTX_set1_chain(ctx, tls->chain) != 1))))
	{
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());

		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "OpenSSL does not accept the certificates: %s",
						 reason ? reason : "unknown reason");
		ERR_clear_error();
		return false;
	}
	if (tls->ca != NULL)
		SSL_CTX_set1_cert_store(ctx, tls->ca);
	if (tls->certificate == NULL)
		SSL_CTX_set_client_cert_cb(ctx, on_certificate_request);
	return true;
}

const char *
tc_tls_version(const TlsSettings *tls)
{
	return tls->version;
}

void
tc_tls_add_expiry(const TlsSettings *tls, ChannelExpiry *expiry)
{
	expiry->server_certificate = tls->server_expires_at;
	if (tls->certificate != NULL)
		expiry->client_certificate = expires_at(tls->certificate);
}

static int64
expires_at(const X509 *certificate)
{
	int			days;
	int			seconds;

	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1)
		return 0;
	return (int64) time(NULL) + days * INT64CONST(86400) + seconds;
}

void
tc_tls_offer(TlsSettings *tls, TlsProtocols protocols)
{
	tls->protocols = protocols;
}

bool
tc_tls_is_http2(const TlsSettings *tls)
{
	return tls->http2;
}

bool
tc_tls_explain(const TlsSettings *tls, const char *address, ChannelError *error)
{
	const char *why = "";
	char		does_not_speak[64];

	if (tls->alert < 0)
	{
		/* A connection that is reset can overtake the alert. */
		if (!tls->certificate_requested)
			return false;
		tc_channel_error(error, TC_ERROR_TLS_FAILED, true,
						 "\"%s\" closed the connection after it had asked for a client certificate: " CLIENT_HINT,
						 address);
		return true;
	}

	switch (tls->alert)
	{
		case SSL_AD_CERTIFICATE_REQUIRED:
		case SSL3_AD_NO_CERTIFICATE:
		case SSL_AD_HANDSHAKE_FAILURE:
		case SSL_AD_BAD_CERTIFICATE:
		case SSL_AD_UNSUPPORTED_CERTIFICATE:
		case SSL_AD_CERTIFICATE_REVOKED:
		case SSL_AD_CERTIFICATE_EXPIRED:
		case SSL_AD_CERTIFICATE_UNKNOWN:
		case SSL_AD_UNKNOWN_CA:
		case SSL_AD_ACCESS_DENIED:
		case SSL_AD_DECRYPT_ERROR:
			if (tls->certificate_requested)
				why = " (it asks for a client certificate: " CLIENT_HINT ")";
			else if (tls->certificate != NULL && tls->alert != SSL_AD_HANDSHAKE_FAILURE)
				why = " (it does not accept our client certificate)";
			break;
		case SSL_AD_UNRECOGNIZED_NAME:
			why = " (it does not know the name asked for: " TC_SEE_TLS_NAME ")";
			break;
		case SSL_AD_NO_APPLICATION_PROTOCOL:
			snprintf(does_not_speak, sizeof(does_not_speak), " (it does not speak %s)",
					 protocols_offered[tls->protocols].name);
			why = does_not_speak;
			break;
		case SSL_AD_PROTOCOL_VERSION:
			why = " (TLS 1.2 or later is needed)";
			break;
		case SSL_AD_INTERNAL_ERROR:
		case SSL_AD_USER_CANCELLED:
			/* its trouble, which may pass */
			tc_channel_error(error, TC_ERROR_TLS_FAILED, false,
							 "\"%s\" ended the TLS session: %s",
							 address, alert_text(tls->alert));
			return true;
	}
	tc_channel_error(error, TC_ERROR_TLS_FAILED, true, "\"%s\" refused the TLS session: %s%s",
					 address, alert_text(tls->alert), why);
	return true;
}

/*
 * OpenSSL's words for an alert, and those that it lacks.
 */
static const char *
alert_text(int alert)
{
	switch (alert)
	{
		case SSL_AD_CERTIFICATE_REQUIRED:
			return "certificate required";
		case SSL_AD_NO_APPLICATION_PROTOCOL:
			return "no application protocol";
		default:
			return SSL_alert_desc_string_long(alert);
	}
}

/*
 * Value of an option that is given as a path or as data; malloc'd.
 */
static char *
option_contents(const char *path, const char *data, const char *option, bool is_secret,
				ChannelError *error)
{
	char	   *contents;

	if (path != NULL)
		return tc_channel_read_file(option, path, is_secret, error);
	contents = strdup(data);
	if (contents == NULL)
		tc_channel_error(error, TC_ERROR_CONNECTION_FAILED, false, "out of memory");
	return contents;
}

static bool
load_ca(TlsSettings *tls, char *pem, const char *option, ChannelError *error)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	X509	   *certificate;
	int			count = 0;
	bool		ok;

	tls->ca = X509_STORE_new();
	ok = bio != NULL && tls->ca != NULL;
	while (ok && (certificate = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL)) != NULL)
	{
		ok = X509_STORE_add_cert(tls->ca, certificate) == 1;
		X509_free(certificate);
		count++;
	}
	BIO_free(bio);

	/* The end of the data looks like a missing first line. */
	if (ok && count > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
	{
		/* An intermediate or the server's own certificate will do as anchor. */
		X509_STORE_set_flags(tls->ca, X509_V_FLAG_PARTIAL_CHAIN);
		ERR_clear_error();
		return true;
	}
	return bad_pem(option, "certificate", error);
}

static bool
load_certificate(TlsSettings *tls, char *pem, const char *option, ChannelError *error)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	X509	   *certificate;
	bool		ok;

	ok = bio != NULL &&
		(tls->certificate = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL)) != NULL &&
		(tls->chain = sk_X509_new_null()) != NULL;
	while (ok && (certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
	{
		ok = sk_X509_push(tls->chain, certificate) > 0;
		if (!ok)
			X509_free(certificate);
	}
	BIO_free(bio);

	if (ok && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
	{
		ERR_clear_error();
		return true;
	}
	return bad_pem(option, "certificate", error);
}

static bool
load_key(TlsSettings *tls, char *pem, const char *option, ChannelError *error)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	bool		asked = false;

	if (bio != NULL)
		tls->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	BIO_free(bio);
	if (tls->key != NULL)
		return true;
	if (asked)
	{
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "the private key in %s is protected by a passphrase", option);
		ERR_clear_error();
		return false;
	}
	return bad_pem(option, "private key", error);
}

/*
 * Fill in the error of PEM data that could not be read; false.
 */
static bool
bad_pem(const char *option, const char *contents, ChannelError *error)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	if (ERR_GET_REASON(code) == PEM_R_NO_START_LINE || ERR_GET_REASON(code) == ERR_R_UNSUPPORTED)
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true,
						 "there is no %s in PEM format in %s", contents, option);
	else
		tc_channel_error(error, TC_ERROR_CONFIGURATION, true, "the %s in %s cannot be used: %s",
						 contents, option, reason ? reason : "unknown reason");
	ERR_clear_error();
	return false;
}

/*
 * Never ask for a passphrase, for OpenSSL would do so on the terminal; note
 * that one is needed.
 */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	if (arg != NULL)
		*(bool *) arg = true;
	return -1;
}

/*
 * Note what the handshake led to, and alerts sent by the server.
 */
static void
on_info(const SSL *ssl, int where, int value)
{
	TlsSettings *tls = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);

	if (tls == NULL)
		return;
	if (where & SSL_CB_HANDSHAKE_DONE)
	{
		const unsigned char *protocol = NULL;
		unsigned int len = 0;
		X509	   *certificate;

		SSL_get0_alpn_selected(ssl, &protocol, &len);
		tls->http2 |= len == 2 && memcmp(protocol, "h2", 2) == 0;
		tls->version = SSL_get_version(ssl);	/* a constant string */
		certificate = SSL_get_peer_certificate(ssl);
		if (certificate != NULL)
			tls->server_expires_at = expires_at(certificate);
		X509_free(certificate);
	}
	else if ((where & SSL_CB_ALERT) && (where & SSL_CB_READ) &&
			 (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
		tls->alert = value & 0xff;
}

/*
 * The server asks for a client certificate, and there is none.
 */
static int
on_certificate_request(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
	TlsSettings *tls = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);

	if (tls != NULL)
		tls->certificate_requested = true;
	return 0;
}
