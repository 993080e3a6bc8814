/*-------------------------------------------------------------------------
 *
 * launcher_databases.h
 *	  Which databases there are, and which of them are to have workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_LAUNCHER_DATABASES_H
#define TC_LAUNCHER_DATABASES_H

#include "nodes/pg_list.h"
#include "utils/guc.h"

/* A row of pg_database */
typedef struct DatabaseInfo
{
	Oid			database;
	char		name[NAMEDATALEN];
	Oid			owner;
	bool		usable;			/* a worker can be connected to it */
	bool		listed;			/* temporal_complete.databases allows it */
} DatabaseInfo;

/* All databases, a list of DatabaseInfo *; in a transaction of its own. */
extern List *tc_read_databases(void);

/* The one of that OID; NULL if it is not among them. */
extern const DatabaseInfo *tc_find_database(const List *infos, Oid database);

/* Say in the log which databases of the setting do not exist. */
extern void tc_report_missing_databases(const List *infos);

/* For sessions: does temporal_complete.databases allow a worker in this database? */
extern bool tc_this_database_is_listed(void);

/* Check hook of that setting. */
extern bool tc_check_databases(char **newval, void **extra, GucSource source);

#endif							/* TC_LAUNCHER_DATABASES_H */
