/*-------------------------------------------------------------------------
 *
 * recording.h
 *	  Requests whose state is to be recorded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RECORDING_H
#define TC_RECORDING_H

#include "queue.h"

extern void tc_recording_init(void);

/* The request's state is to be recorded: as it is when that is done. */
extern void tc_recording_add(Request *request);

/* It need not be recorded any more: its row is gone. */
extern void tc_recording_remove(Request *request);

/* How many are to be recorded? */
extern int	tc_recording_count(void);

/*
 * Record, in transactions of its own, if there is enough or it has waited
 * long enough; with `now`, whatever there is.  Requests that are finished
 * are forgotten then.  Returns true if it should be called again at once.
 */
extern bool tc_recording_turn(bool now);

#endif							/* TC_RECORDING_H */
