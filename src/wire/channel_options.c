/*-------------------------------------------------------------------------
 *
 * channel_options.c
 *	  A channel's own copy of its options.
 *
 * It outlives the memory context of whoever made the channel: memory is
 * malloc's, and secrets in it are overwritten at its end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/channel_options.h"
#include "wire/credential_files.h"

bool
tc_channel_options_copy(ChannelOptions *copy, const ChannelOptions *options)
{
	const char **strings[] = {
		&copy->address, &copy->proxy, &copy->proxy_auth, &copy->tls_server_name,
		&copy->tls_server_ca_cert_path, &copy->tls_server_ca_cert_data,
		&copy->tls_client_cert_path, &copy->tls_client_cert_data,
		&copy->tls_client_key_path, &copy->tls_client_key_data,
		&copy->authority, &copy->api_key, &copy->api_key_path,
		&copy->codec_path, &copy->codec_auth
	};
	bool		ok = true;

	*copy = *options;
	copy->nmetadata = 0;
	copy->metadata_keys = NULL;
	copy->metadata_values = NULL;
	for (int i = 0; i < lengthof(strings); i++)
	{
		if (*strings[i] != NULL)
			ok = (*strings[i] = ok ? strdup(*strings[i]) : NULL) != NULL && ok;
	}
	if (ok && options->nmetadata > 0)
	{
		copy->metadata_keys = calloc(options->nmetadata, sizeof(char *));
		copy->metadata_values = calloc(options->nmetadata, sizeof(char *));
		ok = copy->metadata_keys != NULL && copy->metadata_values != NULL;
	}
	for (int i = 0; ok && i < options->nmetadata; i++)
	{
		copy->nmetadata = i + 1;
		copy->metadata_keys[i] = strdup(options->metadata_keys[i]);
		copy->metadata_values[i] = strdup(options->metadata_values[i]);
		ok = copy->metadata_keys[i] != NULL && copy->metadata_values[i] != NULL;
	}
	if (!ok)
		tc_channel_options_free(copy);
	return ok;
}

void
tc_channel_options_free(ChannelOptions *options)
{
	free((char *) options->address);
	free((char *) options->proxy);
	tc_free_secret((char *) options->proxy_auth);
	free((char *) options->tls_server_name);
	free((char *) options->tls_server_ca_cert_path);
	free((char *) options->tls_server_ca_cert_data);
	free((char *) options->tls_client_cert_path);
	free((char *) options->tls_client_cert_data);
	free((char *) options->tls_client_key_path);
	tc_free_secret((char *) options->tls_client_key_data);
	free((char *) options->authority);
	tc_free_secret((char *) options->api_key);
	free((char *) options->api_key_path);
	free((char *) options->codec_path);
	tc_free_secret((char *) options->codec_auth);
	for (int i = 0; i < options->nmetadata; i++)
	{
		free((char *) options->metadata_keys[i]);
		tc_free_secret((char *) options->metadata_values[i]);
	}
	free(options->metadata_keys);
	free(options->metadata_values);
}
