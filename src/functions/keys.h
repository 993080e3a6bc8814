/*-------------------------------------------------------------------------
 *
 * keys.h
 *	  Keys under which activities are recorded, as arguments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_KEYS_H
#define TC_KEYS_H

#include "outbox/recorded_activity.h"
#include "request/queue_key.h"

/* Raise an error if it cannot be a key. */
extern void tc_key_check(const text *key);

/*
 * Raise errors as the verbs do: where nothing can be written, and if the
 * caller may not use that server or name that namespace.  function is what was
 * called.  Returns what the caller's own queue is.
 */
extern QueueKey tc_caller_queue(const char *function, const char *server, char *namespace_name);

/* As tc_activity_find(), and raises an error if several roles' may be meant. */
extern bool tc_key_find(const QueueKey *queue_key, const char *key, RecordedActivity *activity,
						Oid *owner);

#endif							/* TC_KEYS_H */
