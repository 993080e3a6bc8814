/*-------------------------------------------------------------------------
 *
 * share.h
 *	  Who may have how much of what a worker has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SHARE_H
#define TC_SHARE_H

#include "lib/ilist.h"

/* What there is only so much of */
typedef enum ShareKind
{
	SHARE_PLACES,				/* requests in flight */
	SHARE_BYTES,				/* of requests in memory */
	SHARE_REQUESTS,				/* in memory, with or without bytes */
	SHARE_CONFIRMING,			/* of these, such that are being confirmed */
	SHARE_PROOFS,				/* calls of proof.c */
	SHARE_CONNECTIONS,
	SHARE_QUEUES,				/* in memory */
	SHARE_MESSAGES,				/* bytes of what requests in memory were told,
								 * if it is long */
	SHARE_HEARTBEATS,			/* recorded activities that have some sent */
	SHARE_ENCODED				/* bytes that are encoded by codec servers, or
								 * being: as many as these like */
} ShareKind;

#define SHARE_KINDS (SHARE_ENCODED + 1)

/* The account of a role at a server */
typedef struct Account Account;

extern void tc_shares_init(void);

/* The account of a role at a server; whoever asks for it, or shares it, is one of its users until released. */
extern Account *tc_account_get(Oid role, Oid server);
extern Account *tc_account_share(Account *account);
extern void tc_account_release(Account *account);

/* May it have more?  Whoever may takes as much as one thing needs, however much that is. */
extern bool tc_share_has_room(const Account *account, ShareKind kind);
extern bool tc_share_has_room_for(const Account *account, ShareKind kind, size_t amount);

/*
 * It wanted more and found no room; that is forgotten when its role gives
 * something of that kind back.
 */
extern void tc_share_note_lack(Account *account, ShareKind kind);
extern bool tc_share_role_lacks(const Account *account, ShareKind kind);

/* Do both belong to one role?  Has the first one's role more than the other's? */
extern bool tc_share_same_role(const Account *a, const Account *b);
extern bool tc_share_role_has_more(const Account *a, const Account *b, ShareKind kind);

/* Neither of them raises errors. */
extern void tc_share_take(Account *account, ShareKind kind, size_t amount);
extern void tc_share_give(Account *account, ShareKind kind, size_t amount);

/* Was something given back since this was asked last?  Then who had no room may have some. */
extern bool tc_share_was_given(void);

/* The same, and it will be said again. */
extern bool tc_share_is_given(void);

/*
 * Attempts of an account that fail are made again at a bounded rate, however
 * many queues they are of: when (monotonic ms) the next one may be made.
 */
extern int64 tc_share_next_retry(Account *account, int64 now);

/*
 * The same for attempts to connect, at a rate for each role that gets lower the
 * more roles have many that fail.
 */
extern int64 tc_share_next_connect(Account *account, int64 now);

#endif							/* TC_SHARE_H */
