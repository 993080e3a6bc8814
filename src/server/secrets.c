/*-------------------------------------------------------------------------
 *
 * secrets.c
 *	  Keeping what statements about user mappings say out of the log.
 *
 * A statement that creates or alters a user mapping may have a secret in its
 * text.  Whatever becomes of it, that text is kept out of the log, of
 * pg_stat_statements, and of pg_stat_activity once it runs.  What it is about
 * is known for certain only while it runs; before, as with a syntax error, and
 * where PostgreSQL itself logs it, we go by the names of options in its text.
 *
 * Runs for every utility statement, and every parse analysis, of the cluster:
 * what does not concern us costs no more than a look at the node's tag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "foreign/foreign.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"

#include "compat.h"
#include "server/secrets.h"
#include "server/server.h"
#include "server/server_options.h"
#include "server/statement_mask.h"

#define HIDDEN "<hidden>"

static post_parse_analyze_hook_type prev_post_parse_analyze = NULL;
static emit_log_hook_type prev_emit_log = NULL;

static void post_parse_analyze(ParseState *pstate, Query *query, TcJumbleState *jstate);
static void emit_log(ErrorData *edata);
static const char *find_secret(const char *str);
static void mask_statement(ErrorData *edata);
static void cut_off(char **str);
static bool may_have_secrets(Node *stmt);
static bool is_of_ours(const char *fdw_name, const char *server_name, List *options);
static void hide_statement(void *arg);

void
tc_secrets_init(void)
{
	prev_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = post_parse_analyze;
	prev_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
}

/*
 * A statement without a query id is not recorded by pg_stat_statements, in
 * whatever order the libraries were loaded.
 */
static void
post_parse_analyze(ParseState *pstate, Query *query, TcJumbleState *jstate)
{
	if (prev_post_parse_analyze)
		prev_post_parse_analyze(pstate, query, jstate);
	if (query->commandType == CMD_UTILITY &&
		(may_have_secrets(query->utilityStmt) ||
		 (IsA(query->utilityStmt, DoStmt) && find_secret(pstate->p_sourcetext) != NULL)))
		query->queryId = 0;
}

/*
 * Whatever is about to be written to the log, by any process of the cluster:
 * also texts of other sessions, as after a deadlock.  The client is told what
 * is left here, so none of our own messages may look like such a statement.
 */
static void
emit_log(ErrorData *edata)
{
	bool		with_statement = edata->elevel >= log_min_error_statement ||
		edata->elevel == LOG || edata->elevel == LOG_SERVER_ONLY;

	if (with_statement && find_secret(debug_query_string) != NULL)
	{
		edata->hide_stmt = true;
		mask_statement(edata);
	}
	cut_off(&edata->detail);
	cut_off(&edata->detail_log);
	cut_off(&edata->context);
	cut_off(&edata->internalquery);
	if (prev_emit_log)
		prev_emit_log(edata);
}

/*
 * A message that ends with the statement, because the server is to log
 * statements: all but the secrets stays, for nobody may hide anything else.
 */
static void
mask_statement(ErrorData *edata)
{
	size_t		len = edata->message ? strlen(edata->message) : 0;
	size_t		statement_len = strlen(debug_query_string);
	char	   *masked;

	if (len < statement_len ||
		strcmp(edata->message + len - statement_len, debug_query_string) != 0)
		return;
	masked = tc_statement_mask(debug_query_string);
	if (masked != NULL)
		edata->message = psprintf("%.*s%s", (int) (len - statement_len), edata->message, masked);
}

static const char *
find_word(const char *str, const char *word)
{
	size_t		len = strlen(word);

	for (; *str != '\0'; str++)
	{
		/* most of a text, which may be long, is neither */
		if (pg_ascii_tolower((unsigned char) *str) == word[0] &&
			pg_strncasecmp(str, word, len) == 0)
			return str;
	}
	return NULL;
}

