/*-------------------------------------------------------------------------
 *
 * discards.c
 *	  Counting what sessions discard.
 *
 * All else is counted by workers, which do not see what is discarded before
 * they have read it, or after it was rejected.  So the session does, at commit,
 * in the entry that the worker would take: which one that is, is found before,
 * so that there are only spinlocks in the callbacks.  Nothing that can fail
 * must ever be called from these.
 *
 * PREPARE forgets it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "process/discards.h"
#include "process/statistics.h"

typedef struct Discards
{
	struct Discards *next;
	int			entry;
	StatKey		key;			/* whose it was */
	int			level;			/* of the transaction; 0 = it was rolled back */
	int64		requests;
} Discards;

/* In the memory of the top-level transaction */
static Discards *discards = NULL;

static void transaction_callback(XactEvent event, void *arg);
static void subtransaction_callback(SubXactEvent event, SubTransactionId subid,
									SubTransactionId parent, void *arg);

void
tc_count_discards_at_commit(Oid role, Oid server, const char *namespace_name, int64 requests)
{
	static bool registered = false;
	StatView	view;
	int			level = GetCurrentTransactionNestLevel();
	Discards   *added;
	int			entry;

	if (tc_stat_entries() == 0)
		return;
	if (!registered)
	{
		RegisterXactCallback(transaction_callback, NULL);
		RegisterSubXactCallback(subtransaction_callback, NULL);
		registered = true;
	}
	entry = tc_stat_entry(role, server, namespace_name);
	if (entry == TC_STAT_NONE || !tc_stat_view(entry, &view))
		return;
	/* many may come one by one */
	if (discards != NULL && discards->entry == entry && discards->level == level)
	{
		discards->requests += requests;
		return;
	}
	added = MemoryContextAllocZero(TopTransactionContext, sizeof(Discards));
	added->entry = entry;
	added->key = view.key;
	added->level = level;
	added->requests = requests;
	added->next = discards;
	discards = added;
}

static void
transaction_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		for (const Discards *one = discards; one != NULL; one = one->next)
			if (one->level > 0)
				tc_stat_add_discarded(one->entry, &one->key, one->requests);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		discards = NULL;
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId subid,
						SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (Discards *one = discards; one != NULL; one = one->next)
		if (one->level >= level)
			one->level = event == SUBXACT_EVENT_COMMIT_SUB ? level - 1 : 0;
}
