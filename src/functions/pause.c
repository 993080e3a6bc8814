/*-------------------------------------------------------------------------
 *
 * pause.c
 *	  SQL functions pause() and resume(), and what is shown of pauses.
 *
 * A pause is a row of temporal_internal.queue_pause, and a message about a catalog, as
 * if what it concerns had been altered: by that the worker learns of it, and
 * looks before it sends anything else (worker/option_changes.c).  Both come
 * with the commit of the transaction, or not at all.
 *
 * Anybody may pause what he asked for, so nobody shall keep others busy by
 * that: of a pause of one role only the queues of this role and server are
 * told, and of each role there is a bounded number.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "functions/arguments.h"
#include "functions/repair.h"
#include "process/wakeup.h"
#include "request/request.h"
#include "server/default_server.h"
#include "server/server.h"

/* Pauses of a role, other than those by operators */
#define PAUSES_MAX 100

/* What is to be paused, or no longer */
typedef struct PauseTarget
{
	Oid			role;			/* InvalidOid = all */
	Oid			server;
	Datum		namespace_name; /* text */
	bool		any_namespace;
	bool		by_operator;
} PauseTarget;

/* Of statements: $1 role, $2 server, $3 namespace, $4 by an operator */
#define NTARGET 4

/* Nobody waits here for somebody who does the same. */
static const char clear_dropped_roles[] =
"DELETE FROM temporal_internal.queue_pause d USING"
" (SELECT p.ctid FROM temporal_internal.queue_pause p"
"   WHERE temporal_internal.made_here(p.system_identifier, p.database) AND p.requested_by <> 0"
"     AND temporal_internal.role_here(p.system_identifier, p.requested_by, p.requested_by_name) IS NULL"
"     FOR UPDATE SKIP LOCKED) g"
" WHERE d.ctid = g.ctid";

static const char clear_dropped_servers[] =
"DELETE FROM temporal_internal.queue_pause p"
" WHERE p.requested_by = $1 AND temporal_internal.made_here(p.system_identifier, p.database)"
"   AND temporal_internal.server_here(true, p.server, p.server_name) IS NULL";

static const char find_others[] =
"SELECT FROM temporal_internal.queue_pause p WHERE p.requested_by = $1 AND NOT p.by_operator LIMIT $5";

#define SAME \
	"p.requested_by = $1 AND p.server = $2 AND temporal_internal.made_here(p.system_identifier, p.database)"

static const char insert_pause[] =
"INSERT INTO temporal_internal.queue_pause (system_identifier, database, requested_by, server, requested_by_name,"
"     server_name, by_operator, paused_at, paused_by, namespace)"
" SELECT $5, $6, $1, $2, $7, $8, $4, now(), $9, $3"
"  WHERE NOT EXISTS (SELECT FROM temporal_internal.queue_pause p WHERE " SAME
"     AND p.namespace IS NOT DISTINCT FROM $3 AND p.by_operator = $4)";

static const char delete_pauses[] =
"DELETE FROM temporal_internal.queue_pause p WHERE " SAME
" AND ($3 IS NULL OR p.namespace = $3) AND ($4 OR NOT p.by_operator)";

static PauseTarget get_target(FunctionCallInfo fcinfo, Oid server);
static Oid	get_role(FunctionCallInfo fcinfo, bool by_operator);
static void lock_pauses(Oid role);
static void check_number(const PauseTarget *target);
static uint64 run(const char *query, const PauseTarget *target, int nfurther, const Oid *types, const Datum *further);
static void look_again(Oid role, Oid server);
static void invalidate_server(Oid server);
static void invalidate_mapping(Oid role, Oid server);

PG_FUNCTION_INFO_V1(tc_pause);
PG_FUNCTION_INFO_V1(tc_resume);
PG_FUNCTION_INFO_V1(tc_visible_pauses);

