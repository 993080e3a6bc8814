/*-------------------------------------------------------------------------
 *
 * mapping_check.h
 *	  Who may say in a user mapping what is done with its credentials.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_MAPPING_CHECK_H
#define TC_MAPPING_CHECK_H

#include "nodes/pg_list.h"

/* A utility statement; on the stack of who runs it */
typedef struct MappingStatement
{
	bool		concerned;		/* it creates or alters a user mapping */
	List	   *changes;		/* options as it says them, of one that alters */
} MappingStatement;

/*
 * Before and after a utility statement is run: the second raises errors and
 * warns.
 */
extern void tc_mapping_check_begin(MappingStatement *statement, Node *stmt);
extern void tc_mapping_check_end(const MappingStatement *statement);

/* A user mapping has just been created or altered, by the current command. */
extern void tc_mapping_written(Oid mapping);

#endif							/* TC_MAPPING_CHECK_H */
