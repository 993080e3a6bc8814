/*-------------------------------------------------------------------------
 *
 * setting_giver.c
 *	  Whose word the value of a setting is.
 *
 * A setting that anybody may set would let the caller of a function with its
 * owner's rights (SECURITY DEFINER) decide what becomes of the owner's
 * requests.  So with each value it is kept who gave it, and where the rights
 * are not those of the session itself, the value counts only if who gave it has
 * the privileges of the current user (as the owner does in a SET clause of the
 * function, or in its body), or if it comes from the configuration, the
 * database or ALTER ROLE ALL.
 *
 * The check hook of the setting notes that beside the value, and PostgreSQL
 * keeps the note together with the value, through functions' SET clauses,
 * savepoints and RESET.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"

#include "compat.h"
#include "server/setting_giver.h"

bool
tc_setting_note_giver(void **extra, GucSource source, bool defining)
{
	SettingGiver *note = tc_guc_malloc(sizeof(SettingGiver));
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

bool
tc_setting_is_for_current_user(const SettingGiver *giver)
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
