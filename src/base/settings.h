/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  Settings of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SETTINGS_H
#define TC_SETTINGS_H

extern bool tc_enabled;
extern char *tc_databases;		/* list of names; empty = all */
extern int	tc_max_workers;
extern bool tc_notify;
extern int	tc_max_statistics;
extern int	tc_retention;		/* seconds */
extern int	tc_worker_idle_timeout; /* seconds; -1 = never */
extern int	tc_safety_poll_interval;	/* seconds */

#endif							/* TC_SETTINGS_H */
