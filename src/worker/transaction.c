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

#include "base/event_loop.h"
#include "outbox/outbox.h"
#include "worker/transaction.h"

/* An error is logged once in that time, if it is one of the latest */
#define REPEATED_LOG_MS 60000
#define LOGGED_ERRORS 8

/* and one that goes by itself when it comes so often in that time */
#define TRANSIENT_LOG_COUNT 10

/* The extension as it was first seen; whether it is gone since */
static Oid	extension_oid = InvalidOid;
static bool extension_is_gone = false;
static bool extension_is_another = false;

static bool last_error_is_transient = false;

bool
tc_transaction_error_is_transient(void)
{
	return last_error_is_transient;
}

bool
tc_extension_is_gone(void)
{
	return extension_is_gone;
}

bool
tc_extension_is_another(void)
{
	return extension_is_another;
}

/* Is the extension there, and the one that was there before? */
static bool
extension_is_here(void)
{
	Oid			oid = tc_extension_oid();

	if (!OidIsValid(extension_oid))
		extension_oid = oid;
	extension_is_gone = !OidIsValid(oid) || oid != extension_oid;
	extension_is_another = extension_is_gone && OidIsValid(oid);
	return !extension_is_gone;
}

static bool
is_transient(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK ||
		sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlerrcode == ERRCODE_OBJECT_IN_USE ||
		sqlerrcode == ERRCODE_UNDEFINED_TABLE;
}

/*
 * Was the error that is being handled logged a short while ago?  What fails,
 * because of a full disk for instance, is tried every second.  One that is
 * transient is not worth a line before it has come several times.
 */
static bool
need_not_be_logged(void)
{
	static struct
	{
		uint32		hash;
		int64		since;		/* monotonic ms: when it was logged, or seen */
		int			count;		/* how often it was seen */
	}			logged[LOGGED_ERRORS];
	static int	next = 0;
	ErrorData  *error = CopyErrorData();
	uint32		hash;
	int64		now = tc_monotonic_ms();

	hash = hash_combine(hash_bytes((const unsigned char *) error->message,
								   strlen(error->message)),
						error->sqlerrcode);
	last_error_is_transient = is_transient(error->sqlerrcode);
	FreeErrorData(error);
	for (int i = 0; i < LOGGED_ERRORS; i++)
		if (logged[i].hash == hash && logged[i].count > 0 &&
			now - logged[i].since < REPEATED_LOG_MS)
			return ++logged[i].count != TRANSIENT_LOG_COUNT || !last_error_is_transient;
	logged[next].hash = hash;
	logged[next].since = now;
	logged[next].count = 1;
	next = (next + 1) % LOGGED_ERRORS;
	return last_error_is_transient;
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
			/*
			 * what is attached to our tables is run with its owner's rights,
			 * to the end
			 */
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
		if (!need_not_be_logged())
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
