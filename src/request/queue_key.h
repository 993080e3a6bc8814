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

/* Are they for the same namespace of the same server, as these were named? */
static inline bool
tc_queue_keys_go_together(const QueueKey *a, const QueueKey *b)
{
	return a->server == b->server &&
		(a->namespace_name == NULL || b->namespace_name == NULL ?
		 a->namespace_name == b->namespace_name :
		 strcmp(a->namespace_name, b->namespace_name) == 0);
}

/* A QueueKey, with what server and role were called at first, in case they are gone */
typedef struct QueueRow
{
	QueueKey	key;
	const char *server_name;
	const char *role_name;
} QueueRow;

#endif							/* TC_QUEUE_KEY_H */
