/*-------------------------------------------------------------------------
 *
 * wakeup.h
 *	  Waking the worker of this database when a transaction commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WAKEUP_H
#define TC_WAKEUP_H

#include "process/key_marks.h"

/* At COMMIT of this transaction, wake the worker for the queue of that number. */
extern void tc_wake_at_commit(int64 queue);

/* At COMMIT of this transaction, tell the worker that a key was recorded for a role, if requests wait for keys. */
extern void tc_tell_key_at_commit(const RecordedKey *key);

/* At COMMIT, wake the worker for all queues: any of them may have rows. */
extern void tc_look_at_commit(void);

/* The same, and what waits is to be tried at once: options have changed, the extension is new or gone. */
extern void tc_wake_all_at_commit(void);

/*
 * At COMMIT of this transaction, have a worker that there is look at options
 * and rights: those that the transaction has changed.
 */
extern void tc_look_at_options_at_commit(void);

/* At COMMIT of this transaction, have the launcher look at a database, new or changed. */
extern void tc_look_again_at_commit(Oid database);

/*
 * Keep workers out of a database until the end of this transaction, and
 * have the launcher look at it then.
 */
extern void tc_bar_database_in_transaction(Oid database);

/*
 * WARNING, once a session, if the library is not preloaded, or if this
 * database is to have no worker: requests are recorded and wait.
 */
extern void tc_warn_if_nothing_is_sent(void);

#endif							/* TC_WAKEUP_H */
