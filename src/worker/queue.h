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

#include "worker/active_queues.h"
#include "worker/in_memory.h"

/*
 * So long after its deadline what was sent may still be applied: the server
 * counts from when it has got it, and may be committing at the end.
 */
#define TC_DEADLINE_MARGIN_MS 1000

/* Requests that wait for a retry or behind another one, without bytes; for a queue */
#define QUEUE_WAITING_MAX 50000

/* Requests that are being confirmed at the most, for a queue */
#define QUEUE_CONFIRMING_MAX 2000

extern void tc_queues_init(void);

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

/*---- what becomes of a request; see in_memory.h, also for tc_request_retry_at() ----*/

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
extern void tc_request_was_not_applied(Request *request, int64 due);

/* FINISHED: the next one for its activity may be sent.  See tc_request_finish() for its outcome. */
extern void tc_request_end(Request *request);

/* Its outcome is recorded, or its row is gone. */
extern void tc_request_forget(Request *request);

#endif							/* TC_QUEUE_H */