/* Arguments of both */
enum
{
	ARG_PAUSED_SERVER,
	ARG_PAUSED_NAMESPACE,
	ARG_REQUESTED_BY
};

/* SQL: pause(server text, namespace text, requested_by text) returns boolean */
Datum
tc_pause(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT8OID, OIDOID, TEXTOID, TEXTOID, TEXTOID};
	char	   *namespace_name = ARG_CSTRING(ARG_PAUSED_NAMESPACE);
	Datum		further[lengthof(types)];
	PauseTarget target;

	tc_repair_prevent_read_only("pause()");
	target = get_target(fcinfo, tc_server_for_caller(ARG_CSTRING(ARG_PAUSED_SERVER), namespace_name).serverid);
	if (namespace_name != NULL && tc_namespace_problem(namespace_name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot pause requests: %s", tc_namespace_problem(namespace_name))));
	lock_pauses(target.role);
	if (!target.by_operator)
		check_number(&target);

	further[0] = Int64GetDatum((int64) GetSystemIdentifier());
	further[1] = ObjectIdGetDatum(MyDatabaseId);
	further[2] = CStringGetTextDatum(OidIsValid(target.role) ? GetUserNameFromId(target.role, false) : "");
	further[3] = CStringGetTextDatum(GetForeignServer(target.server)->servername);
	further[4] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	if (run(insert_pause, &target, lengthof(types), types, further) == 0)
		PG_RETURN_BOOL(false);
	look_again(target.role, target.server);
	PG_RETURN_BOOL(true);
}

/*
 * SQL: resume(server text, namespace text, requested_by text) returns boolean
 *
 * Needs no right to use the server, which may have been revoked meanwhile.
 */
Datum
tc_resume(PG_FUNCTION_ARGS)
{
	char	   *name = ARG_CSTRING(ARG_PAUSED_SERVER);
	Oid			server;
	PauseTarget target;

	tc_repair_prevent_read_only("resume()");
	if (name == NULL)
		name = pstrdup(tc_default_server());
	server = tc_server_of_name(name);
	if (!OidIsValid(server))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist, or is not a server of Temporal", name)));
	target = get_target(fcinfo, server);
	lock_pauses(target.role);
	if (run(delete_pauses, &target, 0, NULL, NULL) == 0)
		PG_RETURN_BOOL(false);
	look_again(target.role, target.server);
	/* the worker may have had to leave */
	tc_look_at_commit();
	tc_warn_if_nothing_is_sent();
	PG_RETURN_BOOL(true);
}

/*
 * SQL: visible_pauses() returns setof record
 *
 * Those of roles whose privileges the caller has, and those of all roles, which
 * concern him, too.
 */
Datum
tc_visible_pauses(PG_FUNCTION_ARGS)
{
	Oid			types[] = {OIDOID, BOOLOID};
	Datum		values[] = {
		ObjectIdGetDatum(GetUserId()),
		BoolGetDatum(has_privs_of_role(GetUserId(), ROLE_PG_MONITOR))
	};

	tc_return_as_owner(fcinfo,
					   "SELECT p.server, p.namespace, p.requested_by, p.paused_at, p.paused_by, p.by_operator, p.held"
					   "  FROM temporal_internal.every_pause p"
					   " WHERE p.requested_by IS NULL OR $2 OR pg_has_role($1, p.role, 'USAGE')",
					   lengthof(types), types, values, NULL);
	return (Datum) 0;
}

static PauseTarget
get_target(FunctionCallInfo fcinfo, Oid server)
{
	PauseTarget target;

	target.by_operator = has_privs_of_role(GetUserId(), tc_extension_owner());
	target.role = get_role(fcinfo, target.by_operator);
	target.server = server;
	target.any_namespace = PG_ARGISNULL(ARG_PAUSED_NAMESPACE);
	target.namespace_name = PG_GETARG_DATUM(ARG_PAUSED_NAMESPACE);
	return target;
}

/* Whose requests: those of the named role; or if none is, of all for an operator, of the caller for others. */
static Oid
get_role(FunctionCallInfo fcinfo, bool by_operator)
{
	char	   *name = ARG_CSTRING(ARG_REQUESTED_BY);
	Oid			role;

	if (name == NULL)
		return by_operator ? InvalidOid : GetUserId();
	role = get_role_oid(name, false);
	if (!has_privs_of_role(GetUserId(), role) && !by_operator)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to pause or resume requests of role \"%s\"", name),
				 errdetail("Only roles with its privileges may, and those with the privileges of the extension's owner.")));
	return role;
}

