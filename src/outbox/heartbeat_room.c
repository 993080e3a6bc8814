/*-------------------------------------------------------------------------
 *
 * heartbeat_room.c
 *	  Which role has how much of temporal_internal.last_heartbeat.
 *
 * The table must stay small, so what a role has of it is bounded by what is
 * left: it may have further rows as long as it has less than three times that,
 * and gives way when it has more than four times that, row by row as it goes on
 * with them.  So one alone gets three quarters, and several that want all of
 * it get nearly equal parts, whoever came first; something always remains for
 * who comes next.
 *
 * What is gone takes its place until VACUUM or pruning has removed it, and goes
 * on counting for its role as long: or one whose activities begin and end all
 * the time would have the table grow for all.  When it has to give way only
 * what is there counts, for that is all that it can give; until the table has
 * grown by updates.
 *
 * It is counted in the worker's memory, and anew once a second at most while
 * the table is not small: VACUUM is not heard of, nor that a session purges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/event_loop.h"
#include "outbox/heartbeat_room.h"
#include "outbox/outbox.h"

/* So many times as much as is left a role may have, and has to give back */
#define GREED 3
#define TOO_MUCH 4

/* Of so many parts one always counts as left, where the table has grown: for who has little */
#define PARTS 64

/* In bytes of rows: the rest of each page is kept for updates, see the table's fillfactor */
#define PAGE_ROOM (BLCKSZ * 40 / 100)
#define ROOM (HEARTBEAT_PAGES * (int64) PAGE_ROOM)

/* It has so many if it has grown by updates, of which a snapshot keeps what was replaced */
#define PAGES_GROWN (HEARTBEAT_PAGES * 3 / 2)

/* A table of more pages is counted anew, so often, and one where somebody found no room */
#define PAGES_SMALL (HEARTBEAT_PAGES / 2)
#define COUNT_MS 1000

/* Roles of so many queues are kept in memory at most: rows of more there is hardly room for */
#define QUEUES_MAX 16384

typedef struct QueueRole
{
	int64		queue;
	Oid			role;
} QueueRole;

typedef struct RoleRoom
{
	Oid			role;
	int64		taken;			/* also by what is gone */
	int64		live;
} RoleRoom;

static HTAB *role_of_queue = NULL;
static HTAB *rooms = NULL;
static Oid	counted_relid = InvalidOid;
static int64 counted_at;		/* monotonic ms */
static BlockNumber nblocks;
static int64 taken_by_all;
static int64 live_of_all;
static bool changed;			/* by the current transaction */
static bool undone;
static bool lacked;				/* somebody found no room */

static void count(Relation rel, AttrNumber queue_attr);
static void count_page(Relation rel, BlockNumber block, AttrNumber queue_attr);
static void take(int64 queue, int64 bytes);
static void live(int64 queue, int64 bytes);
static int64 left_of(int64 bytes);
static void forget(void);
static void transaction_ended(XactEvent event, void *arg);
static RoleRoom *room_of(int64 queue);
static HTAB *make_table(const char *name, Size key_size, Size entry_size);

void
tc_heartbeat_room_begin(Relation rel, AttrNumber queue_attr)
{
	nblocks = RelationGetNumberOfBlocks(rel);
	if (counted_relid != RelationGetRelid(rel) || undone ||
		((nblocks > PAGES_SMALL || lacked) &&
		 tc_monotonic_ms() - counted_at >= COUNT_MS))
		count(rel, queue_attr);
}

static void
count(Relation rel, AttrNumber queue_attr)
{
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	/* after an error it is done again */
	counted_relid = InvalidOid;
	forget();
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
		live(DatumGetInt64(heap_getattr(tuple, queue_attr, RelationGetDescr(rel), &isnull)),
			 tuple->t_len);
	systable_endscan(scan);
	for (BlockNumber block = 0; block < nblocks; block++)
		count_page(rel, block, queue_attr);
	counted_relid = RelationGetRelid(rel);
	counted_at = tc_monotonic_ms();
	changed = undone = lacked = false;
}

/*
 * Versions of rows share their page by their length, whatever became of
 * them, as far as they take what is not kept for updates.
 */
