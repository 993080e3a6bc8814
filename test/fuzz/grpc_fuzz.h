/*-------------------------------------------------------------------------
 *
 * grpc_fuzz.h
 *	  What the parts of fuzz_grpc share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPC_FUZZ_H
#define GRPC_FUZZ_H

#include "base/event_loop.h"
#include "wire/connection.h"
#include "input.h"

#define MAX_CONNECTIONS 16
#define MAX_STREAMS 64			/* of a connection, that are kept account of */

struct Connection
{
	bool		used;
	bool		open;
	bool		connected;
	bool		ended;			/* the server has closed it */
	ConnectionDone done;
	ConnectionIo io;
	void	   *arg;
	uint32		wanted;
	const char *tls_version;

	/* Bytes to be received */
	uint8	   *in;
	size_t		in_len;
	size_t		in_size;
	size_t		in_start;
	size_t		chunk;			/* so many at once */

	/* What the client has sent */
	size_t		budget;			/* bytes that can still be sent */
	size_t		out_len;		/* of the whole output, client's preface
								 * included */
	uint8		frame[9];		/* header of a frame, as far as it has come */
	size_t		frame_have;
	size_t		frame_left;		/* bytes of its payload that are to come */
	int			nstreams;
	bool		handed[MAX_STREAMS];	/* the whole request was sent */

	/* What the server has said of streams; raw bytes may say anything */
	bool		raw;
	bool		ok[MAX_STREAMS];	/* grpc-status 0 */
	bool		data[MAX_STREAMS];	/* bytes that may be JSON */
	bool		disowned[MAX_STREAMS];
};

/* grpc_loop.c */
extern Connection connections[MAX_CONNECTIONS];
extern int	nconnections;
extern int64 now_ms;

extern void begin_loop(void);
extern void run_loop(void);
extern void check_all_closed(void);

/* grpc_server.c */
extern void begin_server(void);
extern void feed_frame(Connection *conn, uint8 type, uint8 flags, uint32 stream, const uint8 *payload, size_t len);
extern void feed_bytes(Connection *conn);
extern void feed_any_frame(Connection *conn);
extern void feed_headers(Connection *conn);
extern void feed_message(Connection *conn);
extern void feed_json(Connection *conn);
extern void feed_settings(Connection *conn);
extern void feed_goaway(Connection *conn);
extern void feed_again(Connection *conn);

#endif							/* GRPC_FUZZ_H */
