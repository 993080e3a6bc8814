/*-------------------------------------------------------------------------
 *
 * stub.h
 *	  What the parts of grpc_stub share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef STUB_H
#define STUB_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OUTPUT_TARGET (64 * 1024)
#define MAX_REPLY 4096

typedef struct Stream Stream;

typedef struct Session
{
	int			fd;
	long		number;
	SSL		   *ssl;			/* NULL in cleartext */
	nghttp2_session *ng;
	uint8_t		out[2 * OUTPUT_TARGET];
	size_t		out_start;
	size_t		out_len;
	bool		waits_to_write;
	bool		closing;		/* once all is sent */
	bool		goaway;
	int32_t		last_id;		/* of a request that is taken, with goaway */
	bool		half_closed;	/* the client is to close it */
	bool		dead;
	long		requests;
	Stream	   *streams;		/* all that are open */
	struct Session *next;		/* among all sessions */
} Session;

struct Stream
{
	Session    *session;		/* NULL = closed meanwhile */
	int32_t		id;
	long		number;			/* of the request */
	size_t		body_len;
	size_t		sent;			/* of the reply */
	char		authorization[256];
	char		headers[512];	/* for the file of requests */
	char		path[64];		/* for the file of calls: its last part */
	char		body[1024];		/* the same: its beginning */
	bool		hangs;			/* by its path */
	int64_t		due;			/* if the answer is delayed */
	bool		queued;			/* among the delayed ones */
	Stream	   *next_due;
	Stream	   *prev;			/* among the session's */
	Stream	   *next;
};

typedef struct StubOptions
{
	long		port;
	long		delay_ms;
	long		grpc_status;
	const char *grpc_message;
	const char *detail;
	const char *date;
	long		fail_first;		/* requests that are answered by status */
	long		http_status;
	bool		no_status;
	long		reset_code;
	long		goaway_after;
	long		goaway_code;
	long		close_after;
	bool		close_hard;
	long		max_streams;
	bool		hang;
	long		hang_after;
	const char *hang_path;
	long		unfinished;
	bool		silent;
	bool		pong_never;
	bool		junk;			/* messages are made of pieces of text that is
								 * none */
	const char *tls_cert;
	const char *tls_key;
	const char *client_ca;
	const char *authorization;	/* file that says who is let in */
	long		refusal;
	FILE	   *requests_file;
	FILE	   *calls_file;

	/* Made of the above: the reply with its prefix, and headers of status */
	uint8_t		reply[5 + MAX_REPLY];
	size_t		reply_len;
	char		status_text[12];
	char		http_status_text[12];
	char		refusal_text[12];
	char		detail_text[512];
} StubOptions;

typedef struct StubCounts
{
	long		connections;
	long		requests;
	long		answered;
	long		reset;			/* by the client */
	long		lost;			/* streams open when a connection ended */
	long		disowned;		/* requests above the last one of a GOAWAY */
	long		goaways;
	long		pings;
	long		bytes;			/* of request messages */
} StubCounts;

extern StubOptions options;
extern StubCounts counts;
extern int	epoll_fd;

/* stub_options.c */
extern void parse_options(int argc, char **argv);

/* stub_session.c */
extern void prepare_tls(void);
extern void begin_session(int fd);
extern void read_session(Session *session);
extern void flush_sessions(void);
extern void reap_sessions(void);

/* stub_answers.c */
extern void prepare_http2(void);
extern nghttp2_session *begin_http2(Session *session);
extern void unlink_stream(Stream *stream);
extern int	answer_due(void);

#endif							/* STUB_H */
