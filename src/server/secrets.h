/*-------------------------------------------------------------------------
 *
 * secrets.h
 *	  Keeping what statements about user mappings say out of the log.
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
