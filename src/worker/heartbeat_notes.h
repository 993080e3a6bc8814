/*-------------------------------------------------------------------------
 *
 * heartbeat_notes.h
 *	  Noting what was answered to heartbeats, when it changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_HEARTBEAT_NOTES_H
#define TC_HEARTBEAT_NOTES_H

#include "worker/in_memory.h"

/* Have it noted what was answered to one, or why there are no more. */
extern void tc_heartbeat_note(const Queue *queue, int64 id, uint64 xid, const HeartbeatReply *reply,
							  const char *error_code);

/* A turn's part. */
extern void tc_heartbeat_notes_turn(void);

#endif							/* TC_HEARTBEAT_NOTES_H */
