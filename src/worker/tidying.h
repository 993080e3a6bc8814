/*-------------------------------------------------------------------------
 *
 * tidying.h
 *	  When temporal_internal.queue is tidied up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TIDYING_H
#define TC_TIDYING_H

/* Another segment of temporal_internal.delivery was begun. */
extern void tc_tidying_segment_begun(void);

/* Do the next step, if it is time to. */
extern void tc_tidying_turn(void);

#endif							/* TC_TIDYING_H */
