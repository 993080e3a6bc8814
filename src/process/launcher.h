/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The process that starts a worker in each database that needs one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAUNCHER_H
#define TC_LAUNCHER_H

/* Have the postmaster run the launcher; once, from _PG_init. */
extern void tc_launcher_register(void);

extern PGDLLEXPORT void tc_launcher_main(Datum arg);

#endif							/* TC_LAUNCHER_H */
