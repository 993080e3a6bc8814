/*-------------------------------------------------------------------------
 *
 * recording.h
 *	  Requests whose state is to be recorded.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RECORDING_H
#define TC_RECORDING_H

#include "worker/in_memory.h"

/* before_finish: see outbox.h */
extern void tc_recording_init(KeyFinisher before_finish);

/* A request has ended so: the next one for its activity may be sent. */
extern void tc_request_finish(Request *request, OutcomeKind kind);

/* Is it older than the server's expire_after? */
extern bool tc_request_has_expired(const Request *request, const ServerConfig *config);

/*
 * Give up a request that is too old; what its last attempt was told stays its
 * message.  One that may have been applied is not finished by that: true, and
 * its refusal is TC_EXPIRED; it is to be looked up.
 */
#define TC_EXPIRED "EXPIRED"
extern bool tc_request_expire(Request *request);

/* The request's state is to be recorded: as it is when that is done. */
extern void tc_recording_add(Request *request);

/* It need not be recorded any more: its row is gone. */
extern void tc_recording_remove(Request *request);

/* How many are to be recorded? */
extern int	tc_recording_count(void);

/*
 * Record, in transactions of its own, if there is enough or it has waited
 * long enough; with `now`, whatever there is.  Requests that are finished
 * are forgotten then.  Returns true if it should be called again at once.
 */
extern bool tc_recording_turn(bool now);

#endif							/* TC_RECORDING_H */
