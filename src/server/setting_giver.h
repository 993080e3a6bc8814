/*-------------------------------------------------------------------------
 *
 * setting_giver.h
 *	  Whose word the value of a setting is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SETTING_GIVER_H
#define TC_SETTING_GIVER_H

#include "utils/guc.h"

/* Who gave the value */
typedef struct SettingGiver
{
	Oid			role;
	bool		is_administrator;	/* of the cluster or database: for
									 * everybody */
} SettingGiver;

/*
 * For the check hook of a setting: note who gives the value, or, while the
 * setting is being defined, that nobody knows.  False if memory is out.
 */
extern bool tc_setting_note_giver(void **extra, GucSource source, bool defining);

/* May who gave it decide for the current user?  NULL: nobody gave one. */
extern bool tc_setting_is_for_current_user(const SettingGiver *giver);

#endif							/* TC_SETTING_GIVER_H */
