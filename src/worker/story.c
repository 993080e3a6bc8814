/*-------------------------------------------------------------------------
 *
 * story.c
 *	  What the server log tells of servers and requests.
 *
 * An administrator who reads the log at its default settings sees in few
 * lines when a server became unreachable or refuses, when it is back, and
 * that requests were rejected.  What is noted here is a state, not an event:
 * a line is written when the state is not the one that was told last, and not
 * more often than the limits below allow.  So servers that come and go do not
 * fill the log, and the last line about each is true in the end.
 *
 * Lines have names, ids and codes; names are cleaned, and the words of a
 * server are not repeated: they may be made to deceive, or hold what does not
 * belong into a log.  Only the reasons of failed connections are, which are
 * our own words.  Payloads, tokens and secrets are never known here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/event_loop.h"
#include "base/foreign_text.h"
#include "worker/story.h"
#include "worker/transaction.h"

/* Trouble in the same place is told of that often at most; so are refusals by one server */
#define TELL_INTERVAL_MS 60000

/* Lines in that time, about all of them; what is beyond is told in one line */
#define LINES_MAX 20

/* Places and servers that are remembered; trouble of which nothing is heard for that long is forgotten */
#define NOTES_MAX 1000
#define FORGET_MS 3600000
#define MAKE_ROOM_MS 1000

/* A connection that was lost and is there again so soon is nothing to tell of */
#define GRACE_MS 1000

/* So many failures without a success between them are trouble */
#define FAILURES_TO_TELL 3

/* Requests that wait are counted so far */
#define COUNT_MAX 10000

/* Of which outcomes it is, in the key of a note */
typedef enum NoteKind
{
	NOTE_TROUBLE,
	NOTE_REJECTED,
	NOTE_UNCONFIRMED
} NoteKind;

/*
 * Where: a queue; or a role's queues for a server (queue 0); or a server
 * (role InvalidOid too).  Zeroed before it is filled, for it is hashed as bytes.
 */
typedef struct NoteKey
{
	char		server[NAMEDATALEN];
	Oid			role;
	int64		queue;
	NoteKind	kind;
} NoteKey;

typedef struct Note
{
	NoteKey		key;
	int64		told_at;		/* monotonic ms; 0 = never */
	int64		heard_at;

	/* trouble */
	char		namespace_name[256];
	char		message[512];	/* our words (UTF-8), or "" */
	int			failures;		/* in a row, before it counts as trouble */
	const char *code;			/* constant; NULL = nothing is wrong */
	const char *told_code;		/* what the log says */
	int64		since;			/* monotonic ms: when it began */

	/*
	 * outcomes since they were told of; of trouble that is over, requests
	 * that were answered since
	 */
	int64		count;
	int64		first_id;
	const char *first_code;
} Note;

static HTAB *notes;
static int	nnotes;
static bool changed;			/* something may have to be told */
static LoopTimer timer;
static bool timer_is_due;

/* Lines since then, and what found no place among them */
static int64 minute_began;
static int	lines;
static int64 more_trouble;
static bool more_unknown;		/* and in places that are not remembered */
static int64 more_back;
static int64 more_outcomes;

static CountWaiting count;
static bool leaving;

static Note *note_for(const char *server, Oid role, int64 queue, NoteKind kind, bool create);
static bool make_room(void);
static void forget(Note *note);
static void forget_old_notes(int64 now);
static void note_trouble(const StoryPlace *place, Oid role, int64 queue, const char *code,
						 const char *message);
static Note *note_end(const char *server, Oid role, int64 queue);
static bool there_is_more(void);
static void timer_due(void *arg);
static bool is_to_be_told(const Note *note);
static int64 due_at(const Note *note);
static void tell_all(void *arg);
static void tell(Note *note);
static void tell_trouble(const Note *note);
static void tell_end(const Note *note);
static void tell_outcomes(const Note *note);
static void tell_rest(void);
static char *server_name(const Note *note);
static char *clean(const char *name);
static char *role_name(Oid role);
static char *waiting(const Note *note);
static char *duration(int64 ms);

/*---- notes ----*/

