/*-------------------------------------------------------------------------
 *
 * option_changes.c
 *	  Which queues may be concerned by what has changed in catalogs.
 *
 * Anybody may change his own servers and user mappings all the time, and there
 * are very many queues: a change of one of these concerns those that use it.
 * What changes otherwise (roles, memberships, wrappers, the database) is taken
 * to concern all.
 *
 * Catalogs say by a hash which row has changed.  Two rows may share one: then
 * a queue looks in vain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "compat.h"
#include "server/server.h"
#include "worker/option_changes.h"

/* So many changed rows are told apart */
#define ROWS_MAX 32

typedef struct ChangedRow
{
	int			cacheid;
	uint32		hash;
} ChangedRow;

static bool changed;
static bool concerns_all;
static ChangedRow rows[ROWS_MAX];
static int	nrows;
static uint32 database_hash;

static void note_change(Datum arg, int cacheid, uint32 hash);

void
tc_option_changes_init(void)
{
	database_hash = GetSysCacheHashValue1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	for (const int *cache = tc_server_catalogs; *cache >= 0; cache++)
		CacheRegisterSyscacheCallback(*cache, note_change, (Datum) 0);
}

/* Runs whenever catalogs are looked at: must not do so itself. */
static void
note_change(Datum arg, int cacheid, uint32 hash)
{
	/* 0 = any row */
	if (cacheid == DATABASEOID && hash != 0 && hash != database_hash)
		return;
	changed = true;
	if (hash == 0 || (cacheid != FOREIGNSERVEROID && cacheid != USERMAPPINGUSERSERVER))
		concerns_all = true;
	if (concerns_all)
		return;
	for (int i = 0; i < nrows; i++)
		if (rows[i].cacheid == cacheid && rows[i].hash == hash)
			return;
	if (nrows == ROWS_MAX)
	{
		concerns_all = true;
		return;
	}
	rows[nrows].cacheid = cacheid;
	rows[nrows++].hash = hash;
}

OptionHashes
tc_option_hashes(const QueueKey *key)
{
	Datum		role = ObjectIdGetDatum(key->role);
	Datum		server = ObjectIdGetDatum(key->server);
	OptionHashes hashes;

	hashes.server = GetSysCacheHashValue1(FOREIGNSERVEROID, server);
	hashes.mapping = GetSysCacheHashValue2(USERMAPPINGUSERSERVER, role, server);
	hashes.public_mapping = GetSysCacheHashValue2(USERMAPPINGUSERSERVER,
												  ObjectIdGetDatum(InvalidOid), server);
	return hashes;
}

bool
tc_options_changed(void)
{
	AcceptInvalidationMessages();
	return changed;
}

bool
tc_option_changes_concern(const OptionHashes *hashes)
{
	if (concerns_all)
		return true;
	for (int i = 0; i < nrows; i++)
	{
		uint32		hash = rows[i].hash;

		if (rows[i].cacheid == FOREIGNSERVEROID ? hash == hashes->server :
			hash == hashes->mapping || hash == hashes->public_mapping)
			return true;
	}
	return false;
}

void
tc_option_changes_seen(void)
{
	changed = false;
	concerns_all = false;
	nrows = 0;
}
