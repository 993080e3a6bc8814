/*-------------------------------------------------------------------------
 *
 * launcher_databases.c
 *	  Which databases there are, and which of them are to have workers.
 *
 * The setting temporal_complete.databases is a list of names as in other
 * settings of PostgreSQL: folded to lower case unless quoted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "base/settings.h"
#include "compat.h"
#include "process/launcher_databases.h"

static List *listed_names(void);
static bool is_listed(const List *names, const char *name);

/*
 * Templates count as not usable: they should be without sessions.
 */
List *
tc_read_databases(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *infos = NIL;
	List	   *names = listed_names();
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;
		DatabaseInfo *info;

		old = MemoryContextSwitchTo(caller);
		info = palloc(sizeof(DatabaseInfo));
		info->database = row->oid;
		strlcpy(info->name, NameStr(row->datname), NAMEDATALEN);
		info->owner = row->datdba;
		info->usable = !row->datistemplate && row->datallowconn &&
			row->datconnlimit != DATCONNLIMIT_INVALID_DB;
		info->listed = is_listed(names, info->name);
		infos = lappend(infos, info);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	MemoryContextSwitchTo(caller);
	list_free_deep(names);
	return infos;
}

const DatabaseInfo *
tc_find_database(const List *infos, Oid database)
{
	ListCell   *lc;

	foreach(lc, infos)
	{
		const DatabaseInfo *info = lfirst(lc);

		if (info->database == database)
			return info;
	}
	return NULL;
}

void
tc_report_missing_databases(const List *infos)
{
	List	   *names = listed_names();
	ListCell   *name;

	foreach(name, names)
	{
		bool		found = strcmp(lfirst(name), "*") == 0;
		ListCell   *info;

		foreach(info, infos)
			found |= strcmp(((DatabaseInfo *) lfirst(info))->name, lfirst(name)) == 0;
		if (!found)
			ereport(LOG,
					(errmsg("database \"%s\" of temporal_complete.databases does not exist",
							(char *) lfirst(name))));
	}
	list_free_deep(names);
}

bool
tc_this_database_is_listed(void)
{
	List	   *names;
	char	   *name;
	bool		listed;

	if (*tc_databases == '\0')
		return true;
	names = listed_names();
	name = get_database_name(MyDatabaseId);
	listed = name == NULL || is_listed(names, name);
	list_free_deep(names);
	return listed;
}

bool
tc_check_databases(char **newval, void **extra, GucSource source)
{
	char	   *raw = pstrdup(*newval);
	List	   *names;
	bool		ok = SplitIdentifierString(raw, ',', &names);

	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(raw);
	return ok;
}

/* Names of the setting, copied; none: all databases. */
static List *
listed_names(void)
{
	char	   *raw = pstrdup(tc_databases);
	List	   *names;
	ListCell   *lc;

	/* it was checked when it was set */
	if (!SplitIdentifierString(raw, ',', &names))
		elog(ERROR, "invalid list syntax in temporal_complete.databases");
	foreach(lc, names)
		lfirst(lc) = pstrdup(lfirst(lc));
	pfree(raw);
	return names;
}

static bool
is_listed(const List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), name) == 0 || strcmp(lfirst(lc), "*") == 0)
			return true;
	}
	return names == NIL;
}
