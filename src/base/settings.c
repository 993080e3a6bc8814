/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Values of the settings, as they are before anybody sets them.
 *
 * They are defined for PostgreSQL, with units and bounds, in
 * temporal_complete.c; here they stand where everybody may look at them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/settings.h"

bool		tc_enabled = true;
char	   *tc_databases = NULL;
int			tc_max_workers = 4;
bool		tc_notify = false;
int			tc_max_statistics = 1000;
int			tc_retention = 7 * 24 * 60 * 60;
int			tc_worker_idle_timeout = 60 * 60;
int			tc_safety_poll_interval = 60;
