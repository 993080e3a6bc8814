/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Requests in the worker's memory: in which order they may be sent.
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
#include "request/request_fields.h"
#include "wire/classify.h"
#include "worker/channel_pool.h"
#include "worker/share.h"

typedef struct Queue Queue;

/* So many requests that fail, and none that succeeds, make a queue pause */
#define FAILED_TO_PAUSE 8

/*
 * So long after its deadline what was sent may still be applied: the server
 * counts from when it has got it, and may be committing at the end.
 */
#define TC_DEADLINE_MARGIN_MS 1000

typedef enum RequestState
{
	REQUEST_BLOCKED,			/* behind another one for its activity */
	REQUEST_READY,				/* can be sent */
	REQUEST_IN_FLIGHT,
	REQUEST_ANSWERED,			/* its call is over; the dispatcher will see to it */
	REQUEST_RETRYING,			/* waits for its next attempt, without its bytes */
	REQUEST_CONFIRMING,			/* see proof.h; without its bytes */
	REQUEST_FINISHED			/* waits for its outcome to be recorded */
} RequestState;

/*
 * A request in memory.  Its bytes are there only while it is ready or in
 * flight.
 */
typedef struct Request
{
	int64		id;
	uint64		xid;
	Queue	   *queue;
	SipHash		activity;		/* which one it is about */
	struct Request *next;		/* its neighbours in its activity's chain */
	struct Request *previous;
	dlist_node	queue_node;		/* among all of its queue */
	ItemPointerData tid;
	RequestMethod method;
	RequestState state;
	bool		maybe_sent;
	bool		looked_up;		/* and then it was not applied: it may be sent once more */
	int64		doubt_until;	/* monotonic ms: when what was sent can no longer be applied */
	bool		unrecorded;		/* its state is to be recorded ... */
	bool		put_aside;		/* ... but not now: see recording.c */
	int			attempts;		/* that went wrong, or the one that ended it */
	int			refusals;		/* streams refused unprocessed, in a row */
	TimestampTz requested_at;
	dlist_node	node;			/* in ready, answered or confirming list */
	dlist_node	record_node;	/* in a list of recording.c */
	pairingheap_node retry_node;
	int64		due;			/* REQUEST_RETRYING: monotonic ms */
	int			place;			/* REQUEST_IN_FLIGHT: see worker_slots.h */
	PooledChannel *channel;		/* REQUEST_IN_FLIGHT: where */
	uint8	   *bytes;			/* encoded request with its identity, or NULL */
	size_t		len;
	char	   *former_identities;	/* see tc_identity_matches(); mostly NULL */

	/* result of the last call */
	CallMeaning	meaning;
	bool		may_have_taken_effect;
	const char *refusal;		/* error_code that is being doubted: see proof.h; NULL = none */
	const char *error_code;		/* constant, or NULL */
	char	   *error_message;	/* as it came (UTF-8), or NULL */
	bool		has_heartbeat_reply;
	HeartbeatReply heartbeat_reply;

	/* what is to be recorded */
	OutcomeKind outcome;
	TimestampTz outcome_at;
	TimestampTz next_attempt_at;
} Request;

/* What it is told apart by from all others */
static inline RequestIdentity
tc_identity_of(const Request *request)
{
	RequestIdentity identity = {request->id, request->xid, request->requested_at};

	return identity;
}

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
	dlist_head	requests;		/* all that are in memory */
	dlist_head	ready;
	dlist_head	confirming;
	pairingheap *retrying;
	int			nready;
	int			nloaded;		/* requests with bytes */
	int			nretrying;
	int			nblocked;
	int			nconfirming;
	int			in_flight;

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

/* Is there room for bytes of more requests? */
extern bool tc_queue_has_room(Queue *queue, int max_loaded);

/* Or do so many wait already that no more rows should be read? */
extern bool tc_queue_takes_rows(Queue *queue);

/* First request that can be sent, taken from the ready list; NULL if there is none. */
extern Request *tc_queue_pop_ready(Queue *queue);

/* Back to the front of the ready list, with its bytes. */
extern void tc_queue_push_back(Request *request);

/* Wait until due, without bytes. */
extern void tc_queue_retry_at(Request *request, int64 due);

/* Be confirmed, without bytes. */
extern void tc_queue_confirming(Request *request);

/* It is known what became of it, and it is to be sent again. */
extern void tc_queue_confirmed(Request *request);

/*
 * A request that waits until due because its role was refused: let those of
 * other roles for the same activity go first.
 */
extern void tc_queue_yield(Request *request, int64 due);

/* The request that is due first; NULL if none waits. */
extern Request *tc_queue_next_retry(Queue *queue);

/* Give a request that waited its bytes again, and make it ready. */
extern void tc_queue_reload(Request *request, const OutboxRow *row);

/* Have a request that waits for a retry wait longer. */
extern void tc_queue_retry_later(Request *request, int64 due);

/* Finished: the next one for its activity may be sent. */
extern void tc_queue_finish(Request *request);

/* Forget a request: its outcome is recorded, or its row is gone. */
extern void tc_queue_forget(Request *request);

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

/* If the request of that id waits for a retry, let it be due now. */
extern void tc_queue_retry_now(int64 id);

/* Requests whose call is not over. */
extern void tc_queues_visit_in_flight(void (*visit) (Request *request));

/* Number of requests in memory, of all queues. */
extern int64 tc_requests_in_memory(void);

#endif							/* TC_QUEUE_H */