/* Does it say "user mapping", whatever is between the words? */
static bool
is_about_mapping(const char *str)
{
	const char *next = str;
	bool		comments = true;	/* one that begins here also ends */

	while ((next = find_word(next, "user")) != NULL)
	{
		for (next += strlen("user"); *next != '\0';)
		{
			if (isspace((unsigned char) *next))
				next++;
			else if (comments && strncmp(next, "/*", 2) == 0)
			{
				const char *end = strstr(next + 2, "*/");

				/* the text is looked through once, however often they begin */
				comments = end != NULL;
				if (comments)
					next = end + 2;
			}
			else if (strncmp(next, "--", 2) == 0)
				next += strcspn(next, "\r\n");
			else
				break;
		}
		if (pg_strncasecmp(next, "mapping", strlen("mapping")) == 0)
			return true;
	}
	return false;
}

/*
 * Where a text that is about a user mapping names the first option that is a
 * secret: the secret follows.  NULL if it does not.
 */
static const char *
find_secret(const char *str)
{
	static const char *const names[] = {"api_key", "proxy_auth", "codec_auth", "tls_client_key_data", "grpc_meta_"};
	const char *first = NULL;

	if (str == NULL || !is_about_mapping(str))
		return NULL;
	for (int i = 0; i < lengthof(names); i++)
	{
		const char *found = find_word(str, names[i]);

		if (found != NULL && (first == NULL || found < first))
			first = found;
	}
	return first;
}

/* What says more about an error ends before a secret. */
static void
cut_off(char **str)
{
	const char *secret = find_secret(*str);

	if (secret != NULL)
		*str = psprintf("%.*s" HIDDEN, (int) (secret - *str), *str);
}

void
tc_secrets_begin(SecretStatement *statement, Node *stmt)
{
	statement->hidden = may_have_secrets(stmt);
	if (!statement->hidden)
		return;
	statement->callback.callback = hide_statement;
	statement->callback.arg = NULL;
	statement->callback.previous = error_context_stack;
	error_context_stack = &statement->callback;
	/* what pg_monitor sees, also afterwards in a session that is idle */
	pgstat_report_activity(STATE_RUNNING, HIDDEN);
}

void
tc_secrets_end(SecretStatement *statement)
{
	if (statement->hidden)
		error_context_stack = statement->callback.previous;
}

/* Statement, and the function that runs it: both have the text */
static void
hide_statement(void *arg)
{
	errhidestmt(true);
	errhidecontext(true);
}

/*
 * May a statement have a secret of ours in it?  Options of servers and of the
 * wrapper are no secrets, but somebody may mistake them.
 */
static bool
may_have_secrets(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreateUserMappingStmt:
			return is_of_ours(NULL, ((CreateUserMappingStmt *) stmt)->servername,
							  ((CreateUserMappingStmt *) stmt)->options);
		case T_AlterUserMappingStmt:
			return is_of_ours(NULL, ((AlterUserMappingStmt *) stmt)->servername,
							  ((AlterUserMappingStmt *) stmt)->options);
		case T_CreateForeignServerStmt:
			return is_of_ours(((CreateForeignServerStmt *) stmt)->fdwname, NULL,
							  ((CreateForeignServerStmt *) stmt)->options);
		case T_AlterForeignServerStmt:
			return is_of_ours(NULL, ((AlterForeignServerStmt *) stmt)->servername,
							  ((AlterForeignServerStmt *) stmt)->options);
		case T_AlterFdwStmt:
			return is_of_ours(((AlterFdwStmt *) stmt)->fdwname, NULL,
							  ((AlterFdwStmt *) stmt)->options);
		default:
			return false;
	}
}

/*
 * Is a statement about our wrapper or a server of it, or can nobody know
 * because there is no such server?  An option that is named like one of our
 * secrets is enough: the name of the server may be the mistake.
 */
static bool
is_of_ours(const char *fdw_name, const char *server_name, List *options)
{
	ListCell   *lc;

	if (options == NIL)
		return false;
	foreach(lc, options)
	{
		if (tc_option_is_credential(lfirst_node(DefElem, lc)->defname))
			return true;
	}
	if (fdw_name != NULL)
		return strcmp(fdw_name, TC_WRAPPER_NAME) == 0;
	return GetForeignServerByName(server_name, true) == NULL ||
		OidIsValid(tc_server_of_name(server_name));
}
