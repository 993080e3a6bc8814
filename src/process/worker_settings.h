/*-------------------------------------------------------------------------
 *
 * worker_settings.h
 *	  Which settings a worker has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WORKER_SETTINGS_H
#define TC_WORKER_SETTINGS_H

/*
 * Connect a background worker to a database as the bootstrap superuser, with
 * none of the settings that were made for the database or the role.
 */
extern void tc_connect_without_settings(Oid database);

#endif							/* TC_WORKER_SETTINGS_H */
