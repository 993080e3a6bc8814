/*-------------------------------------------------------------------------
 *
 * queue_pause.c
 *	  Are requests of a queue not to be sent for the time being?
 *
 * Sessions write temporal_internal.queue_pause (functions/pause.c), the worker looks
 * here.  It does so when it is told that the options of a queue may have
 * changed, so it has to see what was committed before that message, also if
 * its transaction has begun earlier: hence a snapshot of now.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "outbox/outbox.h"
#include "outbox/tables.h"

/* Columns of temporal_internal.queue_pause */
enum
{
	PAUSE_SYSTEM_IDENTIFIER = 1,
	PAUSE_DATABASE,
	PAUSE_REQUESTED_BY,
	PAUSE_SERVER,
	PAUSE_REQUESTED_BY_NAME,
	PAUSE_SERVER_NAME,
	PAUSE_BY_OPERATOR,
	PAUSE_PAUSED_AT,
	PAUSE_PAUSED_BY,
	PAUSE_NAMESPACE,
	PAUSE_NATTS = PAUSE_NAMESPACE
};

static bool find_pause(Relation rel, Oid role, Oid server, const char *namespace_name, char **words);

PauseState
tc_queue_pause(const QueueKey *key, const char *namespace_name, char **words)
{
	Relation	rel = tc_table_open_nowait(TABLE_QUEUE_PAUSE, AccessShareLock);
	bool		found;

	if (rel == NULL)
		return PAUSE_UNKNOWN;
	PushActiveSnapshot(GetLatestSnapshot());
	found = find_pause(rel, InvalidOid, key->server, namespace_name, words) ||
		find_pause(rel, key->role, key->server, namespace_name, words);
	PopActiveSnapshot();
	table_close(rel, NoLock);
	return found ? PAUSE_ON : PAUSE_NONE;
}

/* Role InvalidOid: a pause of all roles. */
static bool
find_pause(Relation rel, Oid role, Oid server, const char *namespace_name, char **words)
{
	Oid			index = tc_table_index(rel, TABLE_QUEUE_PAUSE, QUEUE_PAUSE_REQUESTED_BY_IDX);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], PAUSE_REQUESTED_BY, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	ScanKeyInit(&keys[1], PAUSE_SERVER, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(server));
	scan = systable_beginscan(rel, index, OidIsValid(index), GetActiveSnapshot(), 2, keys);
	while (!found && (tuple = systable_getnext(scan)) != NULL)
	{
		Datum		values[PAUSE_NATTS];
		bool		nulls[PAUSE_NATTS];

		tc_row_deform(tuple, rel, TABLE_QUEUE_PAUSE, values, nulls);
		if (!tc_is_made_here(DatumGetInt64(values[PAUSE_SYSTEM_IDENTIFIER - 1]),
							 DatumGetObjectId(values[PAUSE_DATABASE - 1])) ||
			(!nulls[PAUSE_NAMESPACE - 1] &&
			 strcmp(TextDatumGetCString(values[PAUSE_NAMESPACE - 1]), namespace_name) != 0))
			continue;
		found = true;
		*words = psprintf("paused by %s", TextDatumGetCString(values[PAUSE_PAUSED_BY - 1]));
	}
	systable_endscan(scan);
	return found;
}
