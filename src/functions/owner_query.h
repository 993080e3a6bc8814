/*-------------------------------------------------------------------------
 *
 * owner_query.h
 *	  Running statements on the tables of the extension, for who has no
 *	  privilege on them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_OWNER_QUERY_H
#define TC_OWNER_QUERY_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "fmgr.h"

/* Takes a row of a result */
typedef void (*ResultRow) (HeapTuple tuple, TupleDesc desc, void *arg);

/*
 * Run a statement as the owner of the extension.  What the caller may do has to
 * be part of the statement, which must name everything by its schema.  Returns
 * the number of rows, each of which is given to `take` if there is one.
 */
extern uint64 tc_run_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls,
							  ResultRow take, void *arg);

/* The same for one that only reads, which is then not counted in the statistics of tables either. */
extern uint64 tc_read_as_owner(const char *query, int nargs, Oid *types, Datum *values, const char *nulls,
							   ResultRow take, void *arg);

/* The same for a function that returns a set: the rows of the statement are its result. */
extern void tc_return_as_owner(FunctionCallInfo fcinfo, const char *query, int nargs, Oid *types,
							   Datum *values, const char *nulls);

#endif							/* TC_OWNER_QUERY_H */
