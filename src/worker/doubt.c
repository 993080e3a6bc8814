/*-------------------------------------------------------------------------
 *
 * doubt.c
 *	  What a former worker may have sent.
 *
 * A worker that ends without a word may have sent anything that was visible
 * to it, so the next one takes all that is visible at its start for sent.  One
 * that leaves in order records of which requests it does not know the end, and
 * then, in the table temporal_internal.last_worker, that nothing else is in doubt.  That
 * row is deleted, durably, before anything is sent.
 *
 * The row counts only where it was written: on another timeline, or in a copy,
 * somebody may have sent more since, whose deletion of the row did not come
 * along.  It may also come here by logical replication, from another database
 * of this cluster, or from this one and back: so it says by which transaction
 * it was written, and does not count where another one has stored it.
 *
 * A copy may even have been given the OID of its original, once that was
 * dropped: what was requested before the files of this database were made was
 * maybe sent from where they come from.  Nothing here sends or reads requests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/event_loop.h"
#include "compat.h"
#include "outbox/outbox.h"
#include "outbox/row_write.h"
#include "worker/doubt.h"
#include "worker/transaction.h"

/* Columns of temporal_internal.last_worker */
enum
{
	LAST_WORKER_SYSTEM_IDENTIFIER = 1,
	LAST_WORKER_DATABASE,
	LAST_WORKER_TIMELINE,
	LAST_WORKER_WRITTEN_BY,
	LAST_WORKER_IN_DOUBT_BEFORE,
	LAST_WORKER_IN_DOUBT_SINCE,
	LAST_WORKER_NATTS = LAST_WORKER_IN_DOUBT_SINCE
};

/*
 * So long a worker that begins waits for the table.  Who has locked it keeps
 * the worker from sending anyway, and is mostly done in a moment: VACUUM that
 * truncates it, COMMIT PREPARED of what has created the extension.
 */
#define LOCKED_WAIT_MS 2000
#define LOCKED_RETRY_MS 10

/* Times of files are those of the last tick of the kernel's clock */
#define FILE_TIME_MARGIN_MS 10

/* What may have been sent by others; NULL = nothing */
static ReadSnapshot *in_doubt;

/* When they can have sent it at the latest; also by the monotonic clock, in ms */
static TimestampTz in_doubt_since;
static int64 began_at;

/* Does no row say that a worker has left? */
static bool noted;

/* When the files of this database were made, at the latest */
static TimestampTz files_made_at;

static void look_at_files(void);
static Relation open_when_unlocked(void);
static void set_since(TimestampTz since);
static bool of_this_timeline(const Datum *values);
static void delete_rows(void *arg);
static void insert_row(void *arg);

void
tc_doubt_init(void)
{
	Relation	rel = open_when_unlocked();
	Snapshot	snapshot;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		left = false;
	bool		copied = false;

	look_at_files();
	in_doubt_since = GetCurrentTimestamp();
	began_at = tc_monotonic_ms();
	if (rel == NULL)
	{
		/*
		 * somebody has locked it: then nothing is known of the worker before
		 * this one
		 */
		noted = false;
		in_doubt = tc_snapshot_take();
		MemoryContextSwitchTo(old);
		return;
	}
	noted = true;
	in_doubt = NULL;
	/* with what was committed while the lock was awaited */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[LAST_WORKER_NATTS];
		bool		nulls[LAST_WORKER_NATTS];

		noted = false;
		tc_row_deform(tuple, rel, TABLE_LAST_WORKER, values, nulls);
		if (left || !of_this_timeline(values) ||
			!tc_row_is_of_its_writer(tuple, values[LAST_WORKER_WRITTEN_BY - 1]))
			continue;

		/*
		 * The row came along when this database was copied from a template of
		 * this cluster.  Any worker that sends deletes it before, so none has
		 * sent anything from here.
		 */
		if (DatumGetObjectId(values[LAST_WORKER_DATABASE - 1]) != MyDatabaseId)
		{
			copied = true;
			continue;
		}
		left = true;
		if (!nulls[LAST_WORKER_IN_DOUBT_BEFORE - 1])
		{
			Datum		before = values[LAST_WORKER_IN_DOUBT_BEFORE - 1];

			in_doubt = palloc0(offsetof(ReadSnapshot, xip));
			in_doubt->xmax = U64FromFullTransactionId(DatumGetFullTransactionId(before));
			/* workers that take turns must not wait anew each */
			if (!nulls[LAST_WORKER_IN_DOUBT_SINCE - 1])
				set_since(DatumGetTimestampTz(values[LAST_WORKER_IN_DOUBT_SINCE - 1]));
		}
	}
	if (!left && !copied)
		in_doubt = tc_snapshot_take();
	MemoryContextSwitchTo(old);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
}

