/*-------------------------------------------------------------------------
 *
 * crash_memory.c
 *	  What is remembered of workers that crashed.
 *
 * When a process crashes, the postmaster ends all others and initializes
 * shared memory anew, so a worker that crashes at its start would end
 * everybody's sessions again and again.  Hence who crashed is remembered in
 * files: the launcher starts that worker later each time, and after a few
 * times no more:
 *
 *	  crashes in a row     1      2      3       4
 *	  started again after  1 s    4 s    16 s    the configuration is reloaded
 *
 * The launcher, which has no database, goes on from there, up to 5 minutes.
 *
 * A worker leaves a mark, an empty file, before it is connected, and removes
 * it when it ends.  One that crashes cannot; one that is ended because another
 * process crashed does it in its handler of SIGQUIT.  So marks that the first
 * launcher finds that runs with new shared memory are of workers that crashed
 * themselves (or were killed by the system for lack of memory).  The launcher
 * has a mark, too.
 *
 * The files are where PostgreSQL keeps what is of use to a running server
 * only: base backups and pg_rewind leave that directory out, and a crash does
 * not empty it.  Nothing is flushed: a process that crashes takes nothing
 * that was written with it, and what a power failure takes is no loss.
 *
 * Nothing here may raise an error, wait, or take much: without a memory
 * workers are started all the same, and so they are whatever somebody has put
 * there in place of these files.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "base/event_loop.h"
#include "process/crash_memory.h"

#define MARK_PREFIX "temporal_complete.worker." /* <database>.<pid> */
#define MEMORY_FILE PG_STAT_TMP_DIR "/temporal_complete.crashes"
#define MEMORY_FILE_TMP MEMORY_FILE ".tmp"

/* So many crashes in a row are enough */
#define MAX_CRASHES 4

/* The launcher goes on after that, but need not be counted for longer */
#define MAX_COUNTED 10

/* Databases that are remembered, and marks that are looked at; more have not crashed one by one */
#define MAX_KNOWN 1000

/* Before the first new start; four times as long each time, up to the maximum */
#define WAIT_MIN_S 1
#define WAIT_FACTOR 4
#define WAIT_MAX_S 300

/* Crashes are in a row if the worker did not work for longer than that before it crashed, ... */
#define WORKED_WELL_S 600

/* ... and was started not longer than that after the one before */
#define IN_A_ROW_S 900

typedef struct Crashes
{
	Oid			database;		/* InvalidOid: the launcher */
	int			count;			/* in a row */
	pg_time_t	last;			/* when the last one was noticed, or somebody
								 * wanted another try */
	int64		not_before;		/* monotonic ms */
	bool		told;			/* in the log */
} Crashes;

/* What one has left */
typedef struct Mark
{
	Oid			database;		/* InvalidOid: the launcher */
	pg_time_t	began;
} Mark;

/* Who has crashed, in the launcher */
static Crashes *known = NULL;
static int	nknown = 0;

/* Path of the own mark */
static char mark[MAXPGPATH];

static void remove_mark_and_quit(SIGNAL_ARGS);
static void remove_mark_at_exit(int code, Datum arg);
static bool is_file(const char *path, struct stat *st);
static FILE *open_memory(void);
static bool read_line(FILE *file, Oid *database, int *count, pg_time_t *last);
static void read_memory(void);
static void write_memory(void);
static void take_marks_of_crashed(void);
static void note_crash(Oid database, pg_time_t began);
static void set_not_before(Crashes *crashes);
static int	wait_seconds(const Crashes *crashes);
static Crashes *crashes_of(Oid database, bool create);

/*---- marks ----*/

void
tc_crash_mark(Oid database)
{
	int			fd;

	snprintf(mark, sizeof(mark), "%s/%s%u.%d", PG_STAT_TMP_DIR, MARK_PREFIX, database, MyProcPid);
	pqsignal(SIGQUIT, remove_mark_and_quit);
	on_proc_exit(remove_mark_at_exit, (Datum) 0);

	/* of a process of the same id, before */
	unlink(mark);
	fd = open(mark, O_CREAT | O_EXCL | O_WRONLY, pg_file_create_mode);
	if (fd < 0)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", mark)));
	else
		close(fd);
}

/* Another process crashed.  As SignalHandlerForCrashExit(); only what may be done at any point of any code. */
static void
remove_mark_and_quit(SIGNAL_ARGS)
{
	unlink(mark);
	_exit(2);
}

