/*-------------------------------------------------------------------------
 *
 * grpc_calls.h
 *	  The calls in flight of a channel: their deadlines, answers and ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GRPC_CALLS_H
#define TC_GRPC_CALLS_H

#include "lib/ilist.h"

#include "base/event_loop.h"
#include "wire/grpc_session.h"

/* Lists of calls by timeout; more timeouts than this share lists */
#define DEADLINE_LISTS 8

typedef struct DeadlineList
{
	int			timeout_ms;
	dlist_head	calls;			/* in order of their deadlines */
} DeadlineList;

/* Embedded in the channel; private to grpc_calls.c. */
typedef struct GrpcCalls
{
	dlist_head	finished;		/* calls whose callbacks are to be run */
	size_t		held;			/* by the answers of all calls */
	DeadlineList deadlines[DEADLINE_LISTS];
	LoopTimer	deadline_timer;
	TimerCallback deadline_passed;
	void	   *arg;
} GrpcCalls;

/* deadline_passed(arg) is called from the event loop when a call is late. */
extern void tc_grpc_calls_init(GrpcCalls *calls, TimerCallback deadline_passed, void *arg);

/* No deadline is watched any more. */
extern void tc_grpc_calls_stop(GrpcCalls *calls);

/*
 * Start a call on a session; NULL if there is none.  False if it is over at
 * once, and tc_grpc_calls_tell() is to be called, but not now.
 */
extern bool tc_grpc_call_start(GrpcCalls *calls, GrpcSession *session, const Call *call);

/* Give up the calls whose deadline has passed. */
extern void tc_grpc_calls_give_up_late(GrpcCalls *calls);

/* Run the callbacks of calls that are over. */
extern void tc_grpc_calls_tell(GrpcCalls *calls);

/* For Http2Events: what comes in for a call; its session's calls are those. */
extern void tc_grpc_call_header(Http2Stream *stream, const char *name, size_t name_len,
								const char *value, size_t value_len);
extern bool tc_grpc_call_data(Http2Stream *stream, const uint8 *data, size_t len);
extern void tc_grpc_call_over(Http2Stream *stream, Http2End end, uint32 error_code,
							  const ChannelError *why);

#endif							/* TC_GRPC_CALLS_H */
