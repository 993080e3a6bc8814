/*-------------------------------------------------------------------------
 *
 * discards.h
 *	  Counting what sessions discard.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DISCARDS_H
#define TC_DISCARDS_H

/* So many requests of a role to a namespace of a server are discarded, if this transaction commits. */
extern void tc_count_discards_at_commit(Oid role, Oid server, const char *namespace_name, int64 requests);

#endif							/* TC_DISCARDS_H */
