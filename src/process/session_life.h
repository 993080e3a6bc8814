/*-------------------------------------------------------------------------
 *
 * session_life.h
 *	  Which sessions live.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SESSION_LIFE_H
#define TC_SESSION_LIFE_H

extern Size tc_session_life_size(void);
extern void tc_session_life_startup(void);

/*
 * The number of this session, which no other one ever has, for what lives only
 * as long as it; the transaction cannot be prepared then.  An error if the
 * library is not preloaded.
 */
extern int64 tc_session_number(void);

/* Does the session of that number live? */
extern bool tc_session_lives(int64 number);

#endif							/* TC_SESSION_LIFE_H */
