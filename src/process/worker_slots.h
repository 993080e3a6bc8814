/*-------------------------------------------------------------------------
 *
 * worker_slots.h
 *	  Shared memory of the workers: who works for which database, is to look at
 *	  what, and is to leave.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WORKER_SLOTS_H
#define TC_WORKER_SLOTS_H

#include "process/key_marks.h"
#include "process/wake_bits.h"

/* In shared memory?  False if the library was not preloaded. */
extern bool tc_preloaded(void);

/* For _PG_init's hooks; the second one is called with AddinShmemInitLock held. */
extern Size tc_worker_slots_size(void);
extern void tc_worker_slots_startup(void);

/*---- for the worker ----*/

/* Why a worker ended, for the launcher */
typedef enum WorkerExit
{
	WORKER_EXIT_CRASHED,		/* nothing was said: restart with backoff */
	WORKER_EXIT_NO_EXTENSION,	/* until CREATE EXTENSION pokes the launcher */
	WORKER_EXIT_REPLACED,		/* the extension was dropped, and created anew */
	WORKER_EXIT_IDLE,			/* until a request pokes the launcher */
	WORKER_EXIT_ASKED			/* somebody needs the database or the slot */
} WorkerExit;

/*
 * Take the slot that the launcher reserved for a worker of this database.
 * Exits the process if there is none (another worker has it), or if the
 * worker was asked to leave before it began.  However the process ends, it
 * must call tc_worker_detach() before it leaves shared memory.
 */
extern void tc_worker_attach(void);

/* From tc_worker_attach() until tc_worker_detach() */
extern bool tc_worker_has_slot(void);

/*
 * Fetch and clear what was woken: queues, *look if every
 * queue is to be looked at (the extension may also be gone), *all if what
 * waits there is to be tried now, too.  False if nothing was.  Call it after
 * ResetLatch() and before looking at tables.  The first call tells the
 * launcher that the worker is at work.
 */
extern bool tc_worker_take_wakes(WokenQueues *woken, bool *look, bool *all);

/*
 * Have no wakes for a queue: those who commit then save the system call.  Only
 * for one that the worker will look at by itself, after it has said
 * tc_worker_hear_wakes(), which makes it hear all queues again.  Another
 * queue that has the same bit is heard.
 */
extern void tc_worker_mute_wakes(int64 queue);
extern void tc_worker_hear_wakes(void);

/*
 * Are there requests that wait for keys?  If so, transactions that record some
 * tell, from now on: what they have recorded is seen by a snapshot that is
 * taken after this call, or they tell.
 */
extern void tc_worker_await_keys(bool awaited);

/* Fetch and clear the keys that were recorded; *unnamed: also others.  Returns how many. */
extern int	tc_worker_take_keys(RecordedKey keys[TC_KEYS_MAX], bool *unnamed);

/*
 * Give up the slot; exit the process then.  False, and the slot is kept, if
 * a wake came in the meantime and the reason is WORKER_EXIT_IDLE.
 */
extern bool tc_worker_detach(WorkerExit reason);

/*
 * Must this worker leave now?  Yes at once for DROP DATABASE and the like;
 * when another database waits for a slot, only once nothing is in flight any
 * more and it is not busy with anything else, or after some seconds.  Leave
 * with WORKER_EXIT_IDLE if there is nothing left to do in this database, else
 * with WORKER_EXIT_ASKED.
 */
extern bool tc_worker_asked_to_leave(bool busy);

/* Was it asked to leave, maybe not at once?  Then nothing new should be sent. */
extern bool tc_worker_leaving_soon(void);

/*---- for backends ----*/

/*
 * Wake the worker of a database; NULL: only have it go through its loop.  If
 * there is no worker, the launcher is told that one is wanted.  Does nothing
 * that can fail: may be called while a transaction commits.
 */
extern void tc_wake_worker(Oid database, const Wake *wake);

/*
 * Tell the worker of a database which keys were recorded, if it has requests
 * that wait for some.  One that starts later looks by itself.  The same holds.
 */
extern void tc_tell_keys(Oid database, const KeyWake *wake);

/* The slot of the worker that runs, or starts, in a database; TC_SLOT_NONE if there is none. */
#define TC_SLOT_NONE (-1)
extern int	tc_slot_of(Oid database);
extern bool tc_has_worker(Oid database);

/*
 * Ask the worker of a database to leave at once, and wait until its process
 * has left the database, but not longer than timeout_ms.  Interruptible.
 */
extern void tc_evict_worker(Oid database, int timeout_ms);

/*---- for the launcher ----*/

/* Why a worker is asked to leave */
typedef enum LeaveRequest
{
	LEAVE_NOT,
	LEAVE_FOR_OTHERS,			/* its turn is over: finish what is in flight */
	LEAVE_AT_ONCE
} LeaveRequest;

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_STARTING,				/* reserved, the worker is not there yet */
	SLOT_RUNNING,				/* the worker has attached */
	SLOT_EXITED					/* the launcher has not seen yet why */
} SlotState;

/* What the launcher sees of a slot */
typedef struct SlotView
{
	SlotState	state;
	Oid			database;
	bool		working;		/* has begun to look for requests */
	LeaveRequest leave;
	int64		leave_since;	/* monotonic ms, if it was asked to */
	int			pid;			/* 0: not there yet */
	WorkerExit	exit_reason;	/* if SLOT_EXITED */
	bool		woken;			/* if SLOT_EXITED: a wake was not taken */
	int			in_flight;
} SlotView;

extern int	tc_slot_count(void);
extern void tc_slot_view(int slot, SlotView *view);

/* Reserve a slot.  TC_SLOT_NONE if none is free, TC_SLOT_BARRED if the database is barred. */
#define TC_SLOT_BARRED (-2)
extern int	tc_slot_reserve(Oid database);

/* Free a slot that is STARTING or EXITED.  False if it is not, or no longer. */
extern bool tc_slot_release(int slot, SlotState state);

/* Free all that are STARTING: the launcher that reserved them is gone. */
extern void tc_slots_release_starting(void);
extern void tc_slot_ask_to_leave(int slot, LeaveRequest leave);

#endif							/* TC_WORKER_SLOTS_H */
