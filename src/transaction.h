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
 * memory context.  An error is logged and the transaction rolled back;
 * returns false then.
 */
extern bool tc_run_transaction(void (*work) (void *arg), void *arg);

#endif							/* TC_TRANSACTION_H */