static void
remove_mark_at_exit(int code, Datum arg)
{
	unlink(mark);
}

/*---- the launcher's memory ----*/

void
tc_crashes_read(bool take_marks)
{
	read_memory();
	if (take_marks)
		take_marks_of_crashed();
	for (int i = 0; i < nknown; i++)
		set_not_before(&known[i]);
}

/* Not a pipe, at which one would wait, nor a link to something else. */
static bool
is_file(const char *path, struct stat *st)
{
	return lstat(path, st) == 0 && S_ISREG(st->st_mode);
}

/* NULL if there is none */
static FILE *
open_memory(void)
{
	struct stat st;

	return is_file(MEMORY_FILE, &st) ? AllocateFile(MEMORY_FILE, "r") : NULL;
}

/*
 * The next line of the memory that can be read; others were written by another
 * version.  A time that lies ahead is of a clock that was put back.
 */
static bool
read_line(FILE *file, Oid *database, int *count, pg_time_t *last)
{
	char		line[128];
	long long	time_read;

	while (fgets(line, sizeof(line), file) != NULL)
	{
		if (sscanf(line, "%u %d %lld", database, count, &time_read) == 3 && *count > 0)
		{
			pg_time_t	now = (pg_time_t) time(NULL);

			*count = Min(*count, MAX_COUNTED);
			*last = time_read < 0 || time_read > (long long) now ? now : (pg_time_t) time_read;
			return true;
		}
	}
	return false;
}

static void
read_memory(void)
{
	FILE	   *file = open_memory();
	Oid			database;
	int			count;
	pg_time_t	last;

	if (file == NULL)
		return;
	for (int i = 0; i < MAX_KNOWN && read_line(file, &database, &count, &last); i++)
	{
		Crashes    *crashes = crashes_of(database, true);

		if (crashes == NULL)
			break;
		crashes->count = count;
		crashes->last = last;
		/* only what lasts is worth being said again */
		crashes->told = count < MAX_CRASHES;
	}
	FreeFile(file);
}

bool
tc_crashes_stop(Oid database)
{
	FILE	   *file = open_memory();
	Oid			other;
	int			count;
	pg_time_t	last;
	bool		stop = false;

	if (file == NULL)
		return false;
	for (int i = 0; i < MAX_KNOWN && read_line(file, &other, &count, &last); i++)
		stop |= other == database && count >= MAX_CRASHES;
	FreeFile(file);
	return stop;
}

static void
write_memory(void)
{
	FILE	   *file;
	bool		ok = true;

	if (nknown == 0)
	{
		unlink(MEMORY_FILE);
		return;
	}
	unlink(MEMORY_FILE_TMP);
	file = AllocateFile(MEMORY_FILE_TMP, "w");
	if (file != NULL)
	{
		for (int i = 0; i < nknown; i++)
			ok &= fprintf(file, "%u %d %lld\n", known[i].database, known[i].count,
						  (long long) known[i].last) > 0;
		ok &= FreeFile(file) == 0;
	}
	if (file == NULL || !ok || rename(MEMORY_FILE_TMP, MEMORY_FILE) != 0)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", MEMORY_FILE)));
}

/*
 * If the launcher has left its mark as well as workers, who would have been
 * told to end if one of them had crashed, all were killed at once: the machine
 * lost its power, or a container its memory.  Then none is blamed.
 */
static void
take_marks_of_crashed(void)
{
	DIR		   *dir = AllocateDir(PG_STAT_TMP_DIR);
	struct dirent *entry;
	Mark	   *marks = NULL;
	int			nmarks = 0;
	bool		launcher = false;
	bool		workers = false;

	if (dir == NULL)
		return;
	while ((entry = ReadDirExtended(dir, PG_STAT_TMP_DIR, LOG)) != NULL)
	{
		char		path[MAXPGPATH];
		struct stat st;
		Oid			database;

		if (sscanf(entry->d_name, MARK_PREFIX "%u", &database) != 1)
			continue;
		snprintf(path, sizeof(path), "%s/%s", PG_STAT_TMP_DIR, entry->d_name);
		if (is_file(path, &st) && nmarks < MAX_KNOWN)
		{
			Mark	   *more = realloc(marks, (nmarks + 1) * sizeof(Mark));

			if (more != NULL)
			{
				marks = more;
				marks[nmarks].database = database;
				marks[nmarks++].began = (pg_time_t) st.st_mtime;
			}
			if (OidIsValid(database))
				workers = true;
			else
				launcher = true;
		}
		unlink(path);
	}
	FreeDir(dir);
	if (nmarks > 0 && !(launcher && workers))
	{
		for (int i = 0; i < nmarks; i++)
			note_crash(marks[i].database, marks[i].began);
		write_memory();
	}
	free(marks);
}

