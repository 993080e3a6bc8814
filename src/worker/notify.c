/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  NOTIFY of what somebody may have to see to.
 *
 * A hint, for whoever would look otherwise: it may be lost in a crash, what it
 * is about is in temporal.request by then.  Ids and nothing else: any role of
 * the database may listen.
 *
 * It must not stop the worker.  Sessions commit their notifications one by
 * one, and some wait meanwhile for a standby; listeners that are in a
 * transaction let PostgreSQL's queue of notifications fill, which is an error
 * in the end.  So this waits for neither, but tries again later.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"

#include "base/event_loop.h"
#include "base/settings.h"
#include "worker/notify.h"
#include "worker/transaction.h"

#define CHANNEL "temporal_complete"

/* As many ids as find room in a notification; it says if there were more */
#define MAX_IDS 360

/* Used to that part, PostgreSQL's queue is left to others */
#define MAX_USAGE 0.5

#define LATER_MS 1000

typedef struct Notice
{
	NotifyEvent event;
	int64		id;
} Notice;

static const char *const event_names[] = {
	[NOTIFY_REJECTED] = "rejected",
	[NOTIFY_UNCONFIRMED] = "unconfirmed",
	[NOTIFY_CANCEL_REQUESTED] = "cancel_requested",
	[NOTIFY_ACTIVITY_CANCEL_REQUESTED] = "activity_cancel_requested",
	[NOTIFY_ACTIVITY_GONE] = "activity_gone",
};

static Notice notices[MAX_IDS];
static int	nnotices;
static bool there_are_more;
static int64 not_before;		/* monotonic ms */
static LoopTimer timer;

static void notify(void *sent);
static bool can_commit_at_once(void);
static char *payload(void);

void
tc_notify_add(NotifyEvent event, int64 id)
{
	if (!tc_notify)
		return;
	if (nnotices == MAX_IDS)
		there_are_more = true;
	else
		notices[nnotices++] = (Notice)
	{
		event, id
	};
}

void
tc_notify_turn(void)
{
	bool		sent = false;

	if (nnotices == 0 || not_before > tc_monotonic_ms())
		return;
	if (tc_run_transaction(notify, &sent) && sent)
	{
		nnotices = 0;
		there_are_more = false;
		return;
	}
	not_before = tc_monotonic_ms() + LATER_MS;
	tc_timer_wake(&timer, not_before);
}

static void
notify(void *sent)
{
	if (DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0)) > MAX_USAGE ||
		!can_commit_at_once())
		return;
	Async_Notify(CHANNEL, payload());
	*(bool *) sent = true;
}

/*
 * Take the lock that commits of notifications take, if nobody has it; as in
 * PreCommit_Notify().
 */
static bool
can_commit_at_once(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0);
	return LockAcquire(&tag, AccessExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* A JSON object: ids by what became of them. */
static char *
payload(void)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int event = 0; event < lengthof(event_names); event++)
	{
		const char *before = text.len == 0 ? "{" : ", ";
		bool		is_first = true;

		for (int i = 0; i < nnotices; i++)
		{
			if (notices[i].event != event)
				continue;
			if (is_first)
				appendStringInfo(&text, "%s\"%s\": [", before, event_names[event]);
			appendStringInfo(&text, "%s" INT64_FORMAT, is_first ? "" : ", ", notices[i].id);
			is_first = false;
		}
		if (!is_first)
			appendStringInfoChar(&text, ']');
	}
	appendStringInfoString(&text, there_are_more ? ", \"more\": true}" : "}");
	return text.data;
}
