/*-------------------------------------------------------------------------
 *
 * termination.h
 *	  Ending without a word in the server log when that was asked for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TERMINATION_H
#define TC_TERMINATION_H

/* Keep what die() reports in this process out of the log. */
extern void tc_terminate_quietly(void);

#endif							/* TC_TERMINATION_H */
