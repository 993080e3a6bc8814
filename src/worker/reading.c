/*-------------------------------------------------------------------------
 *
 * reading.c
 *	  A turn's part that reads: one short transaction for all queues.
 *
 *      a wake was taken,          users have changed
 *      or the slow look at all    rows that wait
 *                 |                       |
 *                 v                       v
 *      wakes.c: which queues may      recheck.c --------.
 *      have rows: they are unread                        \
 *                 |                                       \
 *                 v                                        v
 *      wants.c: which have use    --------------------> reading.c
 *      for something now                                   |
 *                                                          v
 *      known_queues.c    queue_options.c      intake.c
 *      which there are   which channel one    what is due again,
 *                        has, and if it may   what is new
 *                        send at all, some
 *                        in a turn
 *
 * - There is no transaction if nothing is wanted, and never more than this one
 *	 for what is wanted; errors of queues are noted in one of their own
 *	 (error_notes.c).
 * - Wakes are heard before its snapshot if queues are read in it (wakes.c).
 * - Whether it commits or not, what was taken into memory stays there, and may
 *	 be sent when it is durable (intake.c).  All that it writes is the deletion
 *	 of what users want to be rechecked: after an error that is wanted again.
 * - An error makes all wait for a moment.  The queue that had it several times
 *	 in a row waits longer, and the others go on.
 *
 * Nothing is sent here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/event_loop.h"
#include "worker/channel_pool.h"
#include "worker/doubt.h"
#include "worker/error_notes.h"
#include "worker/flow.h"
#include "worker/heartbeat_intake.h"
#include "worker/intake.h"
#include "worker/known_queues.h"
#include "worker/option_looks.h"
#include "worker/queue.h"
#include "worker/queue_options.h"
#include "worker/reading.h"
#include "worker/recheck.h"
#include "worker/transaction.h"
#include "worker/wakes.h"
#include "worker/wants.h"

/* After an error while reading nothing is read for that long, doubling */
#define READ_RETRY_MIN_MS 10
#define READ_RETRY_MS 1000

/* A queue whose rows could not be read so often in a row is left alone for so long */
#define READ_TRIES 8
#define QUEUE_BROKEN_MS 60000

/* Queues that look at their options in one turn */
#define LOOKS_AT_ONCE 64

static bool report_held;		/* there are new queues, maybe with requests
								 * that are held */
static Queue *current;			/* whose turn it is in the transaction; NULL =
								 * none's */
static int	failures;			/* of transactions, in a row */
static int64 not_before;		/* monotonic ms: after an error */
static LoopTimer timer;

static void read_if_wanted(void);
static bool queues_want(void);
static void look_for_queues(void *arg);
static void read_queues(void *arg);
static void look_at_options(void);
static bool read_queue(Queue *queue);
static void report_held_if_new(void);
static void reading_failed(void);
static void note_errors(void);

void
tc_reading_init(void)
{
	tc_known_queues_init();
	tc_doubt_init();
	tc_channels_init();
	tc_option_changes_init();
	tc_option_looks_init();
	tc_error_notes_init();
	tc_recheck_want();
}

void
tc_reading_turn(void)
{
	tc_wants_turn();
	if (tc_reading_is_possible())
	{
		tc_look_on();
		read_if_wanted();
	}
	note_errors();
	/* also after an error, for what was read before it */
	if (!tc_intake_make_durable())
		tc_timer_wake(&timer, tc_monotonic_ms() + READ_RETRY_MS);
}

static void
read_if_wanted(void)
{
	bool		succeeded;

	if (tc_recheck_is_wanted() || queues_want())
	{
		tc_wakes_hear();
		succeeded = tc_run_transaction(read_queues, NULL);
	}
	else if (tc_known_queues_due())
		succeeded = tc_run_transaction(look_for_queues, NULL);
	else
		return;
	if (succeeded)
		failures = 0;
	else
		reading_failed();
}

bool
tc_reading_is_possible(void)
{
	return not_before <= tc_monotonic_ms();
}

bool
tc_reading_wants_queues(void)
{
	return tc_known_queues_due() || tc_recheck_is_wanted() || tc_option_looks_due() ||
		tc_look_is_due();
}

bool
tc_reading_is_idle(void)
{
	return tc_queues_unread() == 0 && !tc_known_queues_wanted() && !tc_recheck_is_wanted() &&
		!tc_option_looks_wanted() && !tc_known_queues_visit_goes_on();
}

bool
tc_reading_is_paused(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	for (int i = 0; i < nqueues; i++)
	{
		const Queue *queue = queues[i];

		if ((queue->unread || !dlist_is_empty(unconstify(dlist_head *, &queue->requests))) &&
			(queue->error_code == NULL || strcmp(queue->error_code, TC_PAUSED) != 0))
			return false;
	}
	return true;
}

