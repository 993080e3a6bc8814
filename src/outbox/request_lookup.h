/*-------------------------------------------------------------------------
 *
 * request_lookup.h
 *	  What of a query on temporal.request is passed down to the scan.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_LOOKUP_H
#define TC_REQUEST_LOOKUP_H

#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"

/* Columns of the foreign table temporal_internal.visible_request, in its order */
typedef enum RequestAttr
{
	REQUEST_ID = 1,
	REQUEST_SERVER,
	REQUEST_NAMESPACE,
	REQUEST_VERB,
	REQUEST_WORKFLOW_ID,
	REQUEST_RUN_ID,
	REQUEST_ACTIVITY_ID,
	REQUEST_REQUESTED_BY,
	REQUEST_REQUESTED_AT,
	REQUEST_STATE,
	REQUEST_ATTEMPTS,
	REQUEST_NEXT_ATTEMPT_AT,
	REQUEST_ERROR_CODE,
	REQUEST_ERROR_MESSAGE,
	REQUEST_FINISHED_AT,
	REQUEST_CANCEL_REQUESTED,
	REQUEST_ACTIVITY_PAUSED,
	REQUEST_ACTIVITY_RESET,
	REQUEST_DECISIONS,
	REQUEST_KEY,
	REQUEST_EXPIRES_AT,
	REQUEST_EARLIER_HEARTBEATS,
	REQUEST_NATTS = REQUEST_EARLIER_HEARTBEATS
} RequestAttr;

/* Values that a column has to be equal to, or to be compared with */
typedef enum LookupValue
{
	LOOKUP_ID,
	LOOKUP_IDS,					/* an array */
	LOOKUP_WORKFLOW,
	LOOKUP_WORKFLOWS,			/* an array */
	LOOKUP_FINISHED_FROM,
	LOOKUP_FINISHED_TO,
	LOOKUP_VALUES
} LookupValue;

/* States of requests, as far as they say where a request stands; a set of them is an int */
#define STATE_UNFINISHED 0x01	/* whatever the state is called */
#define STATE_DELIVERED 0x02
#define STATE_SUPERSEDED 0x04
#define STATE_REJECTED 0x08
#define STATE_UNCONFIRMED 0x10
#define STATES_WRONG (STATE_REJECTED | STATE_UNCONFIRMED)
#define STATES_FINISHED (STATE_DELIVERED | STATE_SUPERSEDED | STATES_WRONG)
#define STATES_ALL (STATE_UNFINISHED | STATES_FINISHED)

/* What conditions say */
typedef struct Lookup
{
	int			states;			/* that are possible */
	Expr	   *values[LOOKUP_VALUES];	/* NULL: no such condition */
} Lookup;

/*---- request_lookup.c ----*/

/*
 * Find what of these conditions can be passed down.  That selects no less
 * than they do together, and is told by comparisons of PostgreSQL's own alone,
 * with values that can be computed before the scan.
 */
extern void tc_lookup_find(PlannerInfo *root, RelOptInfo *rel, List *clauses, Lookup *lookup);

/* Are they few requests, found by their ids, or of few workflows? */
extern bool tc_lookup_is_narrow(const Lookup *lookup);

/*---- request_statement.c ----*/

/* The statement that is run for a scan */
typedef struct RequestStatement
{
	int			states;
	bool		newest_first;
	Oid			types[LOOKUP_VALUES];	/* of the values; InvalidOid: not
										 * given */
	int			nwanted;
	int			wanted[REQUEST_NATTS];	/* attribute numbers, as they are
										 * selected */
} RequestStatement;

/*
 * Its parameters, from 0 on: who reads, whether he sees all, if the newest
 * come first the least and the greatest id, and the values.
 */
#define PARAM_READER 0
#define PARAM_SEES_ALL 1
#define PARAM_LEAST_ID 2
#define PARAM_GREATEST_ID 3
#define PARAM_VALUES 4
#define STATEMENT_PARAMS (PARAM_VALUES + LOOKUP_VALUES)

/* Types of its parameters */
extern void tc_statement_param_types(const RequestStatement *statement, Oid types[STATEMENT_PARAMS]);

/*
 * Plan it, for the schema that the tables are in; the plan is of the current memory
 * context.  To be called as the owner of the extension (tc_owner_enter()).  The
 * columns of a look-up become all of them.
 */
extern PlannedStmt *tc_statement_plan(RequestStatement *statement, Oid schema);

#endif							/* TC_REQUEST_LOOKUP_H */
