/*-------------------------------------------------------------------------
 *
 * gauges.h
 *	  What a worker says of what is so now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_GAUGES_H
#define TC_GAUGES_H

/* Needs a transaction. */
extern void tc_gauges_init(void);

/*
 * Publish what was counted, and once a second what is so now; with `now` that,
 * too.  To be called in each turn.
 */
extern void tc_gauges_turn(bool now);

/* The worker leaves; or, after all, it does not. */
extern void tc_gauges_leave(bool leaves);

/* What pg_stat_activity shows of a worker */
typedef enum WorkerActivity
{
	ACTIVITY_STARTING,
	ACTIVITY_IDLE,
	ACTIVITY_READING,
	ACTIVITY_SENDING,
	ACTIVITY_RECORDING,
	ACTIVITY_WAITING,			/* for Temporal */
	ACTIVITY_BACKING_OFF,
	ACTIVITY_PAUSED,
	ACTIVITY_LEAVING
} WorkerActivity;

extern void tc_report_activity(WorkerActivity activity);

#endif							/* TC_GAUGES_H */
