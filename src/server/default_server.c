/*-------------------------------------------------------------------------
 *
 * default_server.c
 *	  The setting temporal_complete.default_server.
 *
 * Anybody may set it, for a session or for a role.  In a function with its
 * owner's rights (SECURITY DEFINER) it would then be the caller who says
 * where the owner's requests go: whose word counts is in setting_giver.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "server/default_server.h"
#include "server/setting_giver.h"

static char *value = NULL;
static const SettingGiver *giver = NULL;

/* Values that came before the library was loaded are looked at: nobody knows from whom. */
static bool defining = false;

static bool check_value(char **newval, void **extra, GucSource source);
static void assign_value(const char *newval, void *extra);

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
	return tc_setting_note_giver(extra, source, defining);
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
	if (!tc_setting_is_for_current_user(giver))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("no server given"),
				 errdetail("The setting \"temporal_complete.default_server\" was set by a role that may not decide where requests of role \"%s\" go.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("In a function with its owner's rights, name a foreign server with the argument \"server\", or give the function a clause SET temporal_complete.default_server.")));
	return value;
}