/*
 * PG_VERSION is written when a database is made, and never again.  On another
 * disk it may be newer than that, or be made anew by recovery: then there is
 * doubt without a reason, which costs a look.
 */
static void
look_at_files(void)
{
	char	   *path = psprintf("%s/PG_VERSION", DatabasePath);
	struct stat st;

	if (stat(path, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", path)));
	pfree(path);
	files_made_at = TimestampTzPlusMilliseconds(time_t_to_timestamptz(st.st_mtim.tv_sec) +
												st.st_mtim.tv_nsec / 1000, FILE_TIME_MARGIN_MS);
}

/* Without a place in the queue for the lock, where others might wait behind it.  NULL: still locked. */
static Relation
open_when_unlocked(void)
{
	int64		until = tc_monotonic_ms() + LOCKED_WAIT_MS;
	Relation	rel;

	while ((rel = tc_table_open_nowait(TABLE_LAST_WORKER, AccessShareLock)) == NULL &&
		   tc_monotonic_ms() < until)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(LOCKED_RETRY_MS * 1000L);
	}
	return rel;
}

/* A time that lies ahead is of a clock that has been put back. */
static void
set_since(TimestampTz since)
{
	if (since >= in_doubt_since)
		return;
	began_at -= TimestampDifferenceMilliseconds(since, in_doubt_since);
	in_doubt_since = since;
}

/* Was the row written in this cluster, on the timeline that it is on now? */
static bool
of_this_timeline(const Datum *values)
{
	return (uint64) DatumGetInt64(values[LAST_WORKER_SYSTEM_IDENTIFIER - 1]) == GetSystemIdentifier() &&
		(TimeLineID) DatumGetInt32(values[LAST_WORKER_TIMELINE - 1]) == tc_timeline();
}

bool
tc_doubt_covers(uint64 xid)
{
	return tc_snapshot_sees(in_doubt, xid);
}

bool
tc_doubt_is_of_copy(TimestampTz requested_at)
{
	return requested_at < files_made_at;
}

int64
tc_doubt_began_at(void)
{
	return began_at;
}

bool
tc_doubt_note_sending(void)
{
	if (!noted)
		noted = tc_run_transaction(delete_rows, NULL);
	return noted;
}

static void
delete_rows(void *arg)
{
	Relation	rel = tc_table_open(TABLE_LAST_WORKER, RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
		tc_row_delete(rel, TABLE_LAST_WORKER, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

void
tc_doubt_note_leaving(bool all_done)
{
	/* if nothing was sent the row of the former one still tells the truth */
	if (noted && tc_run_transaction(insert_row, &all_done))
		noted = false;
}

static void
insert_row(void *arg)
{
	bool		all_done = *(bool *) arg;
	Relation	rel = tc_table_open(TABLE_LAST_WORKER, RowExclusiveLock);
	Datum		values[LAST_WORKER_NATTS];
	bool		nulls[LAST_WORKER_NATTS] = {false};

	values[LAST_WORKER_SYSTEM_IDENTIFIER - 1] = Int64GetDatum((int64) GetSystemIdentifier());
	values[LAST_WORKER_DATABASE - 1] = ObjectIdGetDatum(MyDatabaseId);
	values[LAST_WORKER_TIMELINE - 1] = Int32GetDatum((int32) tc_timeline());
	values[LAST_WORKER_WRITTEN_BY - 1] = TransactionIdGetDatum(GetCurrentTransactionId());
	nulls[LAST_WORKER_IN_DOUBT_BEFORE - 1] = all_done || in_doubt == NULL;
	values[LAST_WORKER_IN_DOUBT_BEFORE - 1] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(in_doubt ? in_doubt->xmax : 0));
	nulls[LAST_WORKER_IN_DOUBT_SINCE - 1] = nulls[LAST_WORKER_IN_DOUBT_BEFORE - 1];
	values[LAST_WORKER_IN_DOUBT_SINCE - 1] = TimestampTzGetDatum(in_doubt_since);

	tc_row_insert(rel, TABLE_LAST_WORKER, values, nulls);
	table_close(rel, NoLock);
}
