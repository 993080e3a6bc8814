/*-------------------------------------------------------------------------
 *
 * session_life.c
 *	  Which sessions live.
 *
 * A session that is asked for its number draws one at random, and puts it into
 * its place in shared memory until it ends.  After a crash of any process, or a
 * restart, all places are empty: then no session of before lives.  Process ids
 * come again, these numbers do not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "compat.h"
#include "process/session_life.h"

/* The place is the end of the number; backends have numbers below that */
#define PLACE_BITS 20
#define PLACE_MASK ((INT64CONST(1) << PLACE_BITS) - 1)

static pg_atomic_uint64 *places = NULL; /* 0 = no session that has a number */
static int	nplaces;

/* Of this session; 0 = it has none yet */
static int64 number = 0;

/* The transaction has told it to others */
static bool told = false;

static void transaction_callback(XactEvent event, void *arg);
static void leave(int code, Datum arg);

Size
tc_session_life_size(void)
{
	return MAXALIGN(mul_size(tc_max_backends(), sizeof(pg_atomic_uint64)));
}

void
tc_session_life_startup(void)
{
	bool		found;

	nplaces = tc_max_backends();
	places = ShmemInitStruct("temporal_complete sessions", tc_session_life_size(), &found);
	if (!found)
		for (int i = 0; i < nplaces; i++)
			pg_atomic_init_u64(&places[i], 0);
}

int64
tc_session_number(void)
{
	int			place = tc_my_backend_number();

	if (places == NULL || place >= nplaces)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("temporal_complete is not loaded by the server, so nobody knows which sessions live"),
				 errhint("Add temporal_complete to shared_preload_libraries and restart the server.")));
	if (number == 0)
	{
		int64		drawn;

		do
		{
			if (!pg_strong_random(&drawn, sizeof(drawn)))
				ereport(ERROR,
						(errcode(ERRCODE_INTERNAL_ERROR),
						 errmsg("could not generate a random number")));
			drawn &= PG_INT64_MAX & ~PLACE_MASK;
		} while (drawn == 0);
		RegisterXactCallback(transaction_callback, NULL);
		before_shmem_exit(leave, (Datum) 0);
		number = drawn | place;
		pg_atomic_write_u64(&places[place], (uint64) number);
	}
	told = true;
	return number;
}

bool
tc_session_lives(int64 session)
{
	int64		place = session & PLACE_MASK;

	return places != NULL && place < nplaces &&
		pg_atomic_read_u64(&places[place]) == (uint64) session;
}

/* Whoever commits it later may do so when the session is long gone. */
static void
transaction_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && told)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has recorded an activity with while_session")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		told = false;
}

static void
leave(int code, Datum arg)
{
	pg_atomic_write_u64(&places[number & PLACE_MASK], 0);
}
