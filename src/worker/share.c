/*-------------------------------------------------------------------------
 *
 * share.c
 *	  Who may have how much of what a worker has.
 *
 * A worker serves all roles and servers of a database, and all that it has is
 * bounded.  What one takes must not be what another one needs: so all that is
 * taken is put down to an account, which is that of a role at a server, and
 * to the role.
 *
 * A role may take more as long as it has less than three times what is left,
 * and one of its accounts as long as it has less than three times what is
 * left of that to the role.  So one alone gets most of it (three quarters, and
 * of these three quarters again if it is at one server only, up to 9/13 of
 * all), several get equal shares without anybody having to count them, and
 * something always remains for who comes next.  Besides, there is a reserve
 * for roles that have less than a minimum, of which others get nothing.
 *
 * Nothing here waits, sends or knows what the things are; nothing that is
 * taken is ever taken away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "process/in_flight.h"
#include "wire/connection.h"
#include "worker/share.h"

/* The more, the more one alone gets, and the less remains for who comes next */
#define GREED 3

/*
 * Attempts of an account that failed are made again so far apart, after a
 * number of them that are not, but that long is the longest that one waits.
 */
#define RETRY_PACE_MS 50
#define RETRY_BURST 100
#define RETRY_WAIT_MAX_MS 600000

/*
 * A role whose attempts to connect have failed makes them so far apart, or so
 * far times the number of roles that do, after a number that are not.
 */
#define CONNECT_PACE_MS 100
#define CONNECT_PACE_EACH_MS 20
#define CONNECT_BURST 50

typedef struct Role
{
	dlist_node	node;			/* among all roles */
	Oid			role;
	int			naccounts;
	size_t		used[SHARE_KINDS];
	bool		lacks[SHARE_KINDS];
	int64		next_connect;	/* monotonic ms */
} Role;

typedef struct AccountKey
{
	Oid			role;
	Oid			server;
} AccountKey;

struct Account
{
	AccountKey	key;
	Role	   *role;
	int			users;
	size_t		used[SHARE_KINDS];
	int64		next_retry;		/* monotonic ms */
};

/* What there is for all, what of that is in reserve, and how much a role may have of the reserve */
typedef struct Kind
{
	size_t		common;
	size_t		reserve;
	size_t		minimum;
	size_t		used;
} Kind;

static Kind kinds[SHARE_KINDS] =
{
	[SHARE_PLACES] = {TC_MAX_IN_FLIGHT - 1024, 1024, 16},
	/* one request, whatever its size */
	[SHARE_BYTES] = {16 * 1024 * 1024, 16 * 1024 * 1024, 1},
	[SHARE_REQUESTS] = {96 * 1024, 16 * 1024, 512},
	[SHARE_CONFIRMING] = {6 * 1024, 2 * 1024, 16},
	[SHARE_PROOFS] = {32, 32, 1},
	[SHARE_CONNECTIONS] = {0},	/* see tc_shares_init() */
	[SHARE_QUEUES] = {16 * 1024, 4 * 1024, 16},
	[SHARE_MESSAGES] = {6 * 1024 * 1024, 2 * 1024 * 1024, 64 * 1024},
	[SHARE_HEARTBEATS] = {384 * 1024, 128 * 1024, 1024},
	[SHARE_ENCODED] = {8 * 1024 * 1024, 8 * 1024 * 1024, 1},
};

/* Of the connections that there may be, those of pings, which are not counted here */
#define PING_CONNECTIONS 4

static dlist_head roles = DLIST_STATIC_INIT(roles);
static HTAB *accounts;
static MemoryContext share_context;
static bool given;

static int64 next_at_pace(int64 *last, int64 pace_ms, int burst, int64 now);

