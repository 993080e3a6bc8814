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

#include "credentials.h"
#include "mapping_check.h"
#include "server.h"
#include "server_options.h"

static MappingFault fault_of(const MappingStatement *statement, List *changes);
static List *options_of(Oid server, Oid role);
static DefElem *find_option(List *options, const char *name);

void
tc_mapping_check_begin(MappingStatement *statement, Node *stmt)
{
	RoleSpec   *user;
	const char *server;

	statement->server = InvalidOid;
	statement->role = InvalidOid;
	statement->fault = MAPPING_FINE;
	if (IsA(stmt, CreateUserMappingStmt))
	{
		user = ((CreateUserMappingStmt *) stmt)->user;
		server = ((CreateUserMappingStmt *) stmt)->servername;
	}
	else if (IsA(stmt, AlterUserMappingStmt))
	{
		user = ((AlterUserMappingStmt *) stmt)->user;
		server = ((AlterUserMappingStmt *) stmt)->servername;
	}
	else
		return;

	if (user->roletype != ROLESPEC_PUBLIC)
	{
		statement->role = get_rolespec_oid(user, true);
		if (!OidIsValid(statement->role))
			return;
	}
	statement->server = tc_server_of_name(server);
	if (OidIsValid(statement->server) && IsA(stmt, AlterUserMappingStmt))
		statement->fault = fault_of(statement, ((AlterUserMappingStmt *) stmt)->options);
}

void
tc_mapping_check_end(const MappingStatement *statement)
{
	char	   *problem;

	if (!OidIsValid(statement->server))
		return;

	/* not before, for it would tell what there is to who may not alter it at all */
	if (statement->fault == MAPPING_KEEPS_CREDENTIALS)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to alter a user mapping that keeps credentials of role \"%s\"",
						GetUserNameFromId(statement->role, false)),
				 errdetail("The user mapping says what may be done with the credentials of its role."),
				 errhint("Set or drop all its credentials in the same statement.")));
	if (statement->fault == MAPPING_KEEPS_TRUST)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("user mapping trusts the owner of its server"),
				 errdetail("Option \"trust_server_owner\" was given before these credentials, perhaps by that owner."),
				 errhint("Set or drop it in the same statement.")));

	CommandCounterIncrement();
	problem = tc_server_mapping_problem(statement->server, statement->role);
	if (problem != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("user mapping cannot be used as it is"),
				 errdetail_internal("%s", problem)));
}

static MappingFault
fault_of(const MappingStatement *statement, List *changes)
{
	List	   *before = options_of(statement->server, statement->role);
	Oid			owner = GetForeignServer(statement->server)->owner;
	DefElem    *trust = find_option(before, "trust_server_owner");
	bool		trusts = trust != NULL && find_option(changes, "trust_server_owner") == NULL &&
		defGetBoolean(trust);
	List	   *kept = NIL;
	ListCell   *lc;

	foreach(lc, before)
	{
		if (find_option(changes, lfirst_node(DefElem, lc)->defname) == NULL)
			kept = lappend(kept, lfirst(lc));
	}

	/* who is trusted gets them in any case */
	if (!trusts && !tc_owner_could_read(GetUserId(), statement->role, kept))
		return MAPPING_KEEPS_CREDENTIALS;
	if (trusts && !has_privs_of_role(GetUserId(), owner) &&
		!tc_owner_could_read(owner, statement->role, changes))
		return MAPPING_KEEPS_TRUST;
	return MAPPING_FINE;
}

/* Options of a user mapping; NIL if there is none */
static List *
options_of(Oid server, Oid role)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
										ObjectIdGetDatum(server));
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
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
