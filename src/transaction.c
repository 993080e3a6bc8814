/*-------------------------------------------------------------------------
 *
 * transaction.c
 *	  The worker's transactions.
 *
 * Short ones: none may be open while the worker waits or uses the network.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "outbox.h"
#include "transaction.h"

/* OID of temporal.outbox when it was first seen; whether it is gone since */
static Oid	outbox_oid = InvalidOid;
static bool extension_is_gone = false;

bool
tc_extension_is_gone(void)
{
	return extension_is_gone;
}

/* Is the extension there, and the one that was there before? */
static bool
extension_is_here(void)
{
	Oid			oid = tc_relation_oid("outbox");

	if (!OidIsValid(outbox_oid))
		outbox_oid = oid;
	extension_is_gone = !OidIsValid(oid) || oid != outbox_oid;
	return !extension_is_gone;
}

bool
tc_run_transaction(void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(context);
		if (extension_is_here())
			work(arg);
		else
			ok = false;
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
		ok = false;
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	MemoryContextSwitchTo(context);
	return ok;
}
