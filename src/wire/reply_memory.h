/*-------------------------------------------------------------------------
 *
 * reply_memory.h
 *	  Memory for what servers answer: one bound for all channels.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REPLY_MEMORY_H
#define TC_REPLY_MEMORY_H

/*
 * Memory for the replies and messages of all calls in flight, but for small
 * replies, which always have room.  With thousands of calls, servers could
 * fill any memory with replies that are within the limit each.
 */
#define TC_MAX_REPLIES (32 * 1024 * 1024)

/*
 * May a channel hold so much instead of so much before?  Less is always
 * possible; more as long as it holds less than three times what is left.  *held
 * is what the channel holds.
 */
extern bool tc_reply_hold(size_t *held, size_t before, size_t now);

/*
 * The memory of an answer (NULL = none yet), of `before` bytes, as one of `now`
 * bytes, if the channel may hold that.  NULL, the memory left as it is, and
 * *problem, a constant, if not.
 */
extern void *tc_reply_grow(size_t *held, void *reply, size_t before, size_t now,
						   const char **problem);

/* For an answer that is larger than whoever asked takes */
#define TC_REPLY_TOO_LARGE "the reply is too large"

#endif							/* TC_REPLY_MEMORY_H */
