/*-------------------------------------------------------------------------
 *
 * stream_calls.h
 *	  Calls in flight that are streams of HTTP/2 sessions: their deadlines and
 *	  ends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_STREAM_CALLS_H
#define TC_STREAM_CALLS_H

#include "lib/ilist.h"

#include "base/event_loop.h"
#include "wire/stream_session.h"

/* Lists of calls by timeout; more timeouts than this share lists */
#define DEADLINE_LISTS 8

typedef struct DeadlineList
{
	int			timeout_ms;
	dlist_head	calls;			/* in order of their deadlines */
} DeadlineList;

/* A call in flight; begins what its kind knows of it. */
typedef struct StreamCall
{
	Http2Stream stream;			/* must be first */
	StreamSession *session;		/* NULL once it is over */
	Channel    *channel;
	Call		call;
	const char *problem;		/* why no more of the answer is taken; a
								 * constant, or NULL */

	/* private to stream_calls.c */
	dlist_node	node;			/* by deadline, then among finished ones */
	struct StreamCalls *calls;
	int64		deadline;
	CallFate	fate;			/* once finished */
} StreamCall;

/*
 * What is asked in a call, and what its answer says: gRPC's, or JSON's.  header(),
 * data(), judge() and say() are called beneath nghttp2.
 */
typedef struct StreamKind
{
	size_t		call_size;		/* of its calls */
	StreamCall **unused;		/* of all channels, for reuse */

	/*
	 * What it needs for a session, and its end; NULL = nothing.  NULL is
	 * returned for lack of memory.
	 */
	void	   *(*open) (const StreamSession *session);
	void		(*close) (void *own);

	/*
	 * Of a call whose session, channel and call are set: fill in the body,
	 * and return the number of headers, which are valid until the next call
	 * of this function.  0 = it is over, with that fate.
	 */
	int			(*begin) (StreamCall *call, const nghttp2_nv **headers, CallFate *fate);

	/*
	 * A header, trailer, or piece of the body; false = enough of it, the
	 * problem is set.
	 */
	void		(*header) (StreamCall *call, const char *name, size_t name_len,
						   const char *value, size_t value_len);
	bool		(*data) (StreamCall *call, const uint8 *data, size_t len);

	/*
	 * The whole answer is there: what does it say?  That credentials are not
	 * good enough?
	 */
	CallFate	(*judge) (StreamCall *call);
	bool		(*refuses_credentials) (const StreamCall *call);

	/* Set the message to our words. */
	void		(*say) (StreamCall *call, const char *words);

	/*
	 * The result of a call; valid until its end, when its memory is given
	 * back.
	 */
	void		(*result) (const StreamCall *call, CallFate fate, CallResult *result);
	void		(*end) (StreamCall *call);
} StreamKind;

/* Embedded in Streams; private to stream_calls.c. */
typedef struct StreamCalls
{
	const StreamKind *kind;
	dlist_head	finished;		/* calls whose callbacks are to be run */
	DeadlineList deadlines[DEADLINE_LISTS];
	LoopTimer	deadline_timer;
	TimerCallback deadline_passed;
	void	   *arg;
} StreamCalls;

/* deadline_passed(arg) is called from the event loop when a call is late. */
extern void tc_stream_calls_init(StreamCalls *calls, const StreamKind *kind,
								 TimerCallback deadline_passed, void *arg);

/* No deadline is watched any more. */
extern void tc_stream_calls_stop(StreamCalls *calls);

/*
 * Start a call on a session; NULL if there is none.  False if it is over at
 * once, and tc_stream_calls_tell() is to be called, but not now.
 */
extern bool tc_stream_call_start(StreamCalls *calls, StreamSession *session, const Call *call);

/* Give up the calls whose deadline has passed. */
extern void tc_stream_calls_give_up_late(StreamCalls *calls);

/* Run the callbacks of calls that are over. */
extern void tc_stream_calls_tell(StreamCalls *calls);

/* For Http2Events: what comes in for a call; its session's calls are those. */
extern void tc_stream_call_header(Http2Stream *stream, const char *name, size_t name_len,
								  const char *value, size_t value_len);
extern bool tc_stream_call_data(Http2Stream *stream, const uint8 *data, size_t len);
extern void tc_stream_call_over(Http2Stream *stream, Http2End end, uint32 error_code,
								const ChannelError *why);

#endif							/* TC_STREAM_CALLS_H */
