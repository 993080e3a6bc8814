/*-------------------------------------------------------------------------
 *
 * coalesce.c
 *	  Heartbeats in whose place a later request is sent.
 *
 * A heartbeat says that something lives, and replaces the details of the one
 * before it.  So of many that wait only the newest is sent, and however many
 * there are a verdict waits for one call.  Superseded is
 *
 * - one that waits, by a later one;
 * - one that was tried in vain, by a later one, and by a verdict after which
 *	 there is no other attempt.  Before a failure it is tried again: the next
 *	 attempt can read its details.
 *
 * Only requests of one role that name the activity by the same token, or by
 * the same run, count: whether those of others will be taken is not known.
 * What stands behind a verdict is sent after it.  One in flight stays, and so
 * does one of which it is being found out what became of it; when that is
 * known, see tc_is_overtaken().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/siphash.h"
#include "worker/coalesce.h"
#include "worker/recording.h"

/* So many neighbours are looked at, those of other roles and attempts among them */
#define NEIGHBOURS_MAX 16

static bool waits(const Request *request);
static bool supersedes(const Request *later, const Request *earlier);

void
tc_coalesce(Request *request)
{
	Request    *earlier = request->previous;

	if (waits(request) && tc_method_is_heartbeat(request->method))
	{
		/* one that was made sooner, and was committed later */
		Request    *later = request->next;

		for (int i = 0; i < NEIGHBOURS_MAX && later != NULL && tc_method_is_heartbeat(later->method); i++)
		{
			if (supersedes(later, request))
			{
				tc_request_finish(request, OUTCOME_SUPERSEDED);
				return;
			}
			later = later->next;
		}
	}
	for (int i = 0; i < NEIGHBOURS_MAX && earlier != NULL && tc_method_is_heartbeat(earlier->method); i++)
	{
		Request    *previous = earlier->previous;

		if (waits(earlier) && supersedes(request, earlier))
			tc_request_finish(earlier, OUTCOME_SUPERSEDED);
		earlier = previous;
	}
}

bool
tc_is_overtaken(const Request *request)
{
	const Request *later = request->next;

	if (!tc_method_is_heartbeat(request->method))
		return false;
	for (int i = 0; i < NEIGHBOURS_MAX && later != NULL; i++)
	{
		if (supersedes(later, request))
			return true;
		if (!tc_method_is_heartbeat(later->method))
			break;
		later = later->next;
	}
	return false;
}

static bool
waits(const Request *request)
{
	return request->state == REQUEST_BLOCKED || request->state == REQUEST_READY ||
		request->state == REQUEST_RETRYING;
}

static bool
supersedes(const Request *later, const Request *earlier)
{
	if (later->queue != earlier->queue || later->id < earlier->id ||
		later->attempt != earlier->attempt || later->state == REQUEST_FINISHED)
		return false;
	return tc_method_is_heartbeat(later->method) ||
		(earlier->attempts > 0 && tc_method_ends_activity(later->method));
}
