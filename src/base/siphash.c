/*-------------------------------------------------------------------------
 *
 * siphash.c
 *	  A hash of bytes by a secret key, so wide that nobody meets two that agree.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", and the
 * authors' reference implementation for the output of 128 bits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/siphash.h"

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

#define SIPROUND \
	do { \
		v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32); \
		v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2; \
		v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0; \
		v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32); \
	} while (0)

/* Little endian, from any address */
static inline uint64
load64(const uint8 *p)
{
	uint64		result = 0;

	for (int i = 7; i >= 0; i--)
		result = result << 8 | p[i];
	return result;
}

SipHash
tc_siphash_keyed(const uint64 key[2], const void *bytes, size_t len)
{
	const uint8 *p = bytes;
	const uint8 *end = p + (len & ~(size_t) 7);
	uint64		last = (uint64) len << 56;
	uint64		v0 = UINT64CONST(0x736f6d6570736575) ^ key[0];
	uint64		v1 = UINT64CONST(0x646f72616e646f6d) ^ key[1] ^ 0xee;
	uint64		v2 = UINT64CONST(0x6c7967656e657261) ^ key[0];
	uint64		v3 = UINT64CONST(0x7465646279746573) ^ key[1];
	SipHash		result;

	for (; p < end; p += 8)
	{
		uint64		m = load64(p);

		v3 ^= m;
		SIPROUND;
		SIPROUND;
		v0 ^= m;
	}
	for (int i = 0; i < (len & 7); i++)
		last |= (uint64) p[i] << (8 * i);
	v3 ^= last;
	SIPROUND;
	SIPROUND;
	v0 ^= last;

	v2 ^= 0xee;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	result.low = v0 ^ v1 ^ v2 ^ v3;
	v1 ^= 0xdd;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	result.high = v0 ^ v1 ^ v2 ^ v3;
	return result;
}

SipHash
tc_siphash(const void *bytes, size_t len)
{
	static uint64 key[2];
	static bool has_key = false;

	if (!has_key && !pg_strong_random(key, sizeof(key)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	has_key = true;
	return tc_siphash_keyed(key, bytes, len);
}
