/*-------------------------------------------------------------------------
 *
 * mapping_check.c
 *	  Who may say in a user mapping what is done with its credentials.
 *
 * PostgreSQL lets the owner of a server alter the user mappings of other
 * roles, unread.  That a mapping allows something (credentials.c) would then
 * mean nothing.  So who could not have read the credentials in a mapping
 * cannot alter it while they stay there, and who gives credentials to a
 * server whose owner could not read them says himself that he is trusted:
 * that it stood there before can be the owner's doing.
 *
 * What is looked at is the row that the statement has written, not what its
 * names meant before.
 *
 * Runs for every utility statement: what is not about a user mapping costs no
 * more than a look at the node's tag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "server/credentials.h"
#include "server/mapping_check.h"
#include "server/server.h"
#include "server/server_options.h"

/* What is wrong with a statement that alters a user mapping */
typedef enum MappingFault
{
	MAPPING_FINE,
	MAPPING_KEEPS_CREDENTIALS,	/* of another role, that the user could not
								 * read */
	MAPPING_KEEPS_TRUST			/* in the server's owner, given by whomever */
} MappingFault;

/*
 * The mapping that the running statement has written, and what it said before.
 * What was found by the names in the statement could be another one: they may
 * pass to others until the statement looks them up itself.
 */
static struct
{
	Oid			mapping;		/* InvalidOid = none yet */
	List	   *before;
}			written;

static MappingFault fault_of(const ForeignServer *server, Oid role, List *changes);
static DefElem *find_option(List *options, const char *name);

void
tc_mapping_check_begin(MappingStatement *statement, Node *stmt)
{
	statement->concerned = IsA(stmt, CreateUserMappingStmt) || IsA(stmt, AlterUserMappingStmt);
	statement->changes = IsA(stmt, AlterUserMappingStmt) ? ((AlterUserMappingStmt *) stmt)->options : NIL;
	if (statement->concerned)
		written.mapping = InvalidOid;
}

/* Its new row is not visible before the next command: of one that is new there is none. */
void
tc_mapping_written(Oid mapping)
{
	HeapTuple	tuple = SearchSysCache1(USERMAPPINGOID, ObjectIdGetDatum(mapping));
	Datum		datum;
	bool		isnull;

	written.mapping = mapping;
	written.before = NIL;
	if (!HeapTupleIsValid(tuple))
		return;
	datum = SysCacheGetAttr(USERMAPPINGOID, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		written.before = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
}

void
tc_mapping_check_end(const MappingStatement *statement)
{
	HeapTuple	tuple;
	ForeignServer *server;
	Oid			role;
	MappingFault fault;
	char	   *problem;

	if (!statement->concerned || !OidIsValid(written.mapping))
		return;
	CommandCounterIncrement();
	tuple = SearchSysCache1(USERMAPPINGOID, ObjectIdGetDatum(written.mapping));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for user mapping %u", written.mapping);
	server = GetForeignServer(((Form_pg_user_mapping) GETSTRUCT(tuple))->umserver);
	role = ((Form_pg_user_mapping) GETSTRUCT(tuple))->umuser;
	ReleaseSysCache(tuple);
	if (!tc_server_is_ours(server))
		return;

	/*
	 * not before, for it would tell what there is to who may not alter it at
	 * all
	 */
	fault = fault_of(server, role, statement->changes);
	if (fault == MAPPING_KEEPS_CREDENTIALS)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to alter a user mapping that keeps credentials of role \"%s\"",
						OidIsValid(role) ? GetUserNameFromId(role, false) : "public"),
				 errdetail("The user mapping says what may be done with the credentials of its role."),
				 errhint("Set or drop all its credentials in the same statement.")));
	if (fault == MAPPING_KEEPS_TRUST)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("user mapping trusts the owner of its server"),
				 errdetail("Option \"trust_server_owner\" was given before these credentials, perhaps by that owner."),
				 errhint("Set or drop it in the same statement.")));

	problem = tc_server_mapping_problem(server->serverid, role);
	if (problem != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("user mapping cannot be used as it is"),
				 errdetail_internal("%s", problem)));
}

static MappingFault
fault_of(const ForeignServer *server, Oid role, List *changes)
{
	DefElem    *trust = find_option(written.before, "trust_server_owner");
	bool		trusts = trust != NULL && find_option(changes, "trust_server_owner") == NULL &&
		defGetBoolean(trust);
	List	   *kept = NIL;
	ListCell   *lc;

	foreach(lc, written.before)
	{
		if (find_option(changes, lfirst_node(DefElem, lc)->defname) == NULL)
			kept = lappend(kept, lfirst(lc));
	}

	/* who is trusted gets them in any case */
	if (!trusts && !tc_owner_could_read(GetUserId(), role, kept))
		return MAPPING_KEEPS_CREDENTIALS;
	if (trusts && !has_privs_of_role(GetUserId(), server->owner) &&
		!tc_owner_could_read(server->owner, role, changes))
		return MAPPING_KEEPS_TRUST;
	return MAPPING_FINE;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, name) == 0)
			return lfirst_node(DefElem, lc);
	}
	return NULL;
}
