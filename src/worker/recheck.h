/*-------------------------------------------------------------------------
 *
 * recheck.h
 *	  Requests that wait, of which a user has changed the row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RECHECK_H
#define TC_RECHECK_H

/* Look for them in the next transaction that reads.  Raises no error. */
extern void tc_recheck_want(void);
extern bool tc_recheck_is_wanted(void);

/*
 * Let those that wait for a retry be due, in a transaction that reads.  If it
 * fails tc_recheck_want() has to be called again.
 */
extern void tc_recheck_work(void);

#endif							/* TC_RECHECK_H */
