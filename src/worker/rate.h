/*-------------------------------------------------------------------------
 *
 * rate.h
 *	  How many requests may be sent to a server in a second.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_RATE_H
#define TC_RATE_H

/* What is counted for itself */
typedef enum RateKind
{
	RATE_REQUESTS,				/* of all kinds */
	RATE_HEARTBEATS				/* of recorded activities */
} RateKind;

/* Of a server that has the option max_requests_per_second, or max_heartbeats_per_second */
typedef struct Rate Rate;

extern void tc_rates_init(void);

/* That of a server; whoever asks for it is one of its users until released. */
extern Rate *tc_rate_get(Oid server, RateKind kind);
extern void tc_rate_release(Rate *rate);

/*
 * May a request of that role be sent now, by a limit of so many a second?  Then
 * it has to be.  If not, the role has its turn among others that wait, as
 * long as it asks in each turn of the worker.
 */
extern bool tc_rate_take(Rate *rate, Oid role, int limit);

/* It may not: when (monotonic ms) should it be asked again? */
extern int64 tc_rate_next(const Rate *rate);

/* Is the role in line, because it found none? */
extern bool tc_rate_waits(const Rate *rate, Oid role);

/*
 * All who want to send have asked: is there somebody to ask again at once?  If
 * not, the loop goes round when it is time to.
 */
extern bool tc_rates_turn(void);

#endif							/* TC_RATE_H */
