/*-------------------------------------------------------------------------
 *
 * connection.h
 *	  A byte stream to a server, in cleartext or by TLS, made by libcurl.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CONNECTION_H
#define TC_CONNECTION_H

#include "wire/transport.h"

typedef struct Connection Connection;

/*
 * Open files that a connection may need: its socket, those by which libcurl
 * wakes itself, and while it connects those of the resolver.
 */
#define TC_CONNECTION_FILES 3

/* May another connection open so many files? */
extern bool tc_connection_has_files(void);

/*
 * Told once that the connection is there (error = NULL), or why not; it may
 * be closed in here, and must be if there is an error.
 */
typedef void (*ConnectionDone) (void *arg, const ChannelError *error);

/* Told that bytes can be received or sent; may close the connection. */
typedef void (*ConnectionIo) (void *arg, uint32 events);

/*
 * Connect to options->address.  The options must stay valid until the
 * connection is closed.  Returns NULL for lack of memory; all else is told
 * by done(), from the event loop.
 */
extern Connection *tc_connection_open(const ChannelOptions *options, ConnectionDone done,
									  ConnectionIo io, void *arg);

/* Close it at once and free it.  No callback is run any more. */
extern void tc_connection_close(Connection *conn);

/* Number of bytes received; 0 = none at present; -1 = the connection is lost. */
extern ssize_t tc_connection_recv(Connection *conn, void *buf, size_t len);

/*
 * Number of bytes sent; 0 = none at present; -1 = the connection is lost.
 * With TLS, some bytes that were not counted may have left; the next call has
 * to begin with the same bytes.
 */
extern ssize_t tc_connection_send(Connection *conn, const void *buf, size_t len);

/* Socket events to be told of: WL_SOCKET_READABLE, and perhaps WL_SOCKET_WRITEABLE. */
extern void tc_connection_wait_for(Connection *conn, uint32 events);

/*
 * Why it was lost.  If the other side has not yet said anything beyond TLS,
 * its refusal of our certificate is looked for.
 */
extern void tc_connection_explain(Connection *conn, bool is_new, ChannelError *error);

/* Version of TLS, such as "TLSv1.3"; NULL if in cleartext or not connected. */
extern const char *tc_connection_tls_version(const Connection *conn);
extern void tc_connection_add_expiry(const Connection *conn, ChannelExpiry *expiry);

#endif							/* TC_CONNECTION_H */
