/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The process that carries the requests of one database.
 *
 * One event loop: the latch (requests were committed), sockets and timers.
 * Each turn checks for interrupts, so that DROP DATABASE, a shutdown or a
 * crash elsewhere never wait for Temporal.  What a turn does is in
 * dispatch.c.
 *
 * An idle worker sleeps: no transaction, no polling, but for a slow look at
 * the latest completed transaction id in case a wake was missed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "compat.h"
#include "outbox/outbox.h"
#include "process/crash_memory.h"
#include "process/session_calls.h"
#include "process/termination.h"
#include "process/worker_settings.h"
#include "process/worker_slots.h"
#include "worker/counting.h"
#include "worker/dispatch.h"
#include "worker/gauges.h"
#include "worker/reading.h"
#include "worker/session_calls.h"
#include "worker/tidying.h"
#include "worker/transaction.h"
#include "worker/wakes.h"
#include "worker/worker.h"

/* How long a worker that has to leave waits for answers */
#define LEAVE_WAIT_MS 500

/* A second SIGTERM is one of its own if it comes so long after the first */
#define TOLD_AGAIN_MS 1000

/* Due times, monotonic ms */
static LoopTimer poll_timer;
static LoopTimer rotate_timer;
static LoopTimer idle_timer;
static bool poll_is_due;
static bool rotate_is_due = true;
static int64 busy_at;			/* when there was something to do last */

static uint32 wait_event;

/* Latest completed transaction id at the last look at all queues */
static uint64 looked_at_xid;

/* SIGTERM came */
static volatile sig_atomic_t end_is_asked;
static int64 end_asked_at;		/* monotonic ms; for the handler only */

/* What came of a look at the segments of temporal_internal.delivery */
typedef struct Rotation
{
	TimestampTz next;			/* look */
	bool		begun;			/* another one */
} Rotation;

static void asked_to_end(SIGNAL_ARGS);
static void begin_dispatch(void *arg);
static void reload_settings(void);
static void rotate(void *arg);
static void set_flag(void *flag);
static void take_wakes(void);
static void set_poll_timer(void);
static void poll(void *arg);
static void poll_if_due(void);
static void rotate_if_due(void);
static void leave_if_idle(void);
static void leave_extension(void);
static void leave_in_order(WorkerExit reason);
static void detach_at_exit(int code, Datum arg);

void
tc_worker_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, asked_to_end);
	tc_terminate_quietly();
	/* a signal that came before there was a handler is lost */
	ConfigReloadPending = true;
	BackgroundWorkerUnblockSignals();
	tc_crash_mark(database);
	tc_connect_without_settings(database);
	before_shmem_exit(detach_at_exit, (Datum) 0);
	tc_worker_attach();

	tc_report_activity(ACTIVITY_STARTING);
	tc_event_loop_init();
	wait_event = tc_wait_event_new("TemporalCompleteWorker");
	if (!tc_run_transaction(begin_dispatch, NULL))
	{
		if (tc_extension_is_gone())
			leave_extension();
		proc_exit(1);
	}

	busy_at = tc_monotonic_ms();
	for (;;)
	{
		bool		more;

		CHECK_FOR_INTERRUPTS();
		if (end_is_asked)
			leave_in_order(WORKER_EXIT_ASKED);
		if (ConfigReloadPending)
			reload_settings();
		take_wakes();
		poll_if_due();
		rotate_if_due();
		tc_tidying_turn();
		tc_session_calls_turn();

		/*
		 * when others wait for this slot, what is in flight is the last of
		 * this turn
		 */
		if (tc_worker_leaving_soon())
			tc_dispatch_stop();
		more = tc_dispatch_turn();
		if (tc_extension_is_gone())
			leave_extension();
		if (tc_worker_asked_to_leave(tc_session_calls_are_busy()))
			leave_in_order(tc_dispatch_is_idle() && !tc_session_calls_are_busy() ? WORKER_EXIT_IDLE : WORKER_EXIT_ASKED);
		leave_if_idle();
		/* nobody should wait for statistics while this process sleeps */
		if (!more && tc_dispatch_in_flight() == 0)
			pgstat_report_stat(true);
		if (!more)
			tc_report_activity(tc_dispatch_in_flight() > 0 ? ACTIVITY_WAITING :
							   tc_dispatch_has_no_requests() ? ACTIVITY_IDLE :
							   tc_reading_is_paused() ? ACTIVITY_PAUSED : ACTIVITY_BACKING_OFF);
		(void) tc_event_loop_wait(more ? 0 : -1, wait_event);
	}
}

/*
 * The worker leaves in order in its next turn, so that the next one knows what
 * was sent.  Not if it waits for a lock, which may be somebody's who waits for
 * its end, nor if it is told again later.  At once does not count: the
 * postmaster signals the process and then its group, to which it belongs.
 * While the process exits it is told in vain: there is no MyProc any more.
 */