static void
count_page(Relation rel, BlockNumber block, AttrNumber queue_attr)
{
	int64		queues[MaxHeapTuplesPerPage];
	int			lengths[MaxHeapTuplesPerPage];
	int			n = 0;
	int64		sum = 0;
	Buffer		buffer = ReadBuffer(rel, block);
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	for (OffsetNumber i = FirstOffsetNumber; i <= PageGetMaxOffsetNumber(page); i++)
	{
		ItemId		item = PageGetItemId(page, i);
		HeapTupleData tuple;
		bool		isnull;

		if (!ItemIdIsNormal(item))
			continue;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple.t_len = ItemIdGetLength(item);
		queues[n] = DatumGetInt64(heap_getattr(&tuple, queue_attr, RelationGetDescr(rel), &isnull));
		lengths[n] = tuple.t_len;
		sum += lengths[n++];
	}
	UnlockReleaseBuffer(buffer);
	for (int i = 0; i < n; i++)
		take(queues[i], lengths[i] * PAGE_ROOM / Max(sum, PAGE_ROOM));
}

void
tc_heartbeat_room_add(int64 queue, int64 len)
{
	take(queue, len);
	live(queue, len);
	changed = true;
}

void
tc_heartbeat_room_remove(int64 queue, int64 len)
{
	live(queue, -len);
	changed = true;
}

bool
tc_heartbeat_room_is_left(int64 queue)
{
	bool		result = nblocks < 2 * HEARTBEAT_PAGES &&
		room_of(queue)->taken < GREED * left_of(taken_by_all);

	lacked |= !result;
	return result;
}

bool
tc_heartbeat_room_is_exceeded(int64 queue)
{
	RoleRoom   *room = room_of(queue);
	bool		result = nblocks >= 2 * HEARTBEAT_PAGES ||
		room->live > TOO_MUCH * left_of(live_of_all) ||
		(nblocks > PAGES_GROWN && room->taken > TOO_MUCH * left_of(taken_by_all));

	lacked |= result;
	return result;
}

static int64
left_of(int64 bytes)
{
	return Max(ROOM - bytes, ROOM / PARTS);
}

static void
take(int64 queue, int64 bytes)
{
	room_of(queue)->taken += bytes;
	taken_by_all += bytes;
}

/* What is out of line makes it inexact. */
static void
live(int64 queue, int64 bytes)
{
	RoleRoom   *room = room_of(queue);

	bytes = Max(bytes, -room->live);
	room->live += bytes;
	live_of_all += bytes;
}

/* Which queue is whose is kept: that does not change. */
static void
forget(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(transaction_ended, NULL);
	registered = true;
	if (rooms != NULL)
		hash_destroy(rooms);
	rooms = NULL;
	rooms = make_table("temporal_complete heartbeat room", sizeof(Oid), sizeof(RoleRoom));
	if (role_of_queue != NULL && hash_get_num_entries(role_of_queue) > QUEUES_MAX)
	{
		hash_destroy(role_of_queue);
		role_of_queue = NULL;
	}
	if (role_of_queue == NULL)
		role_of_queue = make_table("temporal_complete heartbeat queues", sizeof(int64),
								   sizeof(QueueRole));
	taken_by_all = live_of_all = 0;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	undone |= changed && event == XACT_EVENT_ABORT;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		changed = false;
}

/* A queue never becomes that of another role.  InvalidOid: it cannot be seen which one's it is. */
static RoleRoom *
room_of(int64 queue)
{
	QueueRole  *known = hash_search(role_of_queue, &queue, HASH_FIND, NULL);
	Oid			role = InvalidOid;
	RoleRoom   *room;
	bool		found;

	if (known != NULL)
		role = known->role;
	else
	{
		QueueRow	row;
		bool		is_from_here;

		if (tc_queue_find(queue, &row, &is_from_here) && is_from_here)
		{
			role = row.key.role;
			known = hash_search(role_of_queue, &queue, HASH_ENTER, NULL);
			known->role = role;
		}
	}
	room = hash_search(rooms, &role, HASH_ENTER, &found);
	if (!found)
		room->taken = room->live = 0;
	return room;
}

static HTAB *
make_table(const char *name, Size key_size, Size entry_size)
{
	HASHCTL		ctl = {
		.keysize = key_size,
		.entrysize = entry_size,
		.hcxt = TopMemoryContext
	};

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}