/* A process may have so many open files only, of which most are to be those of tables. */
void
tc_shares_init(void)
{
	int			connections = max_safe_fds / 3 / TC_CONNECTION_FILES - PING_CONNECTIONS;
	HASHCTL		info = {
		.keysize = sizeof(AccountKey),
		.entrysize = sizeof(Account)
	};

	share_context = AllocSetContextCreate(TopMemoryContext, "temporal_complete shares",
										  ALLOCSET_SMALL_SIZES);
	info.hcxt = share_context;
	accounts = hash_create("temporal_complete accounts", 64, &info,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	connections = Max(connections, 4);
	kinds[SHARE_CONNECTIONS].reserve = connections / 4;
	kinds[SHARE_CONNECTIONS].common = connections - connections / 4;
	/* one to a server, and one to its codec server */
	kinds[SHARE_CONNECTIONS].minimum = 2;
}

static Role *
find_role(Oid oid)
{
	dlist_iter	iter;
	Role	   *role;

	dlist_foreach(iter, &roles)
	{
		role = dlist_container(Role, node, iter.cur);
		if (role->role == oid)
			return role;
	}
	role = MemoryContextAllocZero(share_context, sizeof(Role));
	role->role = oid;
	dlist_push_head(&roles, &role->node);
	return role;
}

Account *
tc_account_get(Oid role_oid, Oid server)
{
	AccountKey	key = {role_oid, server};
	Role	   *role;
	Account    *account = hash_search(accounts, &key, HASH_FIND, NULL);

	if (account != NULL)
	{
		account->users++;
		return account;
	}
	role = find_role(role_oid);
	account = hash_search(accounts, &key, HASH_ENTER, NULL);
	memset((char *) account + sizeof(key), 0, sizeof(Account) - sizeof(key));
	account->role = role;
	account->users = 1;
	role->naccounts++;
	return account;
}

Account *
tc_account_share(Account *account)
{
	account->users++;
	return account;
}

void
tc_account_release(Account *account)
{
	Role	   *role = account->role;

	if (--account->users > 0)
		return;
	for (int kind = 0; kind < SHARE_KINDS; kind++)
		Assert(account->used[kind] == 0);
	(void) hash_search(accounts, &account->key, HASH_REMOVE, NULL);
	if (--role->naccounts > 0)
		return;
	dlist_delete(&role->node);
	pfree(role);
}

bool
tc_share_has_room(const Account *account, ShareKind kind)
{
	return tc_share_has_room_for(account, kind, 1);
}

bool
tc_share_has_room_for(const Account *account, ShareKind kind, size_t amount)
{
	/* when the last one of them is taken */
	size_t		used = account->used[kind] + amount - 1;
	size_t		used_by_role = account->role->used[kind] + amount - 1;
	size_t		used_by_all = kinds[kind].used + amount - 1;
	size_t		left = 0;

	if (used_by_all < kinds[kind].common)
		left = GREED * (kinds[kind].common - used_by_all);
	if (used_by_role < left)
		return used < GREED * (left - used_by_role);
	return used_by_role < kinds[kind].minimum &&
		used_by_all < kinds[kind].common + kinds[kind].reserve;
}

void
tc_share_take(Account *account, ShareKind kind, size_t amount)
{
	account->used[kind] += amount;
	account->role->used[kind] += amount;
	kinds[kind].used += amount;
}

void
tc_share_give(Account *account, ShareKind kind, size_t amount)
{
	Assert(account->used[kind] >= amount);
	account->used[kind] -= amount;
	account->role->used[kind] -= amount;
	account->role->lacks[kind] = false;
	kinds[kind].used -= amount;
	given = true;
}

void
tc_share_note_lack(Account *account, ShareKind kind)
{
	account->role->lacks[kind] = true;
}

bool
tc_share_role_lacks(const Account *account, ShareKind kind)
{
	return account->role->lacks[kind];
}

bool
tc_share_same_role(const Account *a, const Account *b)
{
	return a->role == b->role;
}

bool
tc_share_role_has_more(const Account *a, const Account *b, ShareKind kind)
{
	return a->role->used[kind] > b->role->used[kind];
}

bool
tc_share_was_given(void)
{
	bool		result = given;

	given = false;
	return result;
}

bool
tc_share_is_given(void)
{
	return given;
}

int64
tc_share_next_retry(Account *account, int64 now)
{
	return next_at_pace(&account->next_retry, RETRY_PACE_MS, RETRY_BURST, now);
}

int64
tc_share_next_connect(Account *account, int64 now)
{
	int			failing = 0;
	dlist_iter	iter;

	/* those that have used up what they may do at once */
	dlist_foreach(iter, &roles)
		failing += dlist_container(Role, node, iter.cur)->next_connect > now;
	return next_at_pace(&account->role->next_connect,
						Max(CONNECT_PACE_MS, failing * CONNECT_PACE_EACH_MS), CONNECT_BURST, now);
}

/* The time after the last one, so far apart from it; of those that are over, so many are made up for. */
static int64
next_at_pace(int64 *last, int64 pace_ms, int burst, int64 now)
{
	int64		next = Max(*last, now - burst * pace_ms) + pace_ms;

	*last = Min(next, now + RETRY_WAIT_MAX_MS);
	return *last;
}
