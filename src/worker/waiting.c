/*-------------------------------------------------------------------------
 *
 * waiting.c
 *	  What waits in the worker's memory, by state and code.
 *
 * States and codes are those of temporal.request (sql/views.sql), which reads
 * each row for them; here each request in memory is looked at, and no row.
 * What was not read yet is in the state of its queue.
 *
 * Nothing here changes a request.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/waiting.h"

static void add(StatGauges *gauges, StatState state, const char *code, int64 requests);
static void add_request(StatGauges *gauges, const Request *request, StatState unsent);

void
tc_waiting_add(StatGauges *gauges, const Queue *queue, bool leaving)
{
	bool		is_paused = queue->error_code != NULL && strcmp(queue->error_code, "PAUSED") == 0;
	StatState	unsent = queue->error_code != NULL && !is_paused ? STAT_RETRYING : STAT_QUEUED;
	dlist_iter	iter;

	if (leaving && tc_queue_in_flight(queue) > 0)
		add(gauges, unsent, queue->error_code, tc_queue_in_flight(queue));
	if (queue->unread && queue->unread_rows > 0)
		add(gauges, unsent, queue->error_code, queue->unread_rows);
	dlist_foreach(iter, unconstify(dlist_head *, &queue->requests))
		add_request(gauges, dlist_container(Request, queue_node, iter.cur), unsent);
}

static void
add_request(StatGauges *gauges, const Request *request, StatState unsent)
{
	const char *code = request->queue->error_code;

	switch (request->state)
	{
		case REQUEST_READY:
		case REQUEST_RETRYING:
		case REQUEST_BLOCKED:
			if (code == NULL && request->attempts > 0)
				code = request->error_code;
			if (request->is_absent)
				add(gauges, STAT_WAITING, code, 1);
			else
				add(gauges, request->attempts > 0 ? STAT_RETRYING : unsent, code, 1);
			break;
		case REQUEST_CONFIRMING:
			add(gauges, STAT_CONFIRMING, code != NULL ? code : "CONFIRMING", 1);
			break;
		case REQUEST_NEW:
		case REQUEST_IN_FLIGHT:
		case REQUEST_ANSWERED:
		case REQUEST_FINISHED:
			break;
	}
}

/* Where there is no room for another code, it is none. */
static void
add(StatGauges *gauges, StatState state, const char *code, int64 requests)
{
	StatWaiting *last = &gauges->waiting[TC_STAT_WAITING - 1];

	if (code == NULL)
		code = "";
	for (StatWaiting *waiting = gauges->waiting; waiting <= last; waiting++)
	{
		if (waiting->requests == 0)
		{
			/* the last places are for what has no code, one a state */
			if (code[0] != '\0' && last - waiting < STAT_STATES)
				code = "";
			waiting->state = state;
			strlcpy(waiting->code, code, sizeof(waiting->code));
		}
		if (waiting->state == state && strcmp(waiting->code, code) == 0)
		{
			waiting->requests += requests;
			return;
		}
	}
}
