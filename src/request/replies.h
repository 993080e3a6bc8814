/*-------------------------------------------------------------------------
 *
 * replies.h
 *	  What the replies of Temporal say.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REPLIES_H
#define TC_REPLIES_H

/* Flags of a heartbeat's reply (by token and by ids alike); false if the bytes are no such reply. */
typedef struct HeartbeatReply
{
	bool		cancel_requested;
	bool		activity_paused;
	bool		activity_reset;
} HeartbeatReply;

extern bool tc_heartbeat_reply_decode(const uint8 *reply, size_t len, HeartbeatReply *result);

/* server_version of a GetSystemInfoResponse, as it came (UTF-8), palloc'd, or NULL. */
extern char *tc_system_info_decode(const uint8 *reply, size_t len);

#endif							/* TC_REPLIES_H */
