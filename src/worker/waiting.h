/*-------------------------------------------------------------------------
 *
 * waiting.h
 *	  What waits in the worker's memory, by state and code.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WAITING_H
#define TC_WAITING_H

#include "process/statistics.h"
#include "worker/in_memory.h"

/*
 * Add the requests of a queue to those of its entry; what was not read yet, too,
 * and what is in flight if its answer is not awaited.
 */
extern void tc_waiting_add(StatGauges *gauges, const Queue *queue, bool leaving);

#endif							/* TC_WAITING_H */
