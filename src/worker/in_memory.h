/*-------------------------------------------------------------------------
 *
 * in_memory.h
 *	  Requests and queues in the worker's memory, and the state of each request.
 *
 * Each request in memory is in exactly one state, and in_memory.c alone
 * changes it, in one function: with it goes where the request is linked,
 * whether it has its bytes, and how many of its queue are in which state.
 * What follows from a change for others is decided in queue.c.
 *
 *	                +-----------> BLOCKED
 *	                |              |   ^
 *	                |     its turn |   | another one goes first
 *	                |              v   |
 *	row was read ---+-----------> RETRYING <---------------------+
 *	(NEW)           |              |   ^                         |
 *	                |     due, its |   | bytes are               |
 *	                |   bytes read |   | given up                |
 *	                |              v   |                         |
 *	                |             READY -----> IN_FLIGHT ----> ANSWERED
 *	                |               ^                            |
 *	                |               +---- was not processed -----+
 *	                v
 *	             FINISHED ----> outcome is recorded, request forgotten
 *
 * Besides: READY becomes BLOCKED if an earlier one for its activity is read.
 * READY and ANSWERED become CONFIRMING if it must be found out whether an
 * earlier attempt was applied, or FINISHED if it is known how they end.
 * CONFIRMING becomes RETRYING if it was not applied, BLOCKED if others for
 * its activity were let go first meanwhile, or FINISHED.  A heartbeat becomes
 * FINISHED from BLOCKED and RETRYING, too, if a later one takes its place.
 *
 *	state       linked by node in        bytes   in its activity's chain
 *	NEW         -                        no      not yet
 *	BLOCKED     -                        no      behind the first
 *	READY       queue->ready             yes     first
 *	IN_FLIGHT   -                        yes     first
 *	ANSWERED    tc_next_answered()       yes     first
 *	RETRYING    queue->retrying (heap)   no      first
 *	CONFIRMING  queue->confirming        no      anywhere
 *	FINISHED    -                        no      no longer
 *
 * Only a RETRYING or BLOCKED request can be dropped, to be read again later:
 * what may be on the wire, is being confirmed, or has an outcome that is not
 * recorded stays.  Each counts in the shares (share.c) of its queue's account:
 * itself, its bytes, and while it is being confirmed once more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_IN_MEMORY_H
#define TC_IN_MEMORY_H

#include "lib/ilist.h"
#include "lib/pairingheap.h"

#include "base/event_loop.h"
#include "base/siphash.h"
#include "outbox/outbox.h"
#include "request/request_fields.h"
#include "wire/classify.h"
#include "worker/channel_pool.h"
#include "worker/option_changes.h"
#include "worker/proof_replies.h"
#include "worker/share.h"

typedef struct Queue Queue;

typedef enum RequestState
{
	REQUEST_NEW,				/* it was read just now */
	REQUEST_BLOCKED,			/* behind another one for its activity */
	REQUEST_READY,				/* can be sent */
	REQUEST_IN_FLIGHT,
	REQUEST_ANSWERED,			/* its call is over; the dispatcher will see
								 * to it */
	REQUEST_RETRYING,			/* waits until it is due, maybe at once, to be
								 * read again */
	REQUEST_CONFIRMING,			/* see proof.h */
	REQUEST_FINISHED			/* waits for its outcome to be recorded */
} RequestState;

#define REQUEST_STATES (REQUEST_FINISHED + 1)

