/*-------------------------------------------------------------------------
 *
 * counting.h
 *	  What a worker counts.
 *
 * Nothing here may be called beneath the wire.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_COUNTING_H
#define TC_COUNTING_H

#include "process/statistics.h"
#include "worker/in_memory.h"

extern void tc_counting_init(void);

/* A request of the queue is sent. */
extern void tc_count_call(Queue *queue, size_t bytes);

/* A heartbeat of a recorded activity is sent. */
extern void tc_count_heartbeat(Queue *queue);

/* Its call failed, and it is tried again; ambiguous: it may have been applied. */
extern void tc_count_failure(const Request *request, bool retried, bool ambiguous);

/* Its outcome was recorded. */
extern void tc_count_outcome(const Request *request, bool expired);

/*
 * Because of it so many outcomes of heartbeats are not kept; of these, one that
 * was until now had ended then, or at 0 all are new.
 */
extern void tc_count_not_kept(const Request *request, int heartbeats, TimestampTz ended_at);

/* The requests of the queue are for another role, server or namespace than before. */
extern void tc_counting_forget(Queue *queue);

/* Publish what was counted.  Cannot fail. */
extern void tc_counting_flush(void);

/* The same, and forget which entries are whose: all queues are to be forgotten, too. */
extern void tc_counting_begin_anew(void);

/* What is so now for the requests of a queue and those that are counted with them; NULL: no room */
extern StatGauges *tc_counting_gauges(Queue *queue);
extern void tc_counting_clear_gauges(void);
extern void tc_counting_publish_gauges(void);

#endif							/* TC_COUNTING_H */