int
tc_reading_count_waiting(const char *server, Oid role, int64 number, int max)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);
	int			count = 0;

	for (int i = 0; i < nqueues && count < max; i++)
	{
		const Queue *queue = queues[i];

		if (strcmp(queue->row.server_name, server) != 0 ||
			(OidIsValid(role) && queue->row.key.role != role) ||
			(number != 0 && queue->number != number))
			continue;
		count += queue->count[REQUEST_READY] + queue->count[REQUEST_RETRYING] +
			queue->count[REQUEST_BLOCKED] + tc_queue_in_flight(queue);
		if (queue->unread && count < max)
			count += tc_outbox_count(queue->number, &queue->position, max - count);
	}
	return Min(count, max);
}

static bool
queues_want(void)
{
	dlist_iter	iter;

	if (tc_options_changed() || tc_option_looks_due())
		return true;
	dlist_foreach(iter, tc_active_queues())
	{
		if (tc_queue_wants(dlist_container(Queue, active_node, iter.cur)))
			return true;
	}
	return false;
}

/*
 * If nothing else is to be done no queue is read, also none that was found:
 * the worker may not hear of what is committed after this snapshot.
 */
static void
look_for_queues(void *arg)
{
	if (tc_known_queues_due() && tc_known_queues_look())
		report_held = true;
	report_held_if_new();
}

static void
read_queues(void *arg)
{
	dlist_iter	iter;
	int			nread = 0;

	if (tc_known_queues_due() && tc_known_queues_look())
		report_held = true;
	if (tc_recheck_is_wanted())
		tc_recheck_work();
	if (tc_options_changed())
		tc_queues_options_changed();
	look_at_options();

	dlist_foreach(iter, tc_active_queues())
	{
		current = dlist_container(Queue, active_node, iter.cur);
		nread += read_queue(current) ? 1 : 0;
		current = NULL;
	}
	report_held_if_new();
	elog(DEBUG2, "queues that were read in a turn: %d", nread);
}

static void
look_at_options(void)
{
	int64		begin;
	dlist_iter	iter;

	dlist_foreach(iter, tc_active_queues())
	{
		Queue	   *queue = dlist_container(Queue, active_node, iter.cur);

		if (tc_queue_wants_options(queue))
			tc_option_look_want(queue);
	}
	if (!tc_option_looks_due())
		return;
	begin = tc_monotonic_ms();
	/* after an error those whose turn has not come still await it */
	for (int n = 0; n < LOOKS_AT_ONCE && (current = tc_option_looks_next()) != NULL; n++)
	{
		/*
		 * without rows there is no reason to look at options, or to say what
		 * is wrong with them
		 */
		if (tc_queue_wants_options(current) &&
			(tc_queue_has_use_for_options(current) || tc_intake_has_rows(current) ||
			 tc_heartbeats_exist(current)))
			tc_queue_use_options(current);
		else if (current->channel == NULL && !current->unread && dlist_is_empty(&current->requests))
			tc_flow_clear_error(current);
	}
	current = NULL;
	tc_option_looks_took(tc_monotonic_ms() - begin);
}

/* True if new rows were looked for. */
static bool
read_queue(Queue *queue)
{
	if (tc_queue_wants_retries(queue))
		tc_intake_reload(queue);
	if (tc_queue_wants_heartbeats(queue))
		tc_heartbeats_take_turn(queue);
	if (tc_queue_wants_to_know(queue))
	{
		queue->rows_are_there = tc_intake_has_rows(queue);
		return true;
	}
	if (!tc_queue_wants_rows(queue))
		return false;
	tc_intake_read(queue);
	return true;
}

/* Last in a transaction: it looks at any rows, which may be damaged. */
static void
report_held_if_new(void)
{
	if (!report_held)
		return;
	report_held = false;
	tc_outbox_report_held();
}

/* Most errors go by themselves, so it is tried again soon. */
static void
reading_failed(void)
{
	int64		now = tc_monotonic_ms();

	not_before = now + Min(READ_RETRY_MS, READ_RETRY_MIN_MS << Min(failures, 10));
	failures++;
	if (current != NULL && failures >= READ_TRIES)
	{
		current->look_after = now + (tc_transaction_error_is_transient() ?
									 READ_RETRY_MS : QUEUE_BROKEN_MS);
		tc_flow_pause_until(current, current->look_after);
		failures = 0;
	}
	current = NULL;
	tc_recheck_want();
	tc_timer_wake(&timer, not_before);
}

static void
note_errors(void)
{
	int			nqueues;
	Queue	  **queues = tc_known_queues(&nqueues);

	if (tc_error_notes_are_due())
		tc_error_notes_turn(queues, nqueues);
}
