/*-------------------------------------------------------------------------
 *
 * heartbeats.h
 *	  Recorded activities that have heartbeats sent, and when.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WORKER_HEARTBEATS_H
#define TC_WORKER_HEARTBEATS_H

#include "outbox/heartbeats.h"
#include "worker/in_memory.h"

typedef enum BeatState
{
	BEAT_WAITING,				/* in queue->heartbeats_due */
	BEAT_LOADED,				/* it has a call, see heartbeat_calls.c */
	BEAT_IN_FLIGHT,				/* the same */
	BEAT_ANSWERED,				/* the same */
	BEAT_SETTLED				/* what follows is being decided */
} BeatState;

/* A recorded activity in memory: there may be very many */
typedef struct Beat
{
	DueNode		due;			/* BEAT_WAITING */
	int64		id;				/* of the recording */
	uint64		xid;
	Queue	   *queue;
	SipHash		activity;
	uint64		attempt;		/* as that of a request */
	struct Beat *next;			/* another one for the activity */
	int64		replaced_after; /* monotonic ms: whether it was replaced is
								 * not looked at before */
	ItemPointerData tid;
	uint8		state;
	uint8		failures;		/* in a row, as far as it counts */
	int32		interval_ms;	/* 0: Temporal is to be asked for the timeout */
	bool		guessed;		/* it could not tell */
	bool		dropped;		/* it goes when its call is over, or not made */
	uint8		beats;			/* that were answered, as far as it counts */
	uint8		asked;			/* how often, the same */
	HeartbeatReply reply;		/* the last one */
} Beat;

extern void tc_heartbeats_init(void);

/* Is none in memory, and none found? */
extern bool tc_heartbeats_are_none(void);

/* Has a queue recordings that were not read? */
extern void tc_heartbeats_set_found(Queue *queue, bool found);

/* What a recording is about */
typedef struct BeatPlace
{
	SipHash		activity;
	uint64		attempt;		/* as that of a request */
} BeatPlace;

/* One more; reply is what was answered before. */
extern void tc_beat_create(Queue *queue, const HeartbeatRow *row, const BeatPlace *place,
						   const HeartbeatReply *reply);

/*
 * Does a queue, whose channel is ready, want to read new recordings; or the
 * bytes of heartbeats that are due and can be sent now?
 */
extern bool tc_heartbeats_want_rows(const Queue *queue);
extern bool tc_heartbeats_want_bytes(Queue *queue);

/* Is one due?  When is the next one (monotonic ms, TC_NEVER)? */
extern bool tc_heartbeats_are_due(Queue *queue);
extern int64 tc_heartbeats_next(Queue *queue);

/* The first that waits; NULL if there is none. */
extern Beat *tc_beat_first(Queue *queue);

/* It waits until then. */
extern void tc_beat_wait(Beat *beat, int64 due);

/* It waits no longer. */
extern void tc_beat_take(Beat *beat, BeatState state);

/* There are no more: for that reason, which is noted unless it is NULL. */
extern void tc_beat_end(Beat *beat, const char *error_code);

/* Say how long the timeout for heartbeats is (ms, 0 = there is none). */
extern void tc_beat_set_timeout(Beat *beat, int64 timeout_ms);

/* All that are known of an activity, linked by next; NULL if there is none. */
extern Beat *tc_beats_of(SipHash activity);

/* A verdict was delivered: its activity has no more heartbeats. */
extern void tc_heartbeats_end(const Request *verdict);

/* A queue goes into another namespace: they are read again. */
extern void tc_heartbeats_forget(Queue *queue);

#endif							/* TC_WORKER_HEARTBEATS_H */
