/*-------------------------------------------------------------------------
 *
 * statistics.c
 *	  Shared memory of the statistics: what workers have counted.
 *
 * An entry is for the requests of a role to a namespace of a server in a
 * database.  The worker of the database writes it, whoever may looks at it,
 * and what is in it survives the worker's end.  After a crash the postmaster
 * makes shared memory anew, and all is counted from then on: stats_reset says
 * so.
 *
 * Locks:
 *
 * - Each entry has a spinlock, held to copy it or to add to it and never
 *	 longer, so no reader makes a worker wait: an LWLock in shared mode, taken
 *	 by one reader after the other, could.
 * - Who has which entry is in an array of keys beside them, which is small, for
 *	 it is searched; the LWLock on that is taken by workers, when a queue is used
 *	 first, and by who discards requests, never by readers.
 *
 * There are temporal_complete.max_statistics entries.  A database may have
 * another one as long as it has less than three times what is left, and a role
 * in it as long as it has less than three times what is left of this to the
 * database, or none.  So one role alone gets nine thirteenths, and nobody takes
 * all.  Who finds no room is counted in the entry of the database that is for
 * all such; these have places of their own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "process/statistics.h"

#define TRANCHE "temporal_complete_statistics"

/* Places for what found no room in a database: one for so many entries, and some */
#define OVERFLOW_SHARE 8
#define OVERFLOW_MIN 16

const int64 tc_stat_bounds[TC_STAT_BOUNDS] = {
	5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,
	10000000, 30000000, 60000000, INT64CONST(300000000)
};

typedef struct StatEntry
{
	slock_t		mutex;			/* protects all of it */
	bool		used;
	StatView	view;
} StatEntry;

typedef struct StatWorkerPlace
{
	slock_t		mutex;
	StatWorker	worker;
} StatWorkerPlace;

typedef struct Statistics
{
	LWLock	   *lock;			/* protects keys, and which entries are used */
	TimestampTz begun_at;		/* when shared memory was made, or the first
								 * launcher started: on a standby much later */
	bool		begun;			/* the latter */
	StatKey    *keys;			/* database InvalidOid = free */
	StatEntry  *entries;
	StatWorkerPlace *workers;
} Statistics;

static Statistics *shared = NULL;

/* In a worker: somebody found no room, and nobody asked since */
static bool lacks_room = false;

static int	find_key(const StatKey *key, int from, int to);
static bool may_have_another(const StatKey *key);
static int	use_entry(int entry, const StatKey *key, const char *namespace_name);
static void free_entry(int entry);

static int
overflow_places(void)
{
	return tc_max_statistics / OVERFLOW_SHARE + OVERFLOW_MIN;
}

int
tc_stat_entries(void)
{
	return shared != NULL ? tc_max_statistics + overflow_places() : 0;
}

static Size
shared_size(void)
{
	int			nentries = tc_max_statistics + overflow_places();
	Size		size = MAXALIGN(sizeof(Statistics));

	size = add_size(size, MAXALIGN(mul_size(nentries, sizeof(StatKey))));
	size = add_size(size, MAXALIGN(mul_size(nentries, sizeof(StatEntry))));
	return add_size(size, MAXALIGN(mul_size(max_worker_processes, sizeof(StatWorkerPlace))));
}

void
tc_statistics_request(void)
{
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(TRANCHE, 1);
}

void
tc_statistics_startup(void)
{
	int			nentries = tc_max_statistics + overflow_places();
	bool		found;
	char	   *place;

	place = ShmemInitStruct("temporal_complete statistics", shared_size(), &found);
	shared = (Statistics *) place;
	if (found)
		return;

	memset(place, 0, shared_size());
	shared->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
	shared->begun_at = GetCurrentTimestamp();
	shared->begun = false;
	place += MAXALIGN(sizeof(Statistics));
	shared->keys = (StatKey *) place;
	place += MAXALIGN(nentries * sizeof(StatKey));
	shared->entries = (StatEntry *) place;
	place += MAXALIGN(nentries * sizeof(StatEntry));
	shared->workers = (StatWorkerPlace *) place;
	for (int i = 0; i < nentries; i++)
		SpinLockInit(&shared->entries[i].mutex);
	for (int i = 0; i < max_worker_processes; i++)
		SpinLockInit(&shared->workers[i].mutex);
}

/*---- for the worker ----*/

int
tc_stat_entry(Oid role, Oid server, const char *namespace_name)
{
	StatKey		key = {.database = MyDatabaseId,.role = role,.server = server};
	StatKey		overflow = {.database = MyDatabaseId};
	StatKey		unused = {0};
	int			entry;

	key.namespace_hash = hash_bytes_extended((const unsigned char *) namespace_name,
											 strlen(namespace_name), 0);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = find_key(&key, 0, tc_max_statistics);
	if (entry == TC_STAT_NONE && may_have_another(&key))
		entry = use_entry(find_key(&unused, 0, tc_max_statistics), &key, namespace_name);
	if (entry == TC_STAT_NONE)
	{
		lacks_room = true;
		entry = find_key(&overflow, tc_max_statistics, tc_stat_entries());
		if (entry == TC_STAT_NONE)
			entry = use_entry(find_key(&unused, tc_max_statistics, tc_stat_entries()), &overflow, "");
	}
	LWLockRelease(shared->lock);
	return entry;
}

static int
find_key(const StatKey *key, int from, int to)
{
	for (int i = from; i < to; i++)
	{
		const StatKey *other = &shared->keys[i];

		if (other->database == key->database && other->role == key->role &&
			other->server == key->server && other->namespace_hash == key->namespace_hash)
			return i;
	}
	return TC_STAT_NONE;
}

