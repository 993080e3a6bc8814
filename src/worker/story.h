/*-------------------------------------------------------------------------
 *
 * story.h
 *	  What the server log tells of servers and requests.
 *
 * Nothing here may be called beneath the wire.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_STORY_H
#define TC_STORY_H

#include "outbox/outbox.h"

/* Whose trouble it is: the names of a queue, and its number */
typedef struct StoryPlace
{
	const char *server;
	const char *namespace_name;
	Oid			role;
	int64		queue;
} StoryPlace;

/*
 * None of the queue's requests can be sent: the server cannot be connected, or
 * its options cannot be used.  code is a constant, message is as it came
 * (UTF-8) and of our own words.
 */
extern void tc_story_trouble(const StoryPlace *place, const char *code, const char *message);

/* Its server is connected (again). */
extern void tc_story_connected(const StoryPlace *place);

/*
 * A call failed, or brought an answer that only a working server gives.  A
 * refusal of credentials and the like is told of at once, other failures when
 * they come one after the other.
 */
extern void tc_story_failure(const StoryPlace *place, const char *code, bool needs_operator);
extern void tc_story_success(const StoryPlace *place);

/* An outcome was recorded; only those that are not delivered are told of. */
extern void tc_story_outcome(const char *server, OutcomeKind kind, int64 id, const char *code);

/*
 * How many requests wait there, about, and at most max: those of a queue, of a
 * role's for a server (queue 0), or of a server (role InvalidOid).  Called in a
 * transaction.
 */
typedef int (*CountWaiting) (const char *server, Oid role, int64 queue, int max);

/* Tell what is to be told now; the worker leaves: all that was not told yet. */
extern void tc_story_turn(CountWaiting count_waiting);
extern void tc_story_end(CountWaiting count_waiting);

#endif							/* TC_STORY_H */
