/*-------------------------------------------------------------------------
 *
 * doubt.h
 *	  What a former worker may have sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DOUBT_H
#define TC_DOUBT_H

/* Needs a transaction with an active snapshot, before this worker sends anything. */
extern void tc_doubt_init(void);

/* May a former worker have sent what that transaction asked for? */
extern bool tc_doubt_covers(uint64 xid);

/*
 * Was it asked for where the files of this database were copied from?  Then it
 * may have been sent from there, whatever was known of it before that.
 */
extern bool tc_doubt_is_of_copy(TimestampTz requested_at);

/*
 * When the first worker after the one that may have sent it began, by
 * tc_monotonic_ms(): since then nobody has sent any of it.
 */
extern int64 tc_doubt_began_at(void);

/*
 * To be called before requests are sent, and before the WAL is flushed for
 * them: it is noted that a worker sends, in a transaction of its own.  False
 * if that could not be done; then nothing may be sent.
 */
extern bool tc_doubt_note_sending(void);

/*
 * This worker leaves, nothing of what it has sent is open, and rows say of
 * which requests the end is not known.  all_done: it has seen to all requests
 * that were there when it began.
 */
extern void tc_doubt_note_leaving(bool all_done);

#endif							/* TC_DOUBT_H */
