/*-------------------------------------------------------------------------
 *
 * utility_hook.h
 *	  Statements that concern the workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_UTILITY_HOOK_H
#define TC_UTILITY_HOOK_H

/* Install the hooks; once, from _PG_init of the preloaded library. */
extern void tc_utility_hook_init(void);

#endif							/* TC_UTILITY_HOOK_H */
