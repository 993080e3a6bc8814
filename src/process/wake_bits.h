/*-------------------------------------------------------------------------
 *
 * wake_bits.h
 *	  Bitmap of the queues that a wake is for.
 *
 * A queue's place follows from its number, which is random.  Several queues
 * may share one: which of them is meant is said as long as it is one only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WAKE_BITS_H
#define TC_WAKE_BITS_H

#include "port/pg_bitutils.h"

#define TC_WAKE_BITS 1024
#define TC_WAKE_WORDS (TC_WAKE_BITS / 32)

/*
 * In place of a queue's number, which is positive: look at temporal_internal.recheck,
 * see recheck.c.  Some queues share the bit, which is no harm.
 */
#define TC_WAKE_RECHECK INT64CONST(-1)

/* So many queues of a transaction are known by number in its wake */
#define TC_WAKE_QUEUES 8

/* What a wake is about */
typedef struct Wake
{
	int			nqueues;
	int64		queues[TC_WAKE_QUEUES];
	bool		more;			/* there are further ones: see bits */
	uint32		bits[TC_WAKE_WORDS];	/* of all of them */
	bool		look;			/* any queue may have rows, also unknown ones */
	bool		all;			/* the same, and what waits is to be tried now */
	bool		touch;			/* only have the worker go through its loop */
} Wake;

/* What was woken, of which a queue's number leads to its place */
typedef struct WokenQueues
{
	uint32		bits[TC_WAKE_WORDS];
	int64		queues[TC_WAKE_BITS];	/* for each bit that is set, the one
										 * that it is for, or TC_WAKE_SEVERAL */
} WokenQueues;

#define TC_WAKE_SEVERAL INT64CONST(0)

static inline int
tc_wake_bit(int64 queue)
{
	return (uint64) queue % TC_WAKE_BITS;
}

static inline int
tc_wake_word(int64 queue)
{
	return (uint64) queue % TC_WAKE_BITS / 32;
}

static inline uint32
tc_wake_mask(int64 queue)
{
	return UINT32_C(1) << ((uint64) queue % 32);
}

static inline bool
tc_wake_bit_is_set(const uint32 *bits, int64 queue)
{
	return (bits[tc_wake_word(queue)] & tc_wake_mask(queue)) != 0;
}

static inline void
tc_wake_bit_set(uint32 *bits, int64 queue)
{
	bits[tc_wake_word(queue)] |= tc_wake_mask(queue);
}

/* The first bit that is set, from there on; -1 if there is none. */
static inline int
tc_wake_next_bit(const uint32 *bits, int from)
{
	uint32		wanted = ~UINT32_C(0) << (from % 32);

	for (int word = from / 32; word < TC_WAKE_WORDS; word++)
	{
		if ((bits[word] & wanted) != 0)
			return word * 32 + pg_rightmost_one_pos32(bits[word] & wanted);
		wanted = ~UINT32_C(0);
	}
	return -1;
}

#endif							/* TC_WAKE_BITS_H */
