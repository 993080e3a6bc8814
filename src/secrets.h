/*-------------------------------------------------------------------------
 *
 * secrets.h
 *	  Statements that give credentials.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SECRETS_H
#define TC_SECRETS_H

#include "nodes/nodes.h"

/* A statement that is being run; on the stack of who runs it */
typedef struct SecretStatement
{
	bool		hidden;			/* from the log */
	Oid			keeps_of;		/* role whose credentials it leaves in a mapping,
								 * which the user must not change */
	ErrorContextCallback callback;
} SecretStatement;

extern void tc_secrets_init(void);

/*
 * Before and after a utility statement is run.  If that ends with an error,
 * tc_secrets_end() is not called.
 */
extern void tc_secrets_begin(SecretStatement *statement, Node *stmt);
extern void tc_secrets_end(SecretStatement *statement);

#endif							/* TC_SECRETS_H */
