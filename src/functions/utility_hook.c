/*-------------------------------------------------------------------------
 *
 * utility_hook.c
 *	  Statements that concern the workers.
 *
 * COMMIT PREPARED wakes the worker, because the transaction was prepared in
 * a session that may be gone.  DROP DATABASE, ALTER DATABASE ... RENAME,
 * ALTER DATABASE ... SET TABLESPACE and CREATE DATABASE ... TEMPLATE need a
 * database without sessions, so its worker is asked to leave before, and
 * none comes back until the transaction ends.  The OID of a database is chosen
 * by nobody but superusers.  The end of the extension is told to the worker,
 * and GRANT and its like.
 *
 * Runs for every utility statement of the cluster: whatever does not concern
 * us costs no more than a look at the node's tag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "foreign/foreign.h"
#include "nodes/parsenodes.h"
#include "replication/logicalworker.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "compat.h"
#include "functions/utility_hook.h"
#include "outbox/outbox.h"
#include "process/wakeup.h"
#include "process/worker_slots.h"
#include "server/mapping_check.h"
#include "server/secrets.h"

/* So many requests are counted for a server that is dropped */
#define WAITING_COUNT_MAX 10000

/* How long a statement waits for a worker to leave, before it finds out itself */
#define EVICT_TIMEOUT_MS 5000

static ProcessUtility_hook_type prev_process_utility = NULL;
static object_access_hook_type prev_object_access = NULL;

static void process_utility(PlannedStmt *pstmt, const char *query_string,
							bool read_only_tree, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *query_env,
							DestReceiver *dest, QueryCompletion *qc);
static void object_access(ObjectAccessType access, Oid classId, Oid objectId,
						  int subId, void *arg);
static bool changes_rights(NodeTag tag);
static void check_may_choose_oid(CreatedbStmt *stmt);
static void warn_of_waiting_requests(Oid server);
static void before_commit(XactEvent event, void *arg);
static bool may_have_requests(void);
static const char *database_to_empty(Node *stmt);
static void empty_database(const char *name, bool as_owner, bool needs_createdb);
static bool may_create_databases(void);
static bool is_template(Oid database);

void
tc_utility_hook_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
	tc_secrets_init();
	/* of all processes: the postmaster's children have it, too */
	RegisterXactCallback(before_commit, NULL);
}

static void
process_utility(PlannedStmt *pstmt, const char *query_string,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *query_env,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;
	NodeTag		tag = nodeTag(stmt);
	bool		commit_prepared = false;
	static const Wake look = {.look = true};
	SecretStatement secret;
	MappingStatement mapping;

	if (tag == T_CreatedbStmt)
		check_may_choose_oid((CreatedbStmt *) stmt);

	/* The statement's node may be gone or changed once it has been run. */
	switch (tag)
	{
		case T_TransactionStmt:
			commit_prepared =
				((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
			break;
		case T_DropdbStmt:
		case T_RenameStmt:
		case T_AlterDatabaseStmt:
		case T_CreatedbStmt:
			{
				const char *database = database_to_empty(stmt);

				/* all but RENAME are refused in a transaction block */
				if (database != NULL &&
					(tag == T_RenameStmt ||
					 !IsInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL)))
					empty_database(database, tag != T_CreatedbStmt,
								   tag == T_CreatedbStmt || tag == T_RenameStmt);
			}
			break;
		default:
			break;
	}

	tc_secrets_begin(&secret, stmt);
	tc_mapping_check_begin(&mapping, stmt);
	if (prev_process_utility)
		prev_process_utility(pstmt, query_string, read_only_tree, context,
							 params, query_env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context,
								params, query_env, dest, qc);
	tc_mapping_check_end(&mapping);
	tc_secrets_end(&secret);

	if (changes_rights(tag))
		tc_look_at_options_at_commit();
	if (commit_prepared && may_have_requests())
		tc_wake_worker(MyDatabaseId, &look);
}

/*
 * A worker of logical replication commits what was prepared without a
 * statement.  Its own transaction around that has no id, which is rare
 * otherwise.
 */
static void
before_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && IsLogicalWorker() && max_prepared_xacts > 0 &&
		OidIsValid(MyDatabaseId) && !TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		may_have_requests())
		tc_look_at_commit();
}

/*
 * Nobody knows whether a prepared transaction made requests.  A database
 * without a worker gets one only if it has the extension.
 */
static bool
may_have_requests(void)
{
	return tc_has_worker(MyDatabaseId) ||
		OidIsValid(get_extension_oid("temporal_complete", true));
}

