/*-------------------------------------------------------------------------
 *
 * proof_kept.c
 *	  A history that is read from its beginning, to be searched from its end.
 *
 * Bounded in number and in size: Temporal's ids and identities are no longer
 * than what is kept of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "worker/proof_kept.h"

/* Three for an activity; such servers are for tests, whose workflows are short */
#define KEPT_MAX 20000
#define KEPT_MAX_SIZE (4 * 1024 * 1024)

/* Of a text; limit.maxIDLength */
#define TEXT_MAX 1000

void
tc_kept_begin(KeptEvents *kept, MemoryContext parent)
{
	MemoryContext context = kept->context;

	if (context == NULL)
		context = AllocSetContextCreate(parent, "temporal_complete history",
										ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(context);
	memset(kept, 0, sizeof(KeptEvents));
	kept->context = context;
}

static ProtoSpan
copy(KeptEvents *kept, ProtoSpan span)
{
	ProtoSpan	result = {NULL, Min(span.len, TEXT_MAX)};
	uint8	   *bytes;

	if (span.bytes == NULL)
		return result;
	kept->size += result.len;
	bytes = MemoryContextAlloc(kept->context, result.len + 1);
	memcpy(bytes, span.bytes, result.len);
	result.bytes = bytes;
	return result;
}

bool
tc_kept_take(void *arg, const ActivityEvent *event)
{
	KeptEvents *kept = arg;
	ActivityEvent *copied;

	if (kept->n == KEPT_MAX || kept->size > KEPT_MAX_SIZE)
	{
		kept->too_many = true;
		return false;
	}
	if (kept->n == kept->max)
	{
		kept->max = Max(64, kept->max * 2);
		kept->events = kept->events == NULL ?
			MemoryContextAlloc(kept->context, kept->max * sizeof(ActivityEvent)) :
			repalloc(kept->events, kept->max * sizeof(ActivityEvent));
	}
	copied = &kept->events[kept->n++];
	*copied = *event;
	copied->activity_id = copy(kept, event->activity_id);
	copied->identity = copy(kept, event->identity);
	copied->last_failure_source = copy(kept, event->last_failure_source);
	copied->former_run = copy(kept, event->former_run);
	return true;
}

void
tc_kept_give(const KeptEvents *kept, ActivityEventConsumer consumer, void *arg)
{
	for (int i = kept->n - 1; i >= 0; i--)
		if (!consumer(arg, &kept->events[i]))
			break;
}