static bool
may_have_another(const StatKey *key)
{
	int64		left = tc_max_statistics;
	int64		of_database = 0;
	int64		of_role = 0;

	for (int i = 0; i < tc_max_statistics; i++)
	{
		const StatKey *other = &shared->keys[i];

		if (!OidIsValid(other->database))
			continue;
		left--;
		if (other->database != key->database)
			continue;
		of_database++;
		if (other->role == key->role)
			of_role++;
	}
	return left > 0 && (of_role == 0 || of_role < 3 * (3 * left - of_database));
}

void
tc_statistics_begin(void)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (!shared->begun)
		shared->begun_at = now;
	shared->begun = true;
	LWLockRelease(shared->lock);
}

/* Returns the entry, or TC_STAT_NONE if it is none. */
static int
use_entry(int number, const StatKey *key, const char *namespace_name)
{
	StatEntry  *entry;

	if (number == TC_STAT_NONE)
		return TC_STAT_NONE;
	shared->keys[number] = *key;
	entry = &shared->entries[number];
	SpinLockAcquire(&entry->mutex);
	memset(&entry->view, 0, sizeof(entry->view));
	entry->view.key = *key;
	entry->view.reset_at = shared->begun_at;
	strlcpy(entry->view.namespace_name, namespace_name, sizeof(entry->view.namespace_name));
	entry->used = true;
	SpinLockRelease(&entry->mutex);
	return number;
}

static void
free_entry(int number)
{
	StatEntry  *entry = &shared->entries[number];

	memset(&shared->keys[number], 0, sizeof(StatKey));
	SpinLockAcquire(&entry->mutex);
	entry->used = false;
	SpinLockRelease(&entry->mutex);
}

bool
tc_stat_lacks_room(void)
{
	bool		lacked = lacks_room;

	lacks_room = false;
	return lacked;
}

/* The caller looks into catalogs, which must not be done with the lock held. */
void
tc_stat_sweep(bool (*needed) (const StatKey *key))
{
	for (int i = 0; i < tc_stat_entries(); i++)
	{
		StatKey		key;

		LWLockAcquire(shared->lock, LW_SHARED);
		key = shared->keys[i];
		LWLockRelease(shared->lock);
		if (!OidIsValid(key.database) || needed(&key))
			continue;
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		/* somebody else may have freed it, and used it for another one */
		if (find_key(&key, i, i + 1) == i)
			free_entry(i);
		LWLockRelease(shared->lock);
	}
}

void
tc_stat_add(int number, const StatCounters *counters, const StatTimes *times)
{
	StatEntry  *entry = &shared->entries[number];
	const int64 *from = (const int64 *) counters;
	int64	   *to = (int64 *) &entry->view.counters;

	StaticAssertStmt(sizeof(StatCounters) % sizeof(int64) == 0, "counters are all of one type");
	SpinLockAcquire(&entry->mutex);
	for (int i = 0; i < sizeof(StatCounters) / sizeof(int64); i++)
		to[i] += from[i];
	if (times->call != 0)
		entry->view.times.call = times->call;
	if (times->delivered != 0)
		entry->view.times.delivered = times->delivered;
	if (times->error != 0)
	{
		entry->view.times.error = times->error;
		memcpy(entry->view.times.error_code, times->error_code, sizeof(times->error_code));
		memcpy(entry->view.times.error_message, times->error_message, sizeof(times->error_message));
	}
	SpinLockRelease(&entry->mutex);
}

void
tc_stat_add_discarded(int number, const StatKey *key, int64 requests)
{
	StatEntry  *entry = &shared->entries[number];

	SpinLockAcquire(&entry->mutex);
	if (entry->used && memcmp(&entry->view.key, key, sizeof(*key)) == 0)
		entry->view.counters.discarded += requests;
	SpinLockRelease(&entry->mutex);
}

void
tc_stat_set_gauges(int number, const StatGauges *gauges)
{
	StatEntry  *entry = &shared->entries[number];

	SpinLockAcquire(&entry->mutex);
	entry->view.gauges = *gauges;
	SpinLockRelease(&entry->mutex);
}

void
tc_stat_clear_gauges(void)
{
	StatGauges	none = {0};

	for (int i = 0; i < tc_stat_entries(); i++)
		if (shared->keys[i].database == MyDatabaseId)
			tc_stat_set_gauges(i, &none);
}

void
tc_stat_set_worker(int slot, const StatWorker *worker)
{
	StatWorkerPlace *place = &shared->workers[slot];

	SpinLockAcquire(&place->mutex);
	place->worker = *worker;
	SpinLockRelease(&place->mutex);
}

/*---- for others ----*/

bool
tc_stat_view(int number, StatView *view)
{
	StatEntry  *entry = &shared->entries[number];
	bool		is_here;

	SpinLockAcquire(&entry->mutex);
	is_here = entry->used && entry->view.key.database == MyDatabaseId;
	if (is_here)
		*view = entry->view;
	SpinLockRelease(&entry->mutex);
	return is_here;
}

void
tc_stat_worker(int slot, StatWorker *worker)
{
	StatWorkerPlace *place = &shared->workers[slot];

	SpinLockAcquire(&place->mutex);
	*worker = place->worker;
	SpinLockRelease(&place->mutex);
}

void
tc_stat_reset(Oid server)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < tc_stat_entries(); i++)
	{
		StatEntry  *entry = &shared->entries[i];

		SpinLockAcquire(&entry->mutex);
		if (entry->used && entry->view.key.database == MyDatabaseId &&
			(!OidIsValid(server) || entry->view.key.server == server))
		{
			memset(&entry->view.counters, 0, sizeof(entry->view.counters));
			memset(&entry->view.times, 0, sizeof(entry->view.times));
			entry->view.reset_at = now;
		}
		SpinLockRelease(&entry->mutex);
	}
}
