/*-------------------------------------------------------------------------
 *
 * statement_mask.h
 *	  Statements about user mappings, without the secrets in them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_STATEMENT_MASK_H
#define TC_STATEMENT_MASK_H

/*
 * The text of one or more statements, with what user mappings are given as
 * secrets replaced; palloc'd.  NULL if there is no such thing in it.
 */
extern char *tc_statement_mask(const char *text);

#endif							/* TC_STATEMENT_MASK_H */
