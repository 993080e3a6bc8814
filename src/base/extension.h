/*-------------------------------------------------------------------------
 *
 * extension.h
 *	  What belongs to the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_EXTENSION_H
#define TC_EXTENSION_H

/*
 * The extension in this database; InvalidOid if it has not been created here.
 * Like all of this file it needs a transaction.
 */
extern Oid	tc_extension_oid(void);

/* Its owner; an error if it is not here. */
extern Oid	tc_extension_owner(void);

/*
 * OID of a relation of the extension, by its name in one of the extension's schemas:
 * a member of the extension that belongs to the extension's owner.  InvalidOid
 * if there is none; what else has that name does not count.
 */
extern Oid	tc_relation_oid(const char *name);

/* The same; raises an error if there is none. */
extern Oid	tc_required_relation_oid(const char *name);

/* OID of a type of the extension, by its name; InvalidOid if there is none. */
extern Oid	tc_type_oid(const char *name);

/*
 * Raise an error unless the extension's schemas have the names that statements
 * of C functions say, and these are its relations: so that nothing else that
 * has the name is meant by them.
 */
extern void tc_require_names(const char *const *relations, int count);

/* Who was the user before tc_owner_enter() */
typedef struct OwnerScope
{
	Oid			user;
	int			sec_context;
	int			guc_level;
} OwnerScope;

/*
 * From here to tc_owner_leave() the current user is the owner of the
 * extension, in a security-restricted operation and with a search_path of
 * pg_catalog: for all that touches our tables by SQL or fires triggers.  What
 * the caller may do has to be decided before.  An error ends it, too.
 */
extern void tc_owner_enter(OwnerScope *scope);
extern void tc_owner_leave(const OwnerScope *scope);

#endif							/* TC_EXTENSION_H */
