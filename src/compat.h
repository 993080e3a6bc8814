/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the versions of PostgreSQL, 14 to 19.
 *
 * Every test of PG_VERSION_NUM of the extension is in this file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_COMPAT_H
#define TC_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "commands/tablecmds.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "parser/analyze.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 140000
#error "temporal_complete needs PostgreSQL 14 or later"
#endif

#if PG_VERSION_NUM < 150000
#include "postmaster/autovacuum.h"
#include "replication/walsender.h"
#endif

#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#endif

#if PG_VERSION_NUM >= 170000
#include "storage/proc.h"
#else
#include "storage/backendid.h"
#endif

#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "varatt.h"
#endif

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

#if PG_VERSION_NUM >= 190000
#include "commands/sequence_xlog.h"
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* Before version 18 it stood after the declaration, and had another name. */
#ifndef pg_noreturn
#define pg_noreturn _Noreturn
#endif

#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/* Value of attgenerated since version 18 */
#define TC_GENERATED_VIRTUAL 'v'

#if PG_VERSION_NUM >= 180000
#define TC_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "temporal_complete", .version = TC_VERSION)
#else
#define TC_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* Shared memory is requested by a hook since version 15, in _PG_init before. */
#if PG_VERSION_NUM >= 150000
#define TC_HAS_SHMEM_REQUEST_HOOK
#endif

/* WAL record of a sequence, to begin with: which one. */
#if PG_VERSION_NUM >= 160000
#define TC_SEQUENCE_RECORD(rel) {.locator = (rel)->rd_locator}
#else
#define TC_SEQUENCE_RECORD(rel) {.node = (rel)->rd_node}
#endif

/* The arguments of a signal handler, to pass on. */
#if PG_VERSION_NUM >= 190000
#define TC_SIGNAL_ARGUMENTS postgres_signal_arg, pg_siginfo
#else
#define TC_SIGNAL_ARGUMENTS postgres_signal_arg
#endif

/* What a hook is given of a query's normalization: not its own to change since version 19. */
#if PG_VERSION_NUM >= 190000
typedef const JumbleState TcJumbleState;
#else
typedef JumbleState TcJumbleState;
#endif

/* A wait event of our own; look it up once and keep it. */
static inline uint32
tc_wait_event_new(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* A set of events to wait for that lives as long as the process. */
static inline WaitEventSet *
tc_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/* Memory for what a check hook of a setting notes; NULL if there is none. */
static inline void *
tc_guc_malloc(size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(LOG, size);
#else
	return malloc(size);
#endif
}

/* A random number from 0 on and below 1, on which no security depends. */
static inline double
tc_random_fraction(void)
{
#if PG_VERSION_NUM >= 150000
	return pg_prng_double(&pg_global_prng_state);
#else
	return random() / ((double) MAX_RANDOM_VALUE + 1);
#endif
}

/* A jsonb that is built bit by bit; all zeros to begin with. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState TcJsonbInState;
#else
typedef struct TcJsonbInState
{
	JsonbValue *result;			/* what is complete */
	JsonbParseState *parseState;
} TcJsonbInState;
#endif

static inline void
tc_push_jsonb_value(TcJsonbInState *state, JsonbIteratorToken token, JsonbValue *value)
{
#if PG_VERSION_NUM >= 190000
	pushJsonbValue(state, token, value);
#else
	state->result = pushJsonbValue(&state->parseState, token, value);
#endif
}

/* Is the role an owner of the database? */
static inline bool
tc_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* May the role use the foreign server? */
static inline AclResult
tc_server_aclcheck(Oid serverid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, role, ACL_USAGE);
#else
	return pg_foreign_server_aclcheck(serverid, role, ACL_USAGE);
#endif
}

/* Begin a scan of an index without order by operators. */
static inline IndexScanDesc
tc_index_beginscan(Relation rel, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/* Delete a row, unless another transaction is changing it. */
static inline TM_Result
tc_table_tuple_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot,
					  TM_FailureData *failure)
{
#if PG_VERSION_NUM >= 190000
	return table_tuple_delete(rel, tid, cid, 0, snapshot, InvalidSnapshot, false, failure);
#else
	return table_tuple_delete(rel, tid, cid, snapshot, InvalidSnapshot, false, failure, false);
#endif
}

