/*-------------------------------------------------------------------------
 *
 * streams.h
 *	  The HTTP/2 sessions of a channel, and its calls, which are streams of
 *	  them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_STREAMS_H
#define TC_STREAMS_H

#include "wire/channel.h"
#include "wire/stream_calls.h"

/*
 * Embedded in a channel, whose state it sets when it is ready no more.  What
 * becomes of connecting is told, and the state left to who is told; from the
 * event loop, the channel held.
 */
typedef struct Streams
{
	StreamSession *current;		/* connecting, or for new calls; or NULL */
	bool		has_http1;		/* the channel can make calls in another way */
	bool		wants_http1;	/* then: a call was told to be made so; to be
								 * cleared by the channel */

	/* private to streams.c */
	Channel    *channel;
	void		(*opened) (Channel *channel);
	void		(*failed) (Channel *channel, const ChannelError *error, bool wants_http1);
	dlist_head	sessions;		/* all of them */
	StreamCalls calls;
	LoopTimer	connect_timer;
	LoopTimer	later;			/* something is to be told */
	bool		refused;		/* of that: a connect */
	ChannelError failure;
} Streams;

/*
 * opened() is called when the session that connect() began takes calls, as
 * current; failed() when there is none: because the other side wants HTTP/1.1,
 * or for another reason.
 */
extern void tc_streams_init(Streams *streams, Channel *channel, const StreamKind *kind,
							void (*opened) (Channel *channel),
							void (*failed) (Channel *channel, const ChannelError *error,
											bool wants_http1));
extern void tc_streams_connect(Streams *streams);

/* Have no session for new calls any more; what is in flight goes on. */
extern void tc_streams_leave(Streams *streams);

/* As in Transport */
extern int	tc_streams_sessions(const Streams *streams);
extern int	tc_streams_capacity(const Streams *streams);
extern void tc_streams_flush(Streams *streams);
extern void tc_streams_look_at_files(Streams *streams);
extern void tc_streams_close(Streams *streams);
extern void tc_streams_sweep(Streams *streams);

/* Start a call on the session for new calls, if there is one. */
extern void tc_streams_call(Streams *streams, const Call *call);

#endif							/* TC_STREAMS_H */
