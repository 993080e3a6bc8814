/*-------------------------------------------------------------------------
 *
 * default_server.c
 *	  The setting temporal_complete.default_server, and whose word it is.
 *
 * Anybody may set it, for a session or for a role.  In a function with its
 * owner's rights (SECURITY DEFINER) it would then be the caller who says
 * where the owner's requests go.  So with each value it is kept who gave it,
 * and where the rights are not those of the session itself, the value counts
 * only if who gave it has the privileges of the current user (as the owner
 * does in a SET clause of the function, or in its body), or if it comes from
 * the configuration, the database or ALTER ROLE ALL.
 *
 * The check hook notes that beside the value, and PostgreSQL keeps the note
 * together with the value, through functions' SET clauses, savepoints and
 * RESET.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "compat.h"
#include "server/default_server.h"

/* Who gave the value */
typedef struct Giver
{
	Oid			role;
	bool		is_administrator;	/* of the cluster or database: for
									 * everybody */
} Giver;

static char *value = NULL;
static const Giver *giver = NULL;

/* Values that came before the library was loaded are looked at: nobody knows from whom. */
static bool defining = false;

static bool check_value(char **newval, void **extra, GucSource source);
static void assign_value(const char *newval, void *extra);
static bool is_for_current_user(void);

void
tc_default_server_define(void)
{
	defining = true;
	DefineCustomStringVariable("temporal_complete.default_server",
							   "Sets the foreign server to which requests are sent that name none.",
							   "It must be a server of the foreign-data wrapper temporal_complete. "
							   "In functions with their owner's rights, what their caller has set does not count.",
							   &value,
							   "temporal",
							   PGC_USERSET,
							   0,
							   check_value, assign_value, NULL);
	defining = false;
}

static bool
check_value(char **newval, void **extra, GucSource source)
{
	Giver	   *note = tc_guc_malloc(sizeof(Giver));
	int			context;

	if (note == NULL)
		return false;
	/* there is no user yet when the server starts */
	GetUserIdAndSecContext(&note->role, &context);
	if (defining)
		note->role = InvalidOid;
	note->is_administrator = source <= PGC_S_DATABASE;
	*extra = note;
	return true;
}

static void
assign_value(const char *newval, void *extra)
{
	giver = extra;
}

const char *
tc_default_server(void)
{
	if (value == NULL || value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no server given"),
				 errdetail("The setting \"temporal_complete.default_server\" is empty."),
				 errhint("Name a foreign server with the argument \"server\" or with that setting.")));
	if (!is_for_current_user())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("no server given"),
				 errdetail("The setting \"temporal_complete.default_server\" was set by a role that may not decide where requests of role \"%s\" go.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("In a function with its owner's rights, name a foreign server with the argument \"server\", or give the function a clause SET temporal_complete.default_server.")));
	return value;
}

static bool
is_for_current_user(void)
{
	Oid			user;
	int			context;

	if (giver == NULL || giver->is_administrator)
		return true;
	GetUserIdAndSecContext(&user, &context);
	/* a session decides for itself */
	if (user == GetOuterUserId() &&
		(context & (SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION)) == 0)
		return true;
	return OidIsValid(giver->role) && has_privs_of_role(giver->role, user);
}
