/*-------------------------------------------------------------------------
 *
 * queue_names.c
 *	  SQL functions behind the views: what the server and the role of a queue
 *	  are in this database, and what they are called.
 *
 * Where a queue was made they are those of its OIDs, whatever they are called
 * now, or nobody.  In a copy elsewhere they are those that have the recorded
 * names: what they are sent for and to, if they are adopted.  For a role,
 * which belongs to the cluster, elsewhere is another cluster: in a copy of the
 * database a name says nothing that the OID does not say better.  Our tables
 * are not read here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "server/server.h"

PG_FUNCTION_INFO_V1(tc_role_here);
PG_FUNCTION_INFO_V1(tc_server_here);
PG_FUNCTION_INFO_V1(tc_present_role_name);
PG_FUNCTION_INFO_V1(tc_present_server_name);
PG_FUNCTION_INFO_V1(tc_present_namespace);

/* The role of the first three arguments: system identifier, OID, name */
static Oid
role_here(FunctionCallInfo fcinfo)
{
	Oid			role = PG_GETARG_OID(1);

	if ((uint64) PG_GETARG_INT64(0) != GetSystemIdentifier())
		return get_role_oid(text_to_cstring(PG_GETARG_TEXT_PP(2)), true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)) ? role : InvalidOid;
}

/* The server of the first three arguments: made_here, OID, name.  That of a copy has to be one of ours. */
static Oid
server_here(FunctionCallInfo fcinfo)
{
	Oid			server = PG_GETARG_OID(1);

	if (!PG_GETARG_BOOL(0))
		return tc_server_of_name(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	return SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(server)) ? server : InvalidOid;
}

/* SQL: role_here(system_identifier bigint, requested_by oid, requested_by_name text) returns oid */
Datum
tc_role_here(PG_FUNCTION_ARGS)
{
	Oid			role = role_here(fcinfo);

	if (!OidIsValid(role))
		PG_RETURN_NULL();
	PG_RETURN_OID(role);
}

/* SQL: server_here(made_here boolean, server oid, server_name text) returns oid */
Datum
tc_server_here(PG_FUNCTION_ARGS)
{
	Oid			server = server_here(fcinfo);

	if (!OidIsValid(server))
		PG_RETURN_NULL();
	PG_RETURN_OID(server);
}

/* SQL: present_role_name(system_identifier bigint, requested_by oid, requested_by_name text) returns text */
Datum
tc_present_role_name(PG_FUNCTION_ARGS)
{
	Oid			role = role_here(fcinfo);

	if (!OidIsValid(role))
		PG_RETURN_DATUM(PG_GETARG_DATUM(2));
	PG_RETURN_TEXT_P(cstring_to_text(GetUserNameFromId(role, false)));
}

/* SQL: present_server_name(made_here boolean, server oid, server_name text) returns text */
Datum
tc_present_server_name(PG_FUNCTION_ARGS)
{
	Oid			server = server_here(fcinfo);

	if (!OidIsValid(server))
		PG_RETURN_DATUM(PG_GETARG_DATUM(2));
	PG_RETURN_TEXT_P(cstring_to_text(GetForeignServer(server)->servername));
}

/*
 * SQL: present_namespace(made_here boolean, server oid, server_name text,
 * namespace text) returns text
 */
Datum
tc_present_namespace(PG_FUNCTION_ARGS)
{
	Oid			server;

	if (!PG_ARGISNULL(3))
		PG_RETURN_DATUM(PG_GETARG_DATUM(3));
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	server = server_here(fcinfo);
	if (!OidIsValid(server))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(tc_server_own_namespace(GetForeignServer(server))));
}
