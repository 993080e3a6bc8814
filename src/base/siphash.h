/*-------------------------------------------------------------------------
 *
 * siphash.h
 *	  A hash of bytes by a secret key, so wide that nobody meets two that agree.
 *
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein).  Without the
 * key, which each process draws at random, nobody can choose bytes that agree
 * with others, so hashes are compared in place of the bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SIPHASH_H
#define TC_SIPHASH_H

typedef struct SipHash
{
	uint64		low;
	uint64		high;
} SipHash;

/* The hash of the bytes, by the key of this process. */
extern SipHash tc_siphash(const void *bytes, size_t len);

/* The same by a given key. */
extern SipHash tc_siphash_keyed(const uint64 key[2], const void *bytes, size_t len);

static inline bool
tc_siphash_equal(SipHash a, SipHash b)
{
	return a.low == b.low && a.high == b.high;
}

#endif							/* TC_SIPHASH_H */
