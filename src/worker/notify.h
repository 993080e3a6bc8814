/*-------------------------------------------------------------------------
 *
 * notify.h
 *	  NOTIFY of what somebody may have to see to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_NOTIFY_H
#define TC_NOTIFY_H

typedef enum NotifyEvent
{
	NOTIFY_REJECTED,
	NOTIFY_UNCONFIRMED,
	NOTIFY_CANCEL_REQUESTED,	/* its answer says so, to a heartbeat */
	NOTIFY_ACTIVITY_CANCEL_REQUESTED,	/* the same of a recorded activity, to
										 * one that the worker has sent */
	NOTIFY_ACTIVITY_GONE		/* its heartbeats were refused */
} NotifyEvent;

/*
 * Tell of a request, or a recording, whose state is recorded, if temporal_complete.notify is
 * on; otherwise nothing happens.
 */
extern void tc_notify_add(NotifyEvent event, int64 id);

/*
 * Send one notification of all that there is, in a transaction of its own,
 * after the one that has recorded it.  What cannot be sent now is kept.
 */
extern void tc_notify_turn(void);

#endif							/* TC_NOTIFY_H */
