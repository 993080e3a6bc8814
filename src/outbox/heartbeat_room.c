/*-------------------------------------------------------------------------
 *
 * heartbeat_room.c
 *	  Which role has how much of temporal_internal.last_heartbeat.
 *
 * The table must stay small, so what a role has of it is bounded by what is
 * left: it may have more as long as it has less than three times that, and has
 * to give back when it has more than four times that, row by row as it goes
 * on with them.  So one alone gets three quarters, and several that want all
 * of it get nearly equal parts, whoever came first; something always remains for
 * who comes next.
 *
 * It is counted in the worker's memory, and not known of rows that sessions
 * have purged: who finds no room has it counted anew (last_heartbeats.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "outbox/heartbeat_room.h"
#include "outbox/outbox.h"

/* So many times as much as is left a role may have, and has to give back */
#define GREED 3
#define TOO_MUCH 4

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
	int64		used;
} RoleRoom;

static HTAB *role_of_queue = NULL;
static HTAB *rooms = NULL;
static int64 room_for_all;
static int64 used_by_all;
static bool changed;			/* by the current transaction */
static bool undone;

static void transaction_ended(XactEvent event, void *arg);
static RoleRoom *room_of(int64 queue);
static HTAB *make_table(const char *name, Size key_size, Size entry_size);

void
tc_heartbeat_room_begin(int64 room)
{
	if (rooms == NULL)
		RegisterXactCallback(transaction_ended, NULL);
	else
		hash_destroy(rooms);
	rooms = make_table("temporal_complete heartbeat room", sizeof(Oid), sizeof(RoleRoom));
	if (role_of_queue != NULL && hash_get_num_entries(role_of_queue) > QUEUES_MAX)
	{
		hash_destroy(role_of_queue);
		role_of_queue = NULL;
	}
	if (role_of_queue == NULL)
		role_of_queue = make_table("temporal_complete heartbeat queues", sizeof(int64),
								   sizeof(QueueRole));
	room_for_all = room;
	used_by_all = 0;
	undone = false;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	undone |= changed && event == XACT_EVENT_ABORT;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		changed = false;
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

void
tc_heartbeat_room_take(int64 queue, int64 bytes)
{
	RoleRoom   *room = room_of(queue);
	int64		used = Max(0, room->used + bytes);

	used_by_all += used - room->used;
	room->used = used;
	changed = true;
}

bool
tc_heartbeat_room_is_left(int64 queue)
{
	return room_of(queue)->used < GREED * (room_for_all - used_by_all);
}

bool
tc_heartbeat_room_is_exceeded(int64 queue)
{
	return room_of(queue)->used > TOO_MUCH * (room_for_all - used_by_all);
}

bool
tc_heartbeat_room_is_undone(void)
{
	return undone;
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
		room->used = 0;
	return room;
}
