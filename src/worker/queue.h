/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Queues of requests in the worker's memory: in which order these may be
 *	  sent, and what is dropped when memory is short.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_QUEUE_H
#define TC_QUEUE_H

#include "lib/ilist.h"
#include "lib/pairingheap.h"

#include "base/event_loop.h"
#include "base/siphash.h"
#include "outbox/outbox.h"
#include "worker/channel_pool.h"
#include "worker/request_state.h"
#include "worker/share.h"

/* So many requests that fail, and none that succeeds, make a queue pause */
#define FAILED_TO_PAUSE 8

/*
 * So long after its deadline what was sent may still be applied: the server
 * counts from when it has got it, and may be committing at the end.
 */
#define TC_DEADLINE_MARGIN_MS 1000

/* The requests of one role for one namespace of one server */
struct Queue
{
	int64		number;
	QueueRow	row;			/* server_name: what it is called now */
	const char *namespace_name; /* where requests go; set before rows are read */
	const char *namespace_utf8; /* the same, as it is sent */
	Account    *account;
	SipHash		activity_seed;	/* see tc_activity_seed() */
	PooledChannel *channel;		/* NULL: its options cannot be used */
	dlist_node	channel_node;	/* among those that use it */
	bool		look_again;		/* at its options and rights, before anything is sent */
	int64		look_after;		/* monotonic ms: not before, after an error */
	ReadPosition position;
	bool		unread;			/* there may be rows to read */
	bool		to_unload;		/* see tc_queue_unload(), in the next turn */
	bool		steps_aside;	/* cannot send: others for its activities go first */

	/* its requests in memory; changed by request_state.c only */
	dlist_head	requests;		/* all */
	dlist_head	ready;
	dlist_head	confirming;
	pairingheap *retrying;		/* that which is due first comes first */
	int			count[REQUEST_STATES];	/* in each state */

	/* see proof.c */
	dlist_head	proofs;			/* to be asked */
	dlist_node	proofs_node;	/* among queues that have some */
	int			proofs_in_flight;

	/* flow: see flow.c */
	double		window;
	bool		slow_start;
	int64		shrunk_at;		/* monotonic ms */
	int64		failed[FAILED_TO_PAUSE];	/* ids of requests that failed ... */
	int			nfailed;		/* ... since one succeeded */
	int			pauses;			/* pauses without a success between them */
	int64		paused_until;	/* monotonic ms */
	int64		failing_since;	/* monotonic ms: when it paused first */
	int64		pace_until;		/* monotonic ms: see tc_flow_pace() */
	bool		needs_operator; /* the pause is for what waiting alone will not mend */

	/* what is told in temporal.queue_error */
	const char *error_code;		/* constant; NULL = nothing is wrong */
	char		error_message[512];
	int64		error_until;	/* monotonic ms: next attempt */
	bool		error_changed;	/* ... and not recorded yet */

	bool		active;			/* among those to look at ... */
	bool		starves;		/* ... or among those that wait ... */
	bool		lacks;			/* ... because they found no room ... */
	ShareKind	lacking;		/* ... for this */
	dlist_node	active_node;
	LoopTimer	timer;
};

/* Calls of the queue that are not over, or whose answer was not looked at */
static inline int
tc_queue_in_flight(const Queue *queue)
{
	return queue->count[REQUEST_IN_FLIGHT] + queue->count[REQUEST_ANSWERED];
}

/* Requests with bytes */
static inline int
tc_queue_loaded(const Queue *queue)
{
	return queue->count[REQUEST_READY] + tc_queue_in_flight(queue);
}

/* Requests that wait for a retry or behind another one, without bytes; for a queue */
#define QUEUE_WAITING_MAX 50000

/* Requests that are being confirmed at the most, for a queue */
#define QUEUE_CONFIRMING_MAX 2000

extern void tc_queues_init(void);

/*---- active_queues.c ----*/

/*
 * Look at the queue in the next turn, or no longer.  They do not raise
 * errors: callbacks use them.
 */
extern void tc_queue_activate(Queue *queue);
extern void tc_queue_deactivate(Queue *queue);

/* Queues to look at, linked by active_node. */
extern dlist_head *tc_active_queues(void);

/* Has a queue been activated since this was asked last? */
extern bool tc_queues_activated(void);

/*
 * May the queue have more of that?  If not, and it is deactivated then, it is
 * activated when it may.
 */
extern bool tc_queue_may_have(Queue *queue, ShareKind kind);

/* Activate queues that may have what they lacked; true if there are more to look at. */
extern bool tc_queues_feed(void);

/* Was something given back since, that one of them may lack? */
extern bool tc_queues_can_be_fed(void);

/*---- queue.c ----*/

extern Queue *tc_queue_create(MemoryContext context, int64 number, const QueueRow *row);

/* Forget a queue that has no requests in memory, and is not active. */
extern void tc_queue_destroy(Queue *queue);

/* A queue was given another server, or its server another name. */
extern void tc_queue_set_server(Queue *queue, Oid server, const char *name);

/*
 * Say into which namespace its requests go by today's options, and whether that
 * is the server's own.  What was not sent yet is read again if that changes,
 * which is returned.
 */
extern bool tc_queue_set_namespace(Queue *queue, const char *namespace_name,
								   const char *namespace_utf8, bool is_own);

/*
 * Take a row into memory, as one that may be sent as soon as those before it
 * for its activity are finished and its time has come.  NULL if it is there
 * already, or if its bytes are no request (then *malformed is true).
 */
extern Request *tc_queue_add(Queue *queue, const OutboxRow *row, bool maybe_sent,
							 bool *malformed);

/* A request without an activity: it is only there to be recorded as refused. */
extern Request *tc_queue_add_malformed(Queue *queue, const OutboxRow *row);

/* Do so many wait that no more rows should be read?  False then. */
extern bool tc_queue_takes_rows(Queue *queue);

/*
 * The first request that can be sent; NULL if there is none.  It stays the
 * first until its state is changed.
 */
extern Request *tc_queue_first_ready(Queue *queue);

/* The request that is due first; NULL if none waits. */
extern Request *tc_queue_next_retry(Queue *queue);

/*
 * Drop what need not be in memory; what was dropped is read again later.
 */
extern void tc_queue_unload(Queue *queue);

/*
 * The queue cannot send, and will not soon: requests of other queues for the
 * same activities need not wait for it.  Or it can again.
 */
extern void tc_queue_step_aside(Queue *queue);
extern void tc_queue_step_back(Queue *queue);

/* Let all requests of the queue that wait for a retry be due now. */
extern void tc_queue_retry_all(Queue *queue);

/*---- what becomes of a request; see request_state.h, also for tc_request_retry_at() ----*/

/* READY again, before all others: the server did not process it. */
extern void tc_request_send_again(Request *request);

/* If the request of that id waits for a retry, let it be due now. */
extern void tc_request_retry_now(int64 id);

/*
 * A request that waits until due because its role was refused: let those of
 * other roles for the same activity go first.
 */
extern void tc_request_let_others_go_first(Request *request, int64 due);

/* READY: it was due, and this is its row. */
extern void tc_request_reload(Request *request, const OutboxRow *row);

/* CONFIRMING; and no longer, because it was not applied and is to be sent again. */
extern void tc_request_confirm(Request *request);
extern void tc_request_was_not_applied(Request *request);

/* FINISHED: the next one for its activity may be sent.  See tc_request_finish() for its outcome. */
extern void tc_request_end(Request *request);

/* Its outcome is recorded, or its row is gone. */
extern void tc_request_forget(Request *request);

#endif							/* TC_QUEUE_H */
