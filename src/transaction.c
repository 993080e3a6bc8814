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
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "event_loop.h"
#include "outbox.h"
#include "transaction.h"

/* An error is logged once in that time, if it is one of the latest */
#define REPEATED_LOG_MS 60000
#define LOGGED_ERRORS 8

/* The extension as it was first seen; whether it is gone since */
static Oid	extension_oid = InvalidOid;
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
	Oid			oid = tc_extension_oid();

	if (!OidIsValid(extension_oid))
		extension_oid = oid;
	extension_is_gone = !OidIsValid(oid) || oid != extension_oid;
	return !extension_is_gone;
}

/*
 * Was the error that is being handled logged a short while ago?  What fails,
 * because of a full disk for instance, is tried every second.
 */
static bool
is_repeated(void)
{
	static struct
	{
		uint32		hash;
		int64		logged_at;	/* monotonic ms */
	}			logged[LOGGED_ERRORS];
	static int	next = 0;
	ErrorData  *error = CopyErrorData();
	uint32		hash;
	int64		now = tc_monotonic_ms();

	hash = hash_combine(hash_bytes((const unsigned char *) error->message,
								   strlen(error->message)),
						error->sqlerrcode);
	FreeErrorData(error);
	for (int i = 0; i < LOGGED_ERRORS; i++)
		if (logged[i].hash == hash && logged[i].logged_at != 0 &&
			now - logged[i].logged_at < REPEATED_LOG_MS)
			return true;
	logged[next].hash = hash;
	logged[next].logged_at = now;
	next = (next + 1) % LOGGED_ERRORS;
	return false;
}

bool
tc_run_transaction(void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;
	OwnerScope	scope;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(context);
		if (extension_is_here())
		{
			/* what is attached to our tables is run with its owner's rights, to the end */
			tc_owner_enter(&scope);
			work(arg);
			PopActiveSnapshot();
			CommitTransactionCommand();
			SetUserIdAndSecContext(scope.user, scope.sec_context);
		}
		else
		{
			ok = false;
			PopActiveSnapshot();
			CommitTransactionCommand();
		}
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		if (!is_repeated())
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
