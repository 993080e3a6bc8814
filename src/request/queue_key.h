/*-------------------------------------------------------------------------
 *
 * queue_key.h
 *	  For whom requests are sent to where: what a queue is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_QUEUE_KEY_H
#define TC_QUEUE_KEY_H

/*
 * Server and role are identities: what has their names today may be another
 * server, another role.
 */
typedef struct QueueKey
{
	Oid			server;
	Oid			role;
	const char *namespace_name; /* NULL: that of the server's option when it
								 * is sent */
	bool		suppressed;		/* its requests are never sent */
} QueueKey;

/* The same, with what server and role were called at first, in case they are gone */
typedef struct QueueRow
{
	QueueKey	key;
	const char *server_name;
	const char *role_name;
} QueueRow;

#endif							/* TC_QUEUE_KEY_H */
