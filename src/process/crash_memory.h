/*-------------------------------------------------------------------------
 *
 * crash_memory.h
 *	  What is remembered of workers that crashed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CRASH_MEMORY_H
#define TC_CRASH_MEMORY_H

/*---- for the worker, and the launcher itself ----*/

/*
 * Leave a mark that says who is at work; InvalidOid is the launcher.  It goes
 * when the process ends, unless that is by a crash of its own.  Takes the
 * signal SIGQUIT over, by which the postmaster ends those who did not crash.
 */
extern void tc_crash_mark(Oid database);

/*---- for the launcher ----*/

/*
 * Read what is remembered.  If no worker can have been started since shared
 * memory was initialized, marks that are there are of workers that crashed.
 */
extern void tc_crashes_read(bool take_marks);

/*
 * When may a worker be started in a database?  Monotonic ms: 0 = at any time,
 * TC_NEVER = not before tc_crashes_try_again().  What has not been said yet in
 * the log is said now.
 */
extern int64 tc_crashes_not_before(Oid database, const char *name);

/* Have one more try where a worker crashed too often: somebody may have mended it. */
extern void tc_crashes_try_again(void);

/* The server is shut down in an ordinary way, or nothing of a database is worth remembering. */
extern void tc_crashes_forget_all(void);
extern void tc_crashes_forget(Oid database);

/*---- for everybody ----*/

/* Did workers of that database crash so often in a row that it gets no more? */
extern bool tc_crashes_stop(Oid database);

#endif							/* TC_CRASH_MEMORY_H */
