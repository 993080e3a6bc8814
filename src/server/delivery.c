/*-------------------------------------------------------------------------
 *
 * delivery.c
 *	  The setting temporal_complete.delivery: off for tests without Temporal.
 *
 * It is a user's setting, so that ALTER DATABASE ... SET works, and counts
 * when a request is made: the worker never sees the settings of databases and
 * roles.  Nobody may suppress, or have sent, by it what another role's function
 * asks for, see setting_giver.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "server/delivery.h"
#include "server/setting_giver.h"

static bool value = true;
static const SettingGiver *giver = NULL;
static bool defining = false;

static bool check_value(bool *newval, void **extra, GucSource source);
static void assign_value(bool newval, void *extra);

void
tc_delivery_define(void)
{
	defining = true;
	DefineCustomBoolVariable("temporal_complete.delivery",
							 "Sends the requests that are made from now on.",
							 "If off, requests are recorded and never sent: for tests without Temporal. "
							 "In functions with their owner's rights, what their caller has set is an error.",
							 &value,
							 true,
							 PGC_USERSET,
							 0,
							 check_value, assign_value, NULL);
	defining = false;
}

static bool
check_value(bool *newval, void **extra, GucSource source)
{
	return tc_setting_note_giver(extra, source, defining);
}

static void
assign_value(bool newval, void *extra)
{
	giver = extra;
}

bool
tc_delivery_is_on(void)
{
	if (!tc_setting_is_for_current_user(giver))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("whether the request is to be sent is not known"),
				 errdetail("The setting \"temporal_complete.delivery\" was set by a role that may not decide that for requests of role \"%s\".",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("Set it with ALTER DATABASE ... SET, or give the function a clause SET temporal_complete.delivery.")));
	return value;
}