/*
 * Who pauses and resumes for one role does so one after the other, so that
 * each sees what the other did; different roles do not wait for each other.
 */
static void
lock_pauses(Oid role)
{
	LockSharedObject(AuthIdRelationId, OidIsValid(role) ? role : tc_extension_owner(), 0,
					 ShareUpdateExclusiveLock);
}

static void
check_number(const PauseTarget *target)
{
	static const Oid types[] = {INT4OID};
	Datum		max = Int32GetDatum(PAUSES_MAX);

	(void) run(clear_dropped_roles, target, 0, NULL, NULL);
	if (run(find_others, target, 1, types, &max) < PAUSES_MAX)
		return;
	if (run(clear_dropped_servers, target, 0, NULL, NULL) > 0 &&
		run(find_others, target, 1, types, &max) < PAUSES_MAX)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("role \"%s\" has too many pauses", GetUserNameFromId(target->role, false)),
			 errdetail("There can be %d of a role.", PAUSES_MAX),
			 errhint("Pause whole servers instead of namespaces.")));
}

static uint64
run(const char *query, const PauseTarget *target, int nfurther, const Oid *further_types, const Datum *further)
{
	Oid			types[NTARGET + 5] = {OIDOID, OIDOID, TEXTOID, BOOLOID};
	Datum		values[NTARGET + 5] = {
		ObjectIdGetDatum(target->role), ObjectIdGetDatum(target->server),
		target->namespace_name, BoolGetDatum(target->by_operator)
	};
	char		nulls[NTARGET + 6] = "         ";

	if (target->any_namespace)
		nulls[2] = 'n';
	for (int i = 0; i < nfurther; i++)
	{
		types[NTARGET + i] = further_types[i];
		values[NTARGET + i] = further[i];
	}
	return tc_run_as_owner(query, NTARGET + nfurther, types, values, nulls, NULL, NULL);
}

/* At commit the worker looks again at the queues that this concerns. */
static void
look_again(Oid role, Oid server)
{
	if (OidIsValid(role))
		invalidate_mapping(role, server);
	else
		invalidate_server(server);
	tc_look_at_options_at_commit();
}

static void
invalidate_server(Oid server)
{
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	HeapTuple	tuple = SearchSysCache1(FOREIGNSERVEROID, ObjectIdGetDatum(server));

	if (HeapTupleIsValid(tuple))
	{
		CacheInvalidateHeapTuple(rel, tuple, NULL);
		ReleaseSysCache(tuple);
	}
	table_close(rel, AccessShareLock);
}

/* The role need not have a user mapping there: that there is none is remembered, too. */
static void
invalidate_mapping(Oid role, Oid server)
{
	Relation	rel = table_open(UserMappingRelationId, AccessShareLock);
	Datum		values[Natts_pg_user_mapping] = {0};
	bool		nulls[Natts_pg_user_mapping] = {false};
	HeapTuple	tuple;

	values[Anum_pg_user_mapping_umuser - 1] = ObjectIdGetDatum(role);
	values[Anum_pg_user_mapping_umserver - 1] = ObjectIdGetDatum(server);
	nulls[Anum_pg_user_mapping_umoptions - 1] = true;
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CacheInvalidateHeapTuple(rel, tuple, NULL);
	heap_freetuple(tuple);
	table_close(rel, AccessShareLock);
}
