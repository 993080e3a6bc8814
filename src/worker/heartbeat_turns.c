/*-------------------------------------------------------------------------
 *
 * heartbeat_turns.c
 *	  How many heartbeats each role may have loaded in a turn.
 *
 * However many queues and heartbeats a role has, others have their turn soon.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "worker/heartbeat_turns.h"

/* Loaded in a turn, by all roles; and by one however many there are */
#define LOADED_MAX 1024
#define LOADED_MIN 32

/* So many roles are told apart in a turn, the others count as one */
#define ROLES_MAX 64

/* What roles have loaded in this turn, and how many roles did in the last one */
static struct
{
	Oid			role;
	int			loaded;
}			turns[ROLES_MAX];
static int	nturns;
static int	nturns_before = 1;

/* The place of a role in turns[] */
static int
turn_of(Oid role)
{
	int			n = 0;

	while (n < nturns && turns[n].role != role)
		n++;
	if (n == nturns && nturns < ROLES_MAX)
	{
		turns[nturns].role = role;
		turns[nturns++].loaded = 0;
	}
	return Min(n, ROLES_MAX - 1);
}

int
tc_heartbeat_turn_room(Oid role)
{
	return Max(LOADED_MIN, LOADED_MAX / nturns_before) - turns[turn_of(role)].loaded;
}

void
tc_heartbeat_turn_count(Oid role)
{
	turns[turn_of(role)].loaded++;
}

void
tc_heartbeat_turn_over(void)
{
	nturns_before = Max(nturns, 1);
	nturns = 0;
}
