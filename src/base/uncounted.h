/*-------------------------------------------------------------------------
 *
 * uncounted.h
 *	  What is read of others' rows, and must not be counted for who asks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_UNCOUNTED_H
#define TC_UNCOUNTED_H

#include "executor/instrument.h"

/* What had been counted before */
typedef struct CountsBefore
{
	BufferUsage buffers;
	WalUsage	wal;
	bool		of_tables;
} CountsBefore;

/*
 * Between the two EXPLAIN (BUFFERS, WAL) counts nothing, and if not
 * with_tables neither do pg_stat_xact_user_tables and its like: what is written
 * must be counted there, for autovacuum.  The second one must be called after
 * an error, too.
 */
extern void tc_uncounted_begin(CountsBefore *before, bool with_tables);
extern void tc_uncounted_end(const CountsBefore *before);

#endif							/* TC_UNCOUNTED_H */