static void
note_crash(Oid database, pg_time_t began)
{
	Crashes    *crashes = crashes_of(database, true);
	pg_time_t	now = (pg_time_t) time(NULL);

	if (crashes == NULL)
		return;
	if (now - began > WORKED_WELL_S || began - crashes->last > IN_A_ROW_S)
		crashes->count = 0;
	crashes->count++;
	crashes->last = now;
	crashes->told = false;
}

/* What follows from what is remembered; a clock that was moved makes nobody wait longer. */
static void
set_not_before(Crashes *crashes)
{
	if (OidIsValid(crashes->database) && crashes->count >= MAX_CRASHES)
		crashes->not_before = TC_NEVER;
	else
	{
		int64		wait = wait_seconds(crashes);
		int64		left = (int64) crashes->last + wait - (int64) time(NULL);

		left = Max(Min(left, wait), 0);
		crashes->not_before = left == 0 ? 0 : tc_monotonic_ms() + left * 1000;
	}
}

static int
wait_seconds(const Crashes *crashes)
{
	int			wait = WAIT_MIN_S;

	for (int i = 1; i < crashes->count && wait < WAIT_MAX_S; i++)
		wait *= WAIT_FACTOR;
	return Min(wait, WAIT_MAX_S);
}

int64
tc_crashes_not_before(Oid database, const char *name)
{
	Crashes    *crashes = crashes_of(database, false);

	if (crashes == NULL)
		return 0;
	if (!crashes->told)
	{
		crashes->told = true;
		if (crashes->not_before == TC_NEVER)
			ereport(LOG,
					(errmsg("temporal_complete worker for database \"%s\" crashed %d times in a row, so the database gets no more",
							name, crashes->count),
					 errdetail("Requests in it are recorded and wait."),
					 errhint("See above what the crashes were. Once the cause is removed, reload the configuration; "
							 "or leave the database out of temporal_complete.databases.")));
		else if (OidIsValid(database))
			ereport(LOG,
					(errmsg("temporal_complete worker for database \"%s\" crashed", name),
					 errdetail("It is started again in %d s.", wait_seconds(crashes))));
		else
			ereport(LOG,
					(errmsg("temporal_complete launcher crashed"),
					 errdetail("Workers are started again in %d s.", wait_seconds(crashes))));
	}
	return crashes->not_before;
}

/*
 * If it crashes again, that is once more in a row.
 */
void
tc_crashes_try_again(void)
{
	bool		changed = false;

	for (int i = 0; i < nknown; i++)
	{
		Crashes    *crashes = &known[i];

		if (crashes->not_before == 0)
			continue;
		if (crashes->not_before == TC_NEVER)
		{
			crashes->count = MAX_CRASHES - 1;
			crashes->last = (pg_time_t) time(NULL);
			changed = true;
		}
		crashes->not_before = 0;
		crashes->told = true;
	}
	if (changed)
		write_memory();
}

void
tc_crashes_forget_all(void)
{
	nknown = 0;
	write_memory();
}

void
tc_crashes_forget(Oid database)
{
	Crashes    *crashes = crashes_of(database, false);

	if (crashes == NULL)
		return;
	*crashes = known[--nknown];
	write_memory();
}

/* NULL if there is none, or no room for another one. */
static Crashes *
crashes_of(Oid database, bool create)
{
	for (int i = 0; i < nknown; i++)
		if (known[i].database == database)
			return &known[i];
	if (!create || nknown == MAX_KNOWN)
		return NULL;
	if (known == NULL)
		known = MemoryContextAlloc(TopMemoryContext, sizeof(Crashes));
	else
		known = repalloc(known, (nknown + 1) * sizeof(Crashes));
	memset(&known[nknown], 0, sizeof(Crashes));
	known[nknown].database = database;
	return &known[nknown++];
}
