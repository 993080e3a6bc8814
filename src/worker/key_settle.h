/*-------------------------------------------------------------------------
 *
 * key_settle.h
 *	  What becomes of requests that wait until their key is recorded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_KEY_SETTLE_H
#define TC_KEY_SETTLE_H

#include "outbox/key_waits.h"

/*
 * In a transaction that has done tc_key_waits_begin(): look at the first
 * requests of a group.  True if it should be looked at again; *role: for whom.
 */
extern bool tc_key_group_settle(const KeyGroup *group, Oid *role);

/*
 * There, too: the time of a request is over.  If something is in the way, it is
 * noted anew for a later time, so that it keeps nobody else from being looked
 * at.
 */
extern void tc_key_wait_settle_over(const KeyWait *wait);

/* Was something in the way since the beginning, so that a group is to be looked at anew? */
extern void tc_key_settle_begin(void);
extern bool tc_key_settle_is_hindered(void);

/* Was something removed from temporal_internal.awaited_key since this was asked? */
extern bool tc_key_settle_removed_some(void);

/* After such transactions: what they gave back to queues is new there. */
extern void tc_key_settle_give_back(void);
extern bool tc_key_settle_has_given(void);

/* A KeyFinisher (outbox.h): who waits for the key, and was committed, gets it first. */
extern bool tc_key_settle_before_finish(int64 queue, const char *key);

#endif							/* TC_KEY_SETTLE_H */