/* A request in memory */
typedef struct Request
{
	int64		id;
	uint64		xid;
	Queue	   *queue;
	SipHash		activity;		/* which one it is about */
	uint64		attempt;		/* a hash of the token or run that names it */
	struct Request *next;		/* its neighbours in its activity's chain */
	struct Request *previous;
	dlist_node	queue_node;		/* among all of its queue */
	int64		recorded_activity;	/* it means that, not one attempt; 0: it
									 * was made without a key */
	ItemPointerData tid;
	RequestMethod method;
	RequestState state;
	bool		maybe_sent;
	bool		looked_up;		/* and then it was not applied: it may be sent
								 * once more */
	bool		is_absent;		/* the activity, when it was looked for: it is
								 * looked for again before anything is sent */
	int			waits;			/* looks that found no activity, or none that
								 * can be ended */
	TimestampTz awaited_until;	/* until then that is not the end; 0 = it is */
	TimestampTz expires_at;		/* then it is given up; 0 = as its server says */
	SeenHistory seen;			/* what need not be looked through again */
	int64		doubt_until;	/* monotonic ms: when what was sent can no
								 * longer be applied */
	bool		unrecorded;		/* its state is to be recorded ... */
	bool		put_aside;		/* ... but not now: see recording.c */
	int			attempts;		/* that went wrong, or the one that ended it */
	int			refusals;		/* streams refused unprocessed, in a row */
	bool		is_being_encoded;	/* in flight to a codec server, not to
									 * Temporal */
	bool		encode_alone;	/* it failed there */
	bool		has_encoded;	/* its bytes came from there */
	uint64		encoded_by;		/* serial of the channel through whose codec
								 * server its bytes went; 0 = none */
	TimestampTz requested_at;
	dlist_node	node;			/* in the list of its state */
	dlist_node	record_node;	/* in a list of recording.c */
	DueNode		retry;			/* REQUEST_RETRYING */
	int			place;			/* REQUEST_IN_FLIGHT: see in_flight.h */
	PooledChannel *channel;		/* REQUEST_IN_FLIGHT: where */
	uint8	   *bytes;			/* encoded request with its identity, or NULL */
	size_t		len;
	char	   *former_identities;	/* see tc_identity_matches(); mostly NULL */

	/* result of the last call */
	CallMeaning meaning;
	bool		may_have_taken_effect;
	const char *refusal;		/* error_code that is being doubted: see
								 * proof.h; NULL = none */
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

/* So many requests that fail, and none that succeeds, make a queue pause */
#define FAILED_TO_PAUSE 8

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
	bool		look_again;		/* at its options and rights, before anything
								 * is sent */
	int64		look_after;		/* monotonic ms: not before, after an error */
	bool		awaits_look;	/* its turn to look: see option_looks.c */
	dlist_node	look_node;		/* ... among those of its role */
	OptionHashes option_hashes; /* see option_changes.h */
	ReadPosition position;
	bool		unread;			/* there may be rows to read; changed by
								 * tc_queue_set_unread() only */
	bool		rows_are_there; /* ... and there were, since its channel could
								 * not be connected last */
	int64		note_turn;		/* of key_waits.c */
	bool		to_unload;		/* see tc_queue_unload(), in the next turn */
	bool		steps_aside;	/* cannot send: others for its activities go
								 * first */

	/* its requests in memory; changed by in_memory.c only */
	dlist_head	requests;		/* all */
	dlist_head	ready;
	dlist_head	confirming;
	pairingheap *retrying;		/* that which is due first comes first */
	int			count[REQUEST_STATES];	/* in each state */

	/* see proof.c */
	dlist_head	proofs;			/* to be asked */
	dlist_node	proofs_node;	/* among queues that have some */
	int			proofs_in_flight;

	/* of recorded activities: see heartbeats.c */
	ReadPosition heartbeat_position;
	bool		heartbeats_unread;	/* there may be recordings to read */
	bool		heartbeats_found;	/* there are; changed by
									 * tc_heartbeats_set_found() only */
	pairingheap *heartbeats_due;	/* those that wait; the first one first */
	int			heartbeats;		/* recordings in memory */
	int			heartbeats_loaded;
	int			heartbeats_in_flight;
	int			heartbeats_asking;	/* of these, such that ask for the timeout */
	int			heartbeat_failures; /* since one succeeded */
	int64		heartbeats_after;	/* monotonic ms: none is sent before */
	int64		heartbeats_read_after;	/* the same: or read */

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
	bool		needs_operator; /* the pause is for what waiting alone will
								 * not mend */

	/* what is told in temporal_internal.queue_error */
	const char *error_code;		/* constant; NULL = nothing is wrong */
	char		error_message[512];
	int64		error_until;	/* monotonic ms: next attempt */
	bool		error_changed;	/* ... and not recorded yet */
	TimestampTz error_since;	/* the first one, while there is one */

	/* see counting.c */
	int			stat_entry;		/* its place in the statistics, plus 1; 0: not
								 * known yet */
	int64		unread_rows;	/* when they were counted last, or so far */
	TimestampTz unread_since;	/* when the first of these was requested */
	RowCount	unread_count;	/* they are being counted */

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

extern void tc_requests_init(void);

/* May there be rows of the queue to read?  And how many queues are such. */
extern void tc_queue_set_unread(Queue *queue, bool unread);
extern int	tc_queues_unread(void);

/* A request of a queue by its row, in state NEW.  None of that id may be in memory. */
extern Request *tc_request_create(Queue *queue, const OutboxRow *row);

/* Give a request its own copy of its bytes, with namespace and identity appended. */
extern void tc_request_load(Request *request, const OutboxRow *row);

/* Other bytes in place of its own, which are copied: encoded by the channel of that serial. */
extern void tc_request_set_encoded(Request *request, const uint8 *bytes, size_t len, uint64 serial);

/*
 * Change a request's state.  Bytes have to be loaded before those that need
 * them.  Neither of the two raises errors.
 */
extern void tc_request_set_state(Request *request, RequestState state);

/* RETRYING: wait until due (monotonic ms); or if it does already, until then instead. */
extern void tc_request_retry_at(Request *request, int64 due);

/*
 * Keep what a request was told (UTF-8 as it came, zero-terminated) in place of
 * what it was told before, or the beginning of it; NULL = nothing.  Raises no
 * error: where memory is lacking it is nothing, too.
 */
extern void tc_request_set_message(Request *request, const char *message);

/* Remove a request from memory; it must be in no chain any more. */
extern void tc_request_free(Request *request);

/* The request of that id; NULL if it is not in memory. */
extern Request *tc_request_by_id(int64 id);

/* A request whose call is over, the first of them; NULL if there is none. */
extern Request *tc_next_answered(void);

/* Requests whose call is not over, or whose answer was not looked at. */
extern void tc_requests_visit_in_flight(void (*visit) (Request *request));

/* Number of requests in memory, of all queues. */
extern int64 tc_requests_in_memory(void);

#endif							/* TC_IN_MEMORY_H */
