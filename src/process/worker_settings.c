/*-------------------------------------------------------------------------
 *
 * worker_settings.c
 *	  Which settings a worker has.
 *
 * The owner of a database may say with ALTER DATABASE ... SET what every
 * session there begins with: its role, its isolation level, its timeouts, its
 * search_path.  The worker is nobody's session, so all that is passed over,
 * and ALTER ROLE ... SET likewise, of whatever setting, those of other
 * libraries included.  It has the settings of the configuration file and the
 * command line, but for a few that its transactions rely on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "compat.h"
#include "process/worker_settings.h"

/* Where the values of a setting come from */
typedef struct SavedSource
{
	struct config_generic *setting;
	GucSource	source;
	GucSource	reset_source;
} SavedSource;

static int	shield(SavedSource **saved);
static void unshield(const SavedSource *saved, int count);
static void pin(void);

void
tc_connect_without_settings(Oid database)
{
	SavedSource *saved;
	int			count = shield(&saved);

	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	unshield(saved, count);
	/* one that the connection would have made */
	SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_BACKEND,
					PGC_S_DYNAMIC_DEFAULT);
	pin();
}

/*
 * While the connection is made, let all settings that could be changed for a
 * database or a role look as if they had been made by what comes before
 * these.  Their values stay as they are, and so the file can still change
 * them later when it is loaded again.
 */
static int
shield(SavedSource **saved)
{
	int			nsettings;
	struct config_generic **settings = tc_guc_variables(&nsettings);
	int			count = 0;

	*saved = MemoryContextAlloc(TopMemoryContext, nsettings * sizeof(SavedSource));
	for (int i = 0; i < nsettings; i++)
	{
		struct config_generic *setting = settings[i];

		if (setting->context < PGC_SU_BACKEND)
			continue;
		(*saved)[count].setting = setting;
		(*saved)[count].source = setting->source;
		(*saved)[count++].reset_source = setting->reset_source;
		setting->source = PGC_S_OVERRIDE;
		setting->reset_source = PGC_S_OVERRIDE;
	}
	return count;
}

static void
unshield(const SavedSource *saved, int count)
{
	for (int i = 0; i < count; i++)
	{
		saved[i].setting->source = saved[i].source;
		saved[i].setting->reset_source = saved[i].reset_source;
	}
}

/* What must not come from the configuration file either. */
static void
pin(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			pinned[] =
	{
		/*
		 * outcomes that a crash takes back are found again, see the internals
		 * document
		 */
		{"synchronous_commit", "off"},
		{"search_path", "pg_catalog, pg_temp"},
		{"session_replication_role", "origin"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		/* what is not asked for without waiting: rows, indexes */
		{"lock_timeout", "100ms"},
		{"row_security", "off"},
	};

	for (int i = 0; i < lengthof(pinned); i++)
		/* some versions do not have all of them */
		if (GetConfigOption(pinned[i].name, true, false) != NULL)
			SetConfigOption(pinned[i].name, pinned[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}
