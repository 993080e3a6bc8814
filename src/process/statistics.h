/*-------------------------------------------------------------------------
 *
 * statistics.h
 *	  Shared memory of the statistics: what workers have counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_STATISTICS_H
#define TC_STATISTICS_H

#include "datatype/timestamp.h"

/* An entry that is none */
#define TC_STAT_NONE (-1)

/* Names and messages are cut to that; both with the zero at the end */
#define TC_STAT_NAME 256
#define TC_STAT_CODE 32

/* Upper bounds of the classes of latencies, in microseconds; what is above the last is a class, too */
#define TC_STAT_BOUNDS 14
extern const int64 tc_stat_bounds[TC_STAT_BOUNDS];

/* What is counted; all of it since stats_reset */
typedef struct StatCounters
{
	int64		calls;
	int64		delivered;
	int64		rejected;
	int64		unconfirmed;
	int64		expired;		/* of those that were rejected or are
								 * unconfirmed */
	int64		heartbeats;		/* of all of these */
	int64		background_heartbeats;	/* sent for recorded activities; of
										 * none of these */
	int64		discarded;		/* by somebody: while they waited, or when
								 * they had been rejected */
	int64		superseded;		/* of none of these */
	int64		heartbeats_not_kept;	/* of heartbeats and those superseded:
										 * only counted, since a later one
										 * ended */
	int64		retries;
	int64		ambiguous;
	int64		bytes;
	int64		delivery_us;	/* of all that was delivered: from the verb to
								 * the answer */
	int64		latencies[TC_STAT_BOUNDS + 1];	/* the same, by class */
} StatCounters;

/* When something was last; 0 = never */
typedef struct StatTimes
{
	TimestampTz call;
	TimestampTz delivered;
	TimestampTz error;
	char		error_code[TC_STAT_CODE];
	char		error_message[TC_STAT_NAME];	/* UTF-8 as it came */
} StatTimes;

/* States of requests that wait, as temporal.request has them */
typedef enum StatState
{
	STAT_QUEUED,
	STAT_RETRYING,
	STAT_CONFIRMING,
	STAT_WAITING
} StatState;

#define STAT_STATES (STAT_WAITING + 1)

/* Places for states and codes of what waits; the last STAT_STATES are for such as have no code, or find no room */
#define TC_STAT_WAITING 12

typedef struct StatWaiting
{
	int64		requests;		/* 0 = this place and those behind it are free */
	StatState	state;
	char		code[TC_STAT_CODE]; /* empty = none */
} StatWaiting;

/* What is so now, or was when the worker looked last, which it does once a second */
typedef struct StatGauges
{
	int64		backlog;		/* requests that wait, also those that were
								 * not read yet */
	StatWaiting waiting[TC_STAT_WAITING];	/* the same by state and code */
	int64		in_flight;
	int64		max_requests_per_second;	/* 0 = any number, or not known */
	bool		rate_limited;	/* requests wait because of that */
	TimestampTz oldest_request_at;	/* 0 = none waits */
	bool		connected;
	TimestampTz server_certificate_expires_at;	/* 0 = not known */
	TimestampTz client_certificate_expires_at;
	TimestampTz api_key_expires_at;
	bool		clock_known;	/* what time it is at the server; and then */
	int64		clock_ahead;	/* by how many seconds it is later there */
	TimestampTz error_since;	/* why nothing is sent; 0 = nothing is wrong */
	char		error_code[TC_STAT_CODE];
	char		error_message[TC_STAT_NAME];	/* UTF-8 as it came */
} StatGauges;

/* Whose entry it is */
typedef struct StatKey
{
	Oid			database;
	Oid			role;			/* InvalidOid: all that found no room */
	Oid			server;
	uint64		namespace_hash;
} StatKey;

/* A copy of an entry */
typedef struct StatView
{
	StatKey		key;
	char		namespace_name[TC_STAT_NAME];	/* in the encoding of the
												 * database */
	TimestampTz reset_at;
	StatCounters counters;
	StatTimes	times;
	StatGauges	gauges;
} StatView;

/* What is known of a worker beside its slot */
typedef struct StatWorker
{
	TimestampTz started_at;
	int64		queues;
	int64		requests;		/* in memory */
} StatWorker;

/*
 * For _PG_init's hooks: request is called where shared memory is requested,
 * startup with AddinShmemInitLock held.
 */
extern void tc_statistics_request(void);
extern void tc_statistics_startup(void);

/* The launcher has started: nothing was sent from here before it did so first. */
extern void tc_statistics_begin(void);

/*---- for the worker, and sessions that discard requests ----*/

/*
 * The entry for requests of a role to a namespace of a server in this
 * database.  Where there is no room: that for all of the database that found
 * none; TC_STAT_NONE if not even that has.
 */
extern int	tc_stat_entry(Oid role, Oid server, const char *namespace_name);

/* Did somebody find no room since this was asked last? */
extern bool tc_stat_lacks_room(void);

/*
 * Free what nobody needs any more; the caller says of each key whether it does.
 * Entries of this database and of databases that are gone only.
 */
extern void tc_stat_sweep(bool (*needed) (const StatKey *key));

/* Add to what is counted, and take over times that are not 0.  Cannot fail. */
extern void tc_stat_add(int entry, const StatCounters *counters, const StatTimes *times);

/* The same for requests that were discarded, unless the entry is another one's by now.  Cannot fail. */
extern void tc_stat_add_discarded(int entry, const StatKey *key, int64 requests);

/* Nothing is known of what is so now in this database. */
extern void tc_stat_clear_gauges(void);

/* Say what is so now. */
extern void tc_stat_set_gauges(int entry, const StatGauges *gauges);
extern void tc_stat_set_worker(int slot, const StatWorker *worker);

/*---- for others; nothing is there if the library is not preloaded ----*/

extern int	tc_stat_entries(void);

/* Copy an entry of this database; false if it is none. */
extern bool tc_stat_view(int entry, StatView *view);
extern void tc_stat_worker(int slot, StatWorker *worker);

/* Begin to count anew for a server of this database; InvalidOid: for all. */
extern void tc_stat_reset(Oid server);

#endif							/* TC_STATISTICS_H */
