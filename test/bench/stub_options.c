/*-------------------------------------------------------------------------
 *
 * stub_options.c
 *	  Options of the stub.  What they mean is in grpc_stub.c.
 *
 *-------------------------------------------------------------------------
 */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stub.h"

StubOptions options = {
	.port = 7233,
	.http_status = 200,
	.fail_first = -1,
	.reset_code = -1,
	.hang_after = -1,
	.refusal = 16,
	.reply_len = 5,
};

/*
 * grpc-status-details-bin: google.rpc.Status with one detail of that type.
 */
static void
make_detail(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char		url[128];
	uint8_t		bytes[256];
	size_t		n = 0;
	size_t		out = 0;
	size_t		url_len;

	snprintf(url, sizeof(url), "type.googleapis.com/temporal.api.errordetails.v1.%s", options.detail);
	url_len = strlen(url);
	if (url_len > 120)
	{
		fprintf(stderr, "the type of the detail is too long\n");
		exit(2);
	}
	bytes[n++] = 0x08;
	bytes[n++] = (uint8_t) options.grpc_status;
	bytes[n++] = 0x1a;
	bytes[n++] = (uint8_t) (url_len + 2);
	bytes[n++] = 0x0a;
	bytes[n++] = (uint8_t) url_len;
	memcpy(bytes + n, url, url_len);
	n += url_len;

	for (size_t i = 0; i < n; i += 3)
	{
		uint32_t	bits = bytes[i] << 16 | (i + 1 < n ? bytes[i + 1] << 8 : 0) |
			(i + 2 < n ? bytes[i + 2] : 0);
		size_t		chars = i + 2 < n ? 4 : n - i + 1;

		for (size_t c = 0; c < chars; c++)
			options.detail_text[out++] = digits[bits >> (18 - 6 * c) & 63];
	}
	options.detail_text[out] = '\0';
}

static void
make_reply(const char *hex)
{
	size_t		len = strlen(hex) / 2;

	if (len > MAX_REPLY)
	{
		fprintf(stderr, "the reply is too long\n");
		exit(2);
	}
	for (size_t i = 0; i < len; i++)
	{
		unsigned int byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		options.reply[5 + i] = (uint8_t) byte;
	}
	options.reply[3] = (uint8_t) (len >> 8);
	options.reply[4] = (uint8_t) len;
	options.reply_len = 5 + len;
}

static void
close_hard_after(const char *requests)
{
	options.close_hard = true;
	options.close_after = atol(requests);
}

static void
open_requests_file(const char *path)
{
	options.requests_file = fopen(path, "a");
}

static void
open_calls_file(const char *path)
{
	options.calls_file = fopen(path, "a");
}

static void
make_messages_junk(const char *seed)
{
	options.junk = true;
	srandom(atol(seed));
}

typedef enum ArgumentKind
{
	NONE,						/* a flag */
	NUMBER,
	TEXT,
	OTHER						/* a function takes it */
} ArgumentKind;

static const struct
{
	const char *name;
	ArgumentKind kind;
	void	   *variable;
	void		(*take) (const char *value);
}			known[] = {
	{"port", NUMBER, &options.port, NULL},
	{"delay", NUMBER, &options.delay_ms, NULL},
	{"status", NUMBER, &options.grpc_status, NULL},
	{"message", TEXT, &options.grpc_message, NULL},
	{"detail", TEXT, &options.detail, NULL},
	{"date", TEXT, &options.date, NULL},
	{"reply", OTHER, NULL, make_reply},
	{"fail-first", NUMBER, &options.fail_first, NULL},
	{"http-status", NUMBER, &options.http_status, NULL},
	{"no-status", NONE, &options.no_status, NULL},
	{"reset", NUMBER, &options.reset_code, NULL},
	{"goaway-after", NUMBER, &options.goaway_after, NULL},
	{"goaway-code", NUMBER, &options.goaway_code, NULL},
	{"close-after", NUMBER, &options.close_after, NULL},
	{"reset-connection-after", OTHER, NULL, close_hard_after},
	{"max-streams", NUMBER, &options.max_streams, NULL},
	{"hang", NONE, &options.hang, NULL},
	{"hang-after", NUMBER, &options.hang_after, NULL},
	{"hang-path", TEXT, &options.hang_path, NULL},
	{"unfinished", NUMBER, &options.unfinished, NULL},
	{"silent", NONE, &options.silent, NULL},
	{"pong-never", NONE, &options.pong_never, NULL},
	{"junk", OTHER, NULL, make_messages_junk},
	{"tls-cert", TEXT, &options.tls_cert, NULL},
	{"tls-key", TEXT, &options.tls_key, NULL},
	{"client-ca", TEXT, &options.client_ca, NULL},
	{"authorization", TEXT, &options.authorization, NULL},
	{"refuse", NUMBER, &options.refusal, NULL},
	{"requests", OTHER, NULL, open_requests_file},
	{"calls", OTHER, NULL, open_calls_file},
};

#define NKNOWN (sizeof(known) / sizeof(known[0]))

void
parse_options(int argc, char **argv)
{
	struct option getopt_options[NKNOWN + 1] = {0};
	int			which;
	int			result;

	for (size_t i = 0; i < NKNOWN; i++)
	{
		getopt_options[i].name = known[i].name;
		getopt_options[i].has_arg = known[i].kind == NONE ? no_argument : required_argument;
	}
	while ((result = getopt_long(argc, argv, "", getopt_options, &which)) != -1)
	{
		if (result != 0)
			exit(2);
		switch (known[which].kind)
		{
			case NONE:
				*(bool *) known[which].variable = true;
				break;
			case NUMBER:
				*(long *) known[which].variable = atol(optarg);
				break;
			case TEXT:
				*(const char **) known[which].variable = optarg;
				break;
			case OTHER:
				known[which].take(optarg);
				break;
		}
	}
	snprintf(options.status_text, sizeof(options.status_text), "%ld", options.grpc_status);
	snprintf(options.http_status_text, sizeof(options.http_status_text), "%ld", options.http_status);
	snprintf(options.refusal_text, sizeof(options.refusal_text), "%ld", options.refusal);
	if (options.detail != NULL)
		make_detail();
}
