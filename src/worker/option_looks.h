/*-------------------------------------------------------------------------
 *
 * option_looks.h
 *	  In which order queues look at their options and rights.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_OPTION_LOOKS_H
#define TC_OPTION_LOOKS_H

#include "worker/in_memory.h"

extern void tc_option_looks_init(void);

/* A queue is to look.  It wants nothing else before its turn (awaits_look). */
extern void tc_option_look_want(Queue *queue);

/* It may have something to send: it comes before others of its role. */
extern void tc_option_look_hasten(Queue *queue);

/* Do queues await their turn?  May some have it now? */
extern bool tc_option_looks_wanted(void);
extern bool tc_option_looks_due(void);

/*
 * The one whose turn it is, which becomes active; NULL if none awaits it.  When
 * some have looked, say how long that took.
 */
extern Queue *tc_option_looks_next(void);
extern void tc_option_looks_took(int64 ms);

#endif							/* TC_OPTION_LOOKS_H */
