/*-------------------------------------------------------------------------
 *
 * event_loop.h
 *	  Waiting for the latch, sockets and timers at once.
 *
 * One loop a process.  Times are milliseconds of a monotonic clock, so a
 * wall clock that jumps moves no timer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_EVENT_LOOP_H
#define TC_EVENT_LOOP_H

#include "base/due_heap.h"

typedef struct SocketWatch SocketWatch;
typedef void (*SocketCallback) (void *arg, uint32 events);	/* WL_SOCKET_* bits */

typedef void (*TimerCallback) (void *arg);

/* Embedded in its owner; zero it before first use. */
typedef struct LoopTimer
{
	DueNode		when;
	bool		armed;
	TimerCallback callback;
	void	   *arg;
} LoopTimer;

/* To be called first, once a process. */
extern void tc_event_loop_init(void);

/* Monotonic clock, milliseconds. */
extern int64 tc_monotonic_ms(void);

/* In place of such a time: not before something has changed */
#define TC_NEVER PG_INT64_MAX

/*
 * Watching, modifying and unwatching take effect with the next wait and never
 * raise errors.  tc_event_loop_watch() returns NULL for lack of memory.
 * Callbacks may unwatch any socket and set or cancel any timer.
 */
extern SocketWatch *tc_event_loop_watch(pgsocket sock, uint32 events,
										SocketCallback callback, void *arg);
extern void tc_event_loop_modify(SocketWatch *watch, uint32 events);
extern void tc_event_loop_unwatch(SocketWatch *watch);

/* Run the callback once, when the clock has reached due; moves a timer that is set. */
extern void tc_timer_set(LoopTimer *timer, int64 due, TimerCallback callback, void *arg);

/* The same without a callback: then the wait ends, for the caller to see what is due. */
extern void tc_timer_wake(LoopTimer *timer, int64 due);

extern void tc_timer_cancel(LoopTimer *timer);

/*
 * For the callback of a timer that found nothing to do: if nothing else has
 * happened, and the wait is not for a limited time, it goes on.
 */
extern void tc_timer_in_vain(void);

/*
 * Wait until the latch is set, a socket is ready, or a timer or timeout_ms
 * (-1 = none) is due; run the callbacks of ready sockets and due timers.
 * Returns true if the latch was set (it has been reset).  Exits the process
 * if the postmaster died.  Does not check for interrupts: the caller does.
 */
extern bool tc_event_loop_wait(long timeout_ms, uint32 wait_event_info);

#endif							/* TC_EVENT_LOOP_H */