/* A path that scans a foreign table. */
static inline ForeignPath *
tc_create_foreignscan_path(PlannerInfo *root, RelOptInfo *rel, double rows,
						   Cost startup_cost, Cost total_cost, List *pathkeys,
						   Relids required_outer, List *fdw_private)
{
#if PG_VERSION_NUM >= 180000
	return create_foreignscan_path(root, rel, NULL, rows, 0, startup_cost, total_cost,
								   pathkeys, required_outer, NULL, NIL, fdw_private);
#elif PG_VERSION_NUM >= 170000
	return create_foreignscan_path(root, rel, NULL, rows, startup_cost, total_cost,
								   pathkeys, required_outer, NULL, NIL, fdw_private);
#else
	return create_foreignscan_path(root, rel, NULL, rows, startup_cost, total_cost,
								   pathkeys, required_outer, NULL, fdw_private);
#endif
}

/* Does it say that the largest come first? */
static inline bool
tc_pathkey_is_descending(PathKey *key)
{
#if PG_VERSION_NUM >= 180000
	return key->pk_cmptype == COMPARE_GT;
#else
	return key->pk_strategy == BTGreaterStrategyNumber;
#endif
}

/* Is that JSON?  Raises an error only where it is nested too deeply. */
static inline bool
tc_json_is_valid(char *json, int len, int encoding)
{
#if PG_VERSION_NUM >= 170000
	JsonLexContext *lex = makeJsonLexContextCstringLen(NULL, json, len, encoding, false);
	bool		valid = pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;

	freeJsonLexContext(lex);
	return valid;
#else
	return pg_parse_json(makeJsonLexContextCstringLen(json, len, encoding, false),
						 &nullSemAction) == JSON_SUCCESS;
#endif
}

/* The timeline that is written to. */
static inline TimeLineID
tc_timeline(void)
{
#if PG_VERSION_NUM >= 150000
	return GetWALInsertionTimeLine();
#else
	(void) RecoveryInProgress();	/* sets it */
	return ThisTimeLineID;
#endif
}

/* Have the executor know of one relation. */
static inline void
tc_init_range_table(EState *estate, RangeTblEntry *entry)
{
#if PG_VERSION_NUM >= 180000
	List	   *permissions = NIL;

	addRTEPermissionInfo(&permissions, entry);
	ExecInitRangeTable(estate, list_make1(entry), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;

	addRTEPermissionInfo(&permissions, entry);
	ExecInitRangeTable(estate, list_make1(entry), permissions);
#else
	ExecInitRangeTable(estate, list_make1(entry));
#endif
}

/* What an update by the executor needs to look at rows that changed meanwhile. */
static inline void
tc_eval_plan_qual_init(EPQState *epq, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(epq, estate, NULL, NIL, -1);
#endif
}

/* Truncate a table that is open and locked. */
static inline void
tc_truncate(Relation rel)
{
	List	   *logged = RelationIsLogicallyLogged(rel) ? list_make1_oid(RelationGetRelid(rel)) : NIL;

#if PG_VERSION_NUM >= 160000
	ExecuteTruncateGuts(list_make1(rel), list_make1_oid(RelationGetRelid(rel)), logged,
						DROP_RESTRICT, false, false);
#else
	ExecuteTruncateGuts(list_make1(rel), list_make1_oid(RelationGetRelid(rel)), logged,
						DROP_RESTRICT, false);
#endif
}

/* All settings of this process; *count of them. */
static inline struct config_generic **
tc_guc_variables(int *count)
{
#if PG_VERSION_NUM >= 160000
	return get_guc_variables(count);
#else
	*count = GetNumConfigOptions();
	return get_guc_variables();
#endif
}

/* The latest transaction id that has completed; needs no transaction. */
static inline uint64
tc_latest_completed_xid(void)
{
	FullTransactionId xid;

	LWLockAcquire(ProcArrayLock, LW_SHARED);
#if PG_VERSION_NUM >= 170000
	xid = TransamVariables->latestCompletedXid;
#else
	xid = ShmemVariableCache->latestCompletedXid;
#endif
	LWLockRelease(ProcArrayLock);
	return U64FromFullTransactionId(xid);
}

/* How many processes with transactions there can be; for requesting shared memory, too. */
static inline int
tc_max_backends(void)
{
#if PG_VERSION_NUM >= 150000
	return MaxBackends;
#else
	return MaxConnections + autovacuum_max_workers + 1 + max_worker_processes + max_wal_senders;
#endif
}

/* The number of this process among them, from 0 on. */
static inline int
tc_my_backend_number(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyBackendId - 1;
#endif
}

/*
 * End the session if its client is gone: nobody needs what it waits for, and
 * what it holds is in others' way.  libpq/libpq.h cannot be included where the
 * headers of GSSAPI are missing that it needs.
 */
extern bool pq_check_connection(void);

static inline void
tc_check_client(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
		ereport(FATAL,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to client lost")));
}

#endif							/* TC_COMPAT_H */
