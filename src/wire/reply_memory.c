/*-------------------------------------------------------------------------
 *
 * reply_memory.c
 *	  Memory for what servers answer: one bound for all channels.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "wire/reply_memory.h"

/* As share.c has it: the more, the more one channel alone gets, and the less is left to others */
#define GREED 3

/* What the answers of all channels hold */
static size_t held_by_all;

bool
tc_reply_hold(size_t *held, size_t before, size_t now)
{
	size_t		others = held_by_all - before;

	if (now > before &&
		(others + now > TC_MAX_REPLIES ||
		 *held - before + now > GREED * (TC_MAX_REPLIES - others - now)))
		return false;
	*held = *held - before + now;
	held_by_all = others + now;
	return true;
}

void *
tc_reply_grow(size_t *held, void *reply, size_t before, size_t now, const char **problem)
{
	void	   *grown;

	if (!tc_reply_hold(held, before, now))
	{
		*problem = "the replies to all calls in flight are too large";
		return NULL;
	}
	grown = realloc(reply, now);
	if (grown == NULL)
	{
		(void) tc_reply_hold(held, now, before);
		*problem = "out of memory for the reply";
	}
	return grown;
}
