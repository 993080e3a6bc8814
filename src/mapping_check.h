/*-------------------------------------------------------------------------
 *
 * mapping_check.h
 *	  Who may say in a user mapping what is done with its credentials.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_MAPPING_CHECK_H
#define TC_MAPPING_CHECK_H

#include "nodes/nodes.h"

/* What is wrong with a statement that alters a user mapping */
typedef enum MappingFault
{
	MAPPING_FINE,
	MAPPING_KEEPS_CREDENTIALS,	/* of another role, that the user could not read */
	MAPPING_KEEPS_TRUST			/* in the server's owner, given by whomever */
} MappingFault;

/* A statement about a user mapping of ours; on the stack of who runs it */
typedef struct MappingStatement
{
	Oid			server;			/* InvalidOid = it is none */
	Oid			role;			/* InvalidOid = PUBLIC */
	MappingFault fault;
} MappingStatement;

/*
 * Before and after a utility statement is run: the first looks at what the
 * mapping says before, the second raises errors and warns.
 */
extern void tc_mapping_check_begin(MappingStatement *statement, Node *stmt);
extern void tc_mapping_check_end(const MappingStatement *statement);

#endif							/* TC_MAPPING_CHECK_H */