static void
asked_to_end(SIGNAL_ARGS)
{
	int			save_errno = errno;
	int64		now = tc_monotonic_ms();

	if (proc_exit_inprogress)
		return;
	if (MyProc->waitStatus == PROC_WAIT_STATUS_WAITING ||
		(end_is_asked && now - end_asked_at >= TOLD_AGAIN_MS))
		die(TC_SIGNAL_ARGUMENTS);
	else if (!end_is_asked)
	{
		end_asked_at = now;
		end_is_asked = true;
		SetLatch(MyLatch);
	}
	errno = save_errno;
}

/* With another retention the next segment has its turn at another time. */
static void
reload_settings(void)
{
	int			retention = tc_retention;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (tc_retention != retention)
		rotate_is_due = true;
}

static void
begin_dispatch(void *arg)
{
	tc_dispatch_init();
	tc_counting_init();
	tc_gauges_init();
}

static void
take_wakes(void)
{
	WokenQueues woken;
	bool		look;
	bool		all;

	if (!tc_worker_take_wakes(&woken, &look, &all))
		return;
	busy_at = tc_monotonic_ms();
	if (look || all)
		tc_look_at_all(all);
	/* who was named does not wait until it is his turn among all */
	if (!all)
		tc_look_at_woken(&woken);
}

static void
set_flag(void *flag)
{
	*(bool *) flag = true;
}

static void
set_poll_timer(void)
{
	tc_timer_set(&poll_timer, tc_monotonic_ms() + tc_safety_poll_interval * INT64CONST(1000),
				 poll, NULL);
}

/*
 * Every temporal_complete.safety_poll_interval, look at all queues if a
 * transaction has completed since; seeing that takes no transaction, and if
 * none has, no turn of the loop either.
 */
static void
poll(void *arg)
{
	if (tc_latest_completed_xid() != looked_at_xid)
	{
		poll_is_due = true;
		return;
	}
	set_poll_timer();
	tc_timer_in_vain();
}

static void
poll_if_due(void)
{
	if (poll_is_due)
	{
		looked_at_xid = tc_latest_completed_xid();
		tc_look_at_all(false);
		poll_is_due = false;
	}
	if (!poll_timer.armed)
		set_poll_timer();
}

static void
rotate(void *arg)
{
	Rotation   *rotation = arg;

	rotation->next = tc_delivery_rotate(&rotation->begun);
}

static void
rotate_if_due(void)
{
	Rotation	rotation = {0};
	int64		wait;

	if (!rotate_is_due)
		return;
	rotate_is_due = false;
	if (tc_run_transaction(rotate, &rotation))
	{
		wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), rotation.next);
		if (rotation.begun)
			tc_tidying_segment_begun();
	}
	else
		wait = 60000;
	tc_timer_set(&rotate_timer, tc_monotonic_ms() + Max(wait, 1000), set_flag, &rotate_is_due);
}

/* A worker that has had nothing to do for long makes room for another database's. */
static void
leave_if_idle(void)
{
	int64		now = tc_monotonic_ms();
	int64		leave_at = busy_at + tc_worker_idle_timeout * INT64CONST(1000);

	if (!tc_dispatch_is_idle() || tc_session_calls_are_busy())
	{
		busy_at = now;
		return;
	}
	if (tc_worker_idle_timeout < 0)
		return;
	if (leave_at <= now)
		leave_in_order(WORKER_EXIT_IDLE);
	if (!idle_timer.armed)
		tc_timer_wake(&idle_timer, leave_at);
}

/* The extension is gone.  If another one is there, it gets a worker of its own, at once. */
static void
leave_extension(void)
{
	leave_in_order(tc_extension_is_another() ? WORKER_EXIT_REPLACED : WORKER_EXIT_NO_EXTENSION);
}

/*
 * Leave, but first give what is in flight a moment to be answered: what is
 * not will have to be sent again.  Returns only if the slot was kept, because
 * something came up while the worker was idle.
 */
static void
leave_in_order(WorkerExit reason)
{
	int64		until = tc_monotonic_ms() + LEAVE_WAIT_MS;

	tc_report_activity(ACTIVITY_LEAVING);
	if (reason == WORKER_EXIT_ASKED)
	{
		tc_dispatch_stop();
		(void) tc_dispatch_turn();
		while (tc_dispatch_in_flight() > 0 && tc_monotonic_ms() < until)
		{
			CHECK_FOR_INTERRUPTS();
			(void) tc_event_loop_wait(until - tc_monotonic_ms(), wait_event);
			(void) tc_dispatch_turn();
		}
	}
	/* who waits for this must not wait for somebody's lock */
	SetConfigOption("lock_timeout", "1s", PGC_SUSET, PGC_S_OVERRIDE);
	if (reason != WORKER_EXIT_NO_EXTENSION && reason != WORKER_EXIT_REPLACED)
	{
		tc_dispatch_record_rest();
		tc_dispatch_tell_rest();
	}
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	tc_worker_return_calls();
	if (tc_worker_detach(reason))
		proc_exit(0);
	tc_gauges_leave(false);
}

/* The process ends without having left: calls of sessions go first, see process/session_calls.h. */
static void
detach_at_exit(int code, Datum arg)
{
	if (!tc_worker_has_slot())
		return;
	tc_counting_flush();
	tc_worker_return_calls();
	(void) tc_worker_detach(WORKER_EXIT_CRASHED);
}