static Note *
note_for(const char *server, Oid role, int64 queue, NoteKind kind, bool create)
{
	NoteKey		key;
	Note	   *note;

	if (notes == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(NoteKey),.entrysize = sizeof(Note),.hcxt = TopMemoryContext};

		if (!create)
			return NULL;
		notes = hash_create("temporal_complete story", 64, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memset(&key, 0, sizeof(key));
	strlcpy(key.server, server, sizeof(key.server));
	key.role = role;
	key.queue = queue;
	key.kind = kind;

	note = hash_search(notes, &key, HASH_FIND, NULL);
	if (note != NULL || !create)
		return note;
	if (nnotes >= NOTES_MAX && !make_room())
		return NULL;
	note = hash_search(notes, &key, HASH_ENTER, NULL);
	memset((char *) note + sizeof(NoteKey), 0, sizeof(Note) - sizeof(NoteKey));
	nnotes++;
	return note;
}

/* Only now and then, for it takes a look at all of them. */
static bool
make_room(void)
{
	static int64 tried_at = 0;
	int64		now = tc_monotonic_ms();

	if (now - tried_at >= MAKE_ROOM_MS)
	{
		tried_at = now;
		forget_old_notes(now);
	}
	return nnotes < NOTES_MAX;
}

static void
forget(Note *note)
{
	(void) hash_search(notes, &note->key, HASH_REMOVE, NULL);
	nnotes--;
}

/* What is over, and trouble of which nothing was heard for long */
static void
forget_old_notes(int64 now)
{
	HASH_SEQ_STATUS status;
	Note	   *note;

	hash_seq_init(&status, notes);
	while ((note = hash_seq_search(&status)) != NULL)
	{
		bool		is_over = note->code == NULL && note->failures == 0 && note->count == 0 &&
			note->told_code == NULL && now - note->told_at >= TELL_INTERVAL_MS;

		if (is_over || (note->count == 0 && now - note->heard_at >= FORGET_MS))
			forget(note);
	}
}

/*---- what happens ----*/

static bool
is_of_the_server(const char *code)
{
	return strcmp(code, "CONNECTION_FAILED") == 0 ||
		strcmp(code, "NAME_RESOLUTION_FAILED") == 0 ||
		strcmp(code, "PROXY_FAILED") == 0 ||
		strcmp(code, "NOT_HTTP2") == 0;
}

void
tc_story_trouble(const StoryPlace *place, const char *code, const char *message)
{
	/* keys and options may be the role's */
	note_trouble(place, is_of_the_server(code) ? InvalidOid : place->role, 0, code, message);
}

void
tc_story_connected(const StoryPlace *place)
{
	if (nnotes == 0)
		return;
	(void) note_end(place->server, InvalidOid, 0);
	(void) note_end(place->server, place->role, 0);
}

void
tc_story_failure(const StoryPlace *place, const char *code, bool needs_operator)
{
	Note	   *note = note_for(place->server, place->role, place->queue, NOTE_TROUBLE, true);

	if (note == NULL)
		return;
	note->heard_at = tc_monotonic_ms();
	if (note->failures == 0)
		note->since = note->heard_at;
	if (note->failures < FAILURES_TO_TELL)
		note->failures++;
	if (needs_operator || note->failures >= FAILURES_TO_TELL)
		note_trouble(place, place->role, place->queue, code, "");
}

void
tc_story_success(const StoryPlace *place)
{
	Note	   *note = nnotes == 0 ? NULL : note_end(place->server, place->role, place->queue);

	if (note != NULL && note->told_code != NULL)
		note->count++;
}

static void
note_trouble(const StoryPlace *place, Oid role, int64 queue, const char *code, const char *message)
{
	Note	   *note = note_for(place->server, role, queue, NOTE_TROUBLE, true);

	if (note == NULL)
	{
		changed |= !more_unknown;
		more_unknown = true;
		return;
	}
	note->heard_at = tc_monotonic_ms();
	if (note->code != NULL && strcmp(note->code, code) == 0)
		return;
	if (note->code == NULL && note->failures == 0)
		note->since = note->heard_at;
	note->code = code;
	strlcpy(note->namespace_name, place->namespace_name, sizeof(note->namespace_name));
	strlcpy(note->message, message, sizeof(note->message));
	changed = true;
}

/* Returns the note if there still is one. */
static Note *
note_end(const char *server, Oid role, int64 queue)
{
	Note	   *note = note_for(server, role, queue, NOTE_TROUBLE, false);

	if (note == NULL)
		return NULL;
	note->failures = 0;
	if (note->code == NULL && note->told_code == NULL && note->told_at == 0)
	{
		forget(note);
		return NULL;
	}
	if (note->code != NULL)
	{
		note->heard_at = tc_monotonic_ms();
		note->code = NULL;
		changed = true;
	}
	return note;
}

void
tc_story_outcome(const char *server, OutcomeKind kind, int64 id, const char *code)
{
	Note	   *note;

	if (kind != OUTCOME_REJECTED && kind != OUTCOME_UNCONFIRMED)
		return;
	changed = true;
	note = note_for(server, InvalidOid, 0,
					kind == OUTCOME_REJECTED ? NOTE_REJECTED : NOTE_UNCONFIRMED, true);
	if (note == NULL)
	{
		more_outcomes++;
		return;
	}
	note->heard_at = tc_monotonic_ms();
	if (note->count++ == 0)
	{
		note->first_id = id;
		note->first_code = code;
	}
}

/*---- telling ----*/

static bool
there_is_more(void)
{
	return more_trouble + more_back + more_outcomes > 0 || more_unknown;
}

static void
timer_due(void *arg)
{
	timer_is_due = true;
}

void
tc_story_turn(CountWaiting count_waiting)
{
	HASH_SEQ_STATUS status;
	Note	   *note;
	int64		now;
	int64		next = PG_INT64_MAX;
	bool		some = false;

	if (!changed && !timer_is_due)
		return;
	changed = timer_is_due = false;
	now = tc_monotonic_ms();
	if (now - minute_began >= TELL_INTERVAL_MS)
	{
		some = there_is_more();
		minute_began = now;
		lines = 0;
	}
	else if (there_is_more())
		next = minute_began + TELL_INTERVAL_MS;

	if (notes != NULL)
	{
		hash_seq_init(&status, notes);
		while ((note = hash_seq_search(&status)) != NULL)
		{
			int64		due = due_at(note);

			if (due <= now)
				some = true;
			else
				next = Min(next, due);
		}
	}
	count = count_waiting;
	if (some && !tc_run_transaction(tell_all, &now))
		next = now + TELL_INTERVAL_MS;
	else if (there_is_more())
		next = Min(next, minute_began + TELL_INTERVAL_MS);
	if (next != PG_INT64_MAX)
		tc_timer_set(&timer, next, timer_due, NULL);
}

void
tc_story_end(CountWaiting count_waiting)
{
	leaving = changed = true;
	minute_began = 0;
	tc_story_turn(count_waiting);
	leaving = false;
}

static bool
is_to_be_told(const Note *note)
{
	if (note->key.kind != NOTE_TROUBLE)
		return note->count > 0;
	if (note->code == NULL || note->told_code == NULL)
		return note->code != note->told_code;
	return strcmp(note->code, note->told_code) != 0;
}

/*
 * When something is to be told of it.  An end at once: it comes after a line
 * that said that there is trouble.
 */
static int64
due_at(const Note *note)
{
	int64		due = note->told_at == 0 ? 0 : note->told_at + TELL_INTERVAL_MS;

	if (!is_to_be_told(note))
		return PG_INT64_MAX;
	if (leaving || (note->key.kind == NOTE_TROUBLE && note->code == NULL))
		return 0;
	if (note->key.kind == NOTE_TROUBLE && !OidIsValid(note->key.role))
		due = Max(due, note->since + GRACE_MS);
	return due;
}

static void
tell_all(void *arg)
{
	int64		now = *(int64 *) arg;
	HASH_SEQ_STATUS status;
	Note	   *note;

	if (lines == 0)
		tell_rest();
	if (notes == NULL)
		return;
	hash_seq_init(&status, notes);
	while ((note = hash_seq_search(&status)) != NULL)
	{
		if (due_at(note) > now)
			continue;
		if (lines < LINES_MAX)
		{
			lines++;
			tell(note);
		}
		else if (note->key.kind != NOTE_TROUBLE)
			more_outcomes += note->count;
		else if (note->code != NULL)
			more_trouble++;
		else
			more_back++;
		note->told_code = note->code;
		note->told_at = now;
		note->count = 0;
	}
	if (leaving)
		tell_rest();
	forget_old_notes(now);
}

static void
tell(Note *note)
{
	if (note->key.kind != NOTE_TROUBLE)
		tell_outcomes(note);
	else if (note->code != NULL)
		tell_trouble(note);
	else
		tell_end(note);
}

/* For ereport() */
static int
hint_of(const char *code)
{
	if (strcmp(code, "TLS_FAILED") == 0)
		return errhint("Check the options of TLS, \"tls_server_name\" among them: see \"Private links\" in operations.md.");
	if (strcmp(code, "PROXY_AUTHENTICATION_FAILED") == 0)
		return errhint("Set the option \"proxy_auth\" of the user mapping.");
	return 0;
}

static void
tell_trouble(const Note *note)
{
	char	   *server = server_name(note);
	char	   *wait = waiting(note);

	if (note->key.queue != 0)
		ereport(LOG,
				(errcode(ERRCODE_CONNECTION_EXCEPTION),
				 errmsg("server %s does not take requests of role \"%s\" for namespace \"%s\": %s",
						server, role_name(note->key.role), clean(note->namespace_name), note->code),
				 errdetail_log("Requests that wait: %s.", wait),
				 errhint("See error_message in temporal.request.")));
	else if (OidIsValid(note->key.role))
		ereport(LOG,
				(errcode(ERRCODE_CONNECTION_EXCEPTION),
				 errmsg("server %s cannot be used for role \"%s\": %s",
						server, role_name(note->key.role), note->code),
				 hint_of(note->code),
				 errdetail_log("%s; requests that wait: %s", tc_words_to_server(note->message), wait)));
	else
		ereport(LOG,
				(errcode(ERRCODE_CONNECTION_EXCEPTION),
				 errmsg("server %s cannot be reached: %s", server, note->code),
				 errdetail_log("%s; requests that wait: %s", tc_words_to_server(note->message), wait)));
}

static void
tell_end(const Note *note)
{
	char	   *server = server_name(note);
	char	   *wait = waiting(note);
	char	   *after = duration(note->heard_at - note->since);

	if (note->key.queue != 0)
		ereport(LOG,
				(errmsg("server %s takes requests of role \"%s\" for namespace \"%s\" again, after %s",
						server, role_name(note->key.role), clean(note->namespace_name), after),
				 errdetail_log("Requests that waited: %s.", wait)));
	else if (OidIsValid(note->key.role))
		ereport(LOG,
				(errmsg("server %s can be used for role \"%s\" again, after %s",
						server, role_name(note->key.role), after),
				 errdetail_log("Requests that waited: %s.", wait)));
	else
		ereport(LOG,
				(errmsg("server %s can be reached again, after %s", server, after),
				 errdetail_log("Requests that waited: %s.", wait)));
}

static void
tell_outcomes(const Note *note)
{
	const char *end = note->key.kind == NOTE_REJECTED ? "rejected" : "unconfirmed";
	const char *code = note->first_code ? note->first_code : "no code";
	char	   *server = server_name(note);

	if (note->count == 1)
		ereport(LOG,
				(errmsg("request %lld to server %s ended %s: %s",
						(long long) note->first_id, server, end, code)));
	else
		ereport(LOG,
				(errmsg("%lld requests to server %s ended %s, the first of them %lld: %s",
						(long long) note->count, server, end,
						(long long) note->first_id, code)));
}

/* What found no place in the lines of the former minute */
static void
tell_rest(void)
{
	if (!there_is_more())
		return;
	ereport(LOG,
			(errmsg("more happened in database \"%s\" than is told here: trouble in %lld places%s, its end in %lld, and %lld requests rejected or unconfirmed",
					clean(get_database_name(MyDatabaseId)), (long long) more_trouble,
					more_unknown ? " or more" : "", (long long) more_back, (long long) more_outcomes),
			 errhint("See temporal.request.")));
	more_trouble = more_back = more_outcomes = 0;
	more_unknown = false;
}

/* Of several databases, each may have one of that name. */
static char *
server_name(const Note *note)
{
	return psprintf("\"%s\" of database \"%s\"", clean(note->key.server),
					clean(get_database_name(MyDatabaseId)));
}

/* A name of this database for the log */
static char *
clean(const char *name)
{
	return tc_words_to_server(tc_words_from_server(name));
}

static char *
role_name(Oid role)
{
	char	   *name = GetUserNameFromId(role, true);

	return name != NULL ? clean(name) : psprintf("%u", role);
}

static char *
waiting(const Note *note)
{
	int64		n = note->count + count(note->key.server, note->key.role, note->key.queue, COUNT_MAX);

	return psprintf(n >= COUNT_MAX ? "%lld or more" : "%lld", (long long) n);
}

static char *
duration(int64 ms)
{
	return ms < 10000 ? psprintf("%lld ms", (long long) ms) : psprintf("%lld s", (long long) ms / 1000);
}