/*
 * May the statement give rights that somebody's requests wait for?  Those that
 * are taken the worker notices before it sends anything.
 */
static bool
changes_rights(NodeTag tag)
{
	switch (tag)
	{
		case T_GrantStmt:
		case T_GrantRoleStmt:
		case T_AlterRoleStmt:
		case T_AlterOwnerStmt:
		case T_ReassignOwnedStmt:
			return true;
		default:
			return false;
	}
}

/*
 * DROP SERVER goes through, as for other things that are not in the catalogs,
 * but whoever does it should know.
 */
static void
warn_of_waiting_requests(Oid server)
{
	char	   *name;
	int			count = tc_outbox_count_for_server(server, WAITING_COUNT_MAX, &name);

	if (count == 0)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 count < WAITING_COUNT_MAX ?
			 errmsg_plural("%d request waits for server \"%s\"", "%d requests wait for server \"%s\"",
						   count, count, GetForeignServer(server)->servername) :
			 errmsg("%d requests or more wait for server \"%s\"", count,
					GetForeignServer(server)->servername),
			 errdetail("What waits for it goes to no other server, whatever that is called."),
			 errhint("To send them to another one, call temporal.rebind_server(%s, ...); to give them up, temporal.discard_requests(%s).",
					 quote_literal_cstr(name), quote_literal_cstr(name))));
}

/*
 * By its OID a database knows which requests were made in it, so nobody may
 * give a copy the OID of an original that is gone.  The option is there for
 * pg_upgrade.
 */
static void
check_may_choose_oid(CreatedbStmt *stmt)
{
	ListCell   *lc;

	if (superuser())
		return;
	foreach(lc, stmt->options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "oid") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to choose the OID of a database"),
					 errdetail("With temporal_complete loaded only superusers may: a copy with the OID of its original would send what waited there."),
					 errhint("Leave out the option OID.")));
	}
}

/* Name of the database that must have no sessions for the statement, or NULL */
static const char *
database_to_empty(Node *stmt)
{
	ListCell   *lc;

	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) stmt)->dbname;

		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) stmt)->subname;
			return NULL;

		case T_AlterDatabaseStmt:
			foreach(lc, ((AlterDatabaseStmt *) stmt)->options)
			{
				if (strcmp(lfirst_node(DefElem, lc)->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) stmt)->dbname;
			}
			return NULL;

		case T_CreatedbStmt:
			foreach(lc, ((CreatedbStmt *) stmt)->options)
			{
				DefElem    *option = lfirst_node(DefElem, lc);

				if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
					return defGetString(option);
			}
			return "template1";

		default:
			return NULL;
	}
}

/*
 * Have the worker leave a database, if the user may do what needs it.  The
 * statement checks everything itself; here it only matters that nobody can
 * disturb the worker of a database that is not theirs, or in which they could
 * not do that anyway.
 */
static void
empty_database(const char *name, bool as_owner, bool needs_createdb)
{
	Oid			database = get_database_oid(name, true);

	if (!OidIsValid(database) || (needs_createdb && !may_create_databases()))
		return;
	if (tc_owns_database(database, GetUserId()))
		tc_bar_database_in_transaction(database);
	else if (as_owner || !is_template(database))
		return;

	/* a template gets no worker; it may have one from before it was one */
	tc_evict_worker(database, EVICT_TIMEOUT_MS);
}

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		result;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return result;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * A database that comes into being, or changes, is looked at when that is
 * committed: its template may have had the extension.  An extension that is
 * dropped, by whatever statement, ends its worker.  Options of connections
 * that are given wake the worker from their validator; here it is told of
 * servers and user mappings that are dropped or renamed.
 */
static void
object_access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, classId, objectId, subId, arg);

	if ((access == OAT_POST_CREATE || access == OAT_POST_ALTER) &&
		classId == UserMappingRelationId)
		tc_mapping_written(objectId);

	if ((access == OAT_POST_CREATE || access == OAT_POST_ALTER) &&
		classId == DatabaseRelationId)
		tc_look_again_at_commit(objectId);
	else if ((access == OAT_DROP || access == OAT_POST_ALTER) &&
			 (classId == ForeignServerRelationId || classId == UserMappingRelationId))
	{
		tc_look_at_options_at_commit();
		if (access == OAT_DROP && classId == ForeignServerRelationId)
			warn_of_waiting_requests(objectId);
	}
	else if (access == OAT_DROP && classId == ExtensionRelationId)
	{
		char	   *name = get_extension_name(objectId);

		if (name != NULL && strcmp(name, "temporal_complete") == 0)
			tc_wake_all_at_commit();
	}
}
