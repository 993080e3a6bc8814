/*-------------------------------------------------------------------------
 *
 * in_flight.c
 *	  Shared memory that says what workers have in flight, and where sessions
 *	  wait for outcomes.
 *
 * Each slot of worker_slots.h has its part.  It is written by the worker that
 * has the slot, for each request twice, and read by anybody at any time, so it
 * consists of atomics without a lock: who reads sees each request that was in
 * flight all the time that he looked.
 *
 * A session that waits for a request says so in its place before it looks, and
 * a worker that may drop outcomes says so before it reads these places.  So one
 * of the two sees the other: the worker keeps the outcome, or the session looks
 * when the worker has committed.  What a session that has ended left in its
 * place does no harm but that an outcome more is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "compat.h"
#include "process/in_flight.h"

/* Databases share them; who waits in another one than where outcomes were recorded looks in vain */
#define OUTCOME_CVS 16

typedef struct SlotInFlight
{
	pg_atomic_uint32 count;
	pg_atomic_uint32 end;		/* no place from here on was ever used */
	pg_atomic_uint32 recording; /* odd: a transaction is open that may drop
								 * outcomes */
	pg_atomic_uint64 ids[TC_MAX_IN_FLIGHT]; /* 0 = none */
} SlotInFlight;

typedef struct InFlight
{
	ConditionVariableMinimallyPadded outcomes[OUTCOME_CVS];
	SlotInFlight slots[FLEXIBLE_ARRAY_MEMBER];
} InFlight;

static InFlight *shared = NULL;

/* For each backend the request for which it waits; 0 = none */
static pg_atomic_uint64 *awaited = NULL;

/* In a worker that has a slot: its part, and how many it has there */
static SlotInFlight *mine = NULL;
static uint32 my_count = 0;

/* The requests for which sessions wait, as this transaction knows them; -1: it has not looked yet */
static int64 *seen = NULL;
static int	nseen = -1;

static Size slots_size(void);
static void end_recording(void);
static void see_awaited(void);

Size
tc_in_flight_size(void)
{
	return add_size(slots_size(), mul_size(tc_max_backends(), sizeof(pg_atomic_uint64)));
}

static Size
slots_size(void)
{
	return MAXALIGN(add_size(offsetof(InFlight, slots),
							 mul_size(max_worker_processes, sizeof(SlotInFlight))));
}

void
tc_in_flight_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("temporal_complete in flight", tc_in_flight_size(), &found);
	awaited = (pg_atomic_uint64 *) ((char *) shared + slots_size());
	if (found)
		return;

	for (int i = 0; i < tc_max_backends(); i++)
		pg_atomic_init_u64(&awaited[i], 0);

	for (int i = 0; i < OUTCOME_CVS; i++)
		ConditionVariableInit(&shared->outcomes[i].cv);
	for (int i = 0; i < max_worker_processes; i++)
	{
		SlotInFlight *slot = &shared->slots[i];

		pg_atomic_init_u32(&slot->count, 0);
		pg_atomic_init_u32(&slot->end, 0);
		pg_atomic_init_u32(&slot->recording, 0);
		for (int j = 0; j < TC_MAX_IN_FLIGHT; j++)
			pg_atomic_init_u64(&slot->ids[j], 0);
	}
}

/*---- for the worker ----*/

void
tc_in_flight_attach(int slot)
{
	mine = &shared->slots[slot];
	my_count = 0;
}

/* Before the slot is given up: then it is another's. */
void
tc_in_flight_clear(void)
{
	int			end = pg_atomic_read_u32(&mine->end);

	for (int i = 0; i < end; i++)
		pg_atomic_write_u64(&mine->ids[i], 0);
	pg_atomic_write_u32(&mine->end, 0);
	pg_atomic_write_u32(&mine->count, 0);
	end_recording();
	my_count = 0;
}

/* What was in flight may be waited for. */
void
tc_in_flight_detach(void)
{
	mine = NULL;
	tc_outcomes_recorded();
}

void
tc_in_flight_set(int place, int64 id)
{
	pg_atomic_uint64 *entry;
	bool		was_used;

	Assert(place >= 0 && place < TC_MAX_IN_FLIGHT);
	if (mine == NULL)
		return;					/* what ends after the slot was given up */
	entry = &mine->ids[place];
	was_used = pg_atomic_read_u64(entry) != 0;
	pg_atomic_write_u64(entry, (uint64) id);
	if (was_used != (id != 0))
		pg_atomic_write_u32(&mine->count, was_used ? --my_count : ++my_count);
	if (place >= (int) pg_atomic_read_u32(&mine->end))
	{
		pg_write_barrier();
		pg_atomic_write_u32(&mine->end, place + 1);
	}
}

bool
tc_in_flight_is_empty(void)
{
	return my_count == 0;
}

void
tc_outcomes_recorded(void)
{
	ConditionVariableBroadcast(tc_outcomes_cv());
}

void
tc_outcomes_begin(void)
{
	nseen = -1;
	if (mine != NULL)
		pg_atomic_write_u32(&mine->recording, pg_atomic_read_u32(&mine->recording) | 1);
	pg_memory_barrier();
}

void
tc_outcomes_end(void)
{
	pg_memory_barrier();
	if (mine != NULL)
		end_recording();
}

static void
end_recording(void)
{
	uint32		recording = pg_atomic_read_u32(&mine->recording);

	pg_atomic_write_u32(&mine->recording, recording + recording % 2);
}

/* When the slot is given up nobody can see that something is recorded. */
bool
tc_outcome_is_awaited(int64 id)
{
	if (mine == NULL)
		return true;
	if (nseen < 0)
		see_awaited();
	for (int i = 0; i < nseen; i++)
		if (seen[i] == id)
			return true;
	return false;
}

/* Once in a transaction is enough: who begins to wait later waits for its end first. */
static void
see_awaited(void)
{
	if (seen == NULL)
		seen = MemoryContextAlloc(TopMemoryContext, tc_max_backends() * sizeof(int64));
	nseen = 0;
	for (int i = 0; i < tc_max_backends(); i++)
	{
		int64		id = (int64) pg_atomic_read_u64(&awaited[i]);

		if (id != 0)
			seen[nseen++] = id;
	}
}

/*---- for others ----*/

int
tc_in_flight_count(int slot)
{
	return pg_atomic_read_u32(&shared->slots[slot].count);
}

int64 *
tc_in_flight_ids(int slot, int *count)
{
	SlotInFlight *in_flight;
	int			end;
	int64	   *ids;

	*count = 0;
	if (slot < 0)
		return NULL;
	in_flight = &shared->slots[slot];
	end = pg_atomic_read_u32(&in_flight->end);
	pg_read_barrier();
	ids = palloc(sizeof(int64) * Max(end, 1));
	for (int i = 0; i < end; i++)
	{
		int64		id = pg_atomic_read_u64(&in_flight->ids[i]);

		if (id != 0)
			ids[(*count)++] = id;
	}
	return ids;
}

ConditionVariable *
tc_outcomes_cv(void)
{
	if (shared == NULL)
		return NULL;
	return &shared->outcomes[murmurhash32(MyDatabaseId) % OUTCOME_CVS].cv;
}

void
tc_outcome_await(int64 id)
{
	if (awaited == NULL)
		return;
	pg_atomic_write_u64(&awaited[tc_my_backend_number()], (uint64) id);
	pg_memory_barrier();
}

uint32
tc_outcomes_transaction(int slot)
{
	uint32		recording = shared == NULL || slot < 0 ? 0 :
		pg_atomic_read_u32(&shared->slots[slot].recording);

	return recording % 2 == 0 ? 0 : recording;
}
