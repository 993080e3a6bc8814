/*-------------------------------------------------------------------------
 *
 * hash_bytes.h
 *	  A hash of several strings of bytes, one added after the other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HASH_BYTES_H
#define TC_HASH_BYTES_H

#include "common/hashfn.h"

static inline uint64
tc_hash_bytes(uint64 hash, const void *bytes, size_t len)
{
	return hash_combine64(hash, hash_bytes_extended((const unsigned char *) bytes, len, 0));
}

#endif							/* TC_HASH_BYTES_H */
