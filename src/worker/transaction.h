/*-------------------------------------------------------------------------
 *
 * transaction.h
 *	  The worker's transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TRANSACTION_H
#define TC_TRANSACTION_H

/*
 * Run work(arg) in a transaction of its own, with a snapshot, in the current
 * memory context.  An error is logged (the same one once a minute) and the
 * transaction rolled back; returns false then.  Also if the extension is not there (any more): then
 * work is not called.
 */
extern bool tc_run_transaction(void (*work) (void *arg), void *arg);

/*
 * Was the error of the last transaction that failed one that goes by itself: a
 * lock that somebody has, a serialization failure, a table just replaced?
 * Such errors are logged only if they come again and again.
 */
extern bool tc_transaction_error_is_transient(void);

/*
 * Was the extension found to be missing, or to have been dropped and created
 * anew?  The worker ends then.
 */
extern bool tc_extension_is_gone(void);

/* If so, was it created anew? */
extern bool tc_extension_is_another(void);

#endif							/* TC_TRANSACTION_H */
