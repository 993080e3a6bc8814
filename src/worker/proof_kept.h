/*-------------------------------------------------------------------------
 *
 * proof_kept.h
 *	  A history that is read from its beginning, to be searched from its end.
 *
 * Only for servers that cannot read one from its end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_PROOF_KEPT_H
#define TC_PROOF_KEPT_H

#include "worker/proof_replies.h"

typedef struct KeptEvents
{
	MemoryContext context;		/* of everything here */
	ActivityEvent *events;		/* the oldest first; spans are copies */
	int			n;
	int			max;
	size_t		size;			/* of the copies */
	bool		too_many;
} KeptEvents;

/* Begin with a history; what was kept of another one goes.  To be zeroed before the first one. */
extern void tc_kept_begin(KeptEvents *kept, MemoryContext parent);

/* Keep an event; it is an ActivityEventConsumer. */
extern bool tc_kept_take(void *kept, const ActivityEvent *event);

/* Give the events to a consumer, the newest first, until it wants no more. */
extern void tc_kept_give(const KeptEvents *kept, ActivityEventConsumer consumer, void *arg);

#endif							/* TC_PROOF_KEPT_H */
