/*-------------------------------------------------------------------------
 *
 * namespaces.h
 *	  Which namespaces may be named for a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_NAMESPACES_H
#define TC_NAMESPACES_H

/* What is wrong with a value of the option "namespaces": a constant sentence, or NULL. */
extern const char *tc_namespaces_problem(const char *list);

/*
 * May a namespace be named, where the server's own is that and the option
 * "namespaces" is that list (NULL = it is not given)?
 */
extern bool tc_namespace_allowed(const char *name, const char *own, const char *list);

#endif							/* TC_NAMESPACES_H */
