/*-------------------------------------------------------------------------
 *
 * termination.c
 *	  Ending without a word in the server log when that was asked for.
 *
 * SIGTERM is how a shutdown, DROP DATABASE ... WITH (FORCE) and
 * pg_terminate_backend() end our processes.  Where it has to interrupt a
 * transaction, which may wait for somebody's lock, it is handled by
 * PostgreSQL's die().  What that then reports is FATAL, as if something had
 * gone wrong; it is kept out of the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "process/termination.h"

static emit_log_hook_type prev_emit_log = NULL;

static void emit_log(ErrorData *error);

void
tc_terminate_quietly(void)
{
	prev_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
}

static void
emit_log(ErrorData *error)
{
	if (error->elevel == FATAL && error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		error->output_to_server = false;
	else if (prev_emit_log)
		prev_emit_log(error);
}
