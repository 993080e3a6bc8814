/*-------------------------------------------------------------------------
 *
 * repair.h
 *	  What functions that decide about requests have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REPAIR_H
#define TC_REPAIR_H

#include "functions/owner_query.h"

/*
 * What selects a request: $1 is the caller, $2 the id, and $3 says whether
 * the caller has the rights of the extension's owner, who may also give up what
 * belongs to nobody any more.
 */
#define OF_CALLER(request) \
	"(EXISTS (SELECT FROM temporal_internal.queue_here q" \
	"   WHERE q.number = " request ".queue AND pg_has_role($1, q.role, 'USAGE')) OR $3)"

/*
 * With what was made, its columns id, queue, key, recorded_activity and
 * awaited_until: what waits for its key, as outbox/key_waits.c has it, or until
 * an earlier time.
 */
#define NOTE_KEY_WAITS(made, until) \
	"INSERT INTO temporal_internal.awaited_key (key_hash, queue, id, awaited_until)" \
	" SELECT hashtextextended(m.key COLLATE \"C\", 0), m.queue, m.id, least(m.awaited_until, " until ")" \
	"   FROM " made " m" \
	"  WHERE m.key IS NOT NULL AND m.recorded_activity IS NULL AND m.awaited_until IS NOT NULL AND m.queue > 0"

/*
 * Requests that were rejected, or are unconfirmed, move back to the outbox as
 * if they were made now; those of which it is not known are looked up first.
 * What they are sent with is new, so what they were sent with is noted.
 * Returns the queues that they are in then.
 */
#define RETRY_FINISHED(condition) \
	"WITH gone AS (" \
	" DELETE FROM temporal_internal.rejected r USING temporal_internal.queue_here q" \
	"  WHERE q.number = r.queue AND pg_has_role($1, q.role, 'USAGE') AND " condition \
	/* who may no longer use a server may not retry there either */ \
	"   AND has_server_privilege(q.role, q.server_oid, 'USAGE')" \
	" RETURNING r.*, r.xmin AS stored_by, q.server_oid, q.given_namespace, q.role, q.made_here," \
	"     q.system_identifier, q.database)," \
	" made AS (" \
	" INSERT INTO temporal_internal.outbox (id, xid, requested_at, queue, written_by, method, maybe_sent, request," \
	"     former_identities, decisions, key, recorded_in, recorded_activity, awaited_until)" \
	" SELECT g.id, pg_current_xact_id(), now()," \
	"     temporal_internal.queue_number(g.server_oid, g.given_namespace, g.role)," \
	"     temporal_internal.writing_transaction(), g.method," \
	"     g.maybe_sent OR NOT g.made_here OR g.written_by <> g.stored_by, g.request," \
	"     temporal_internal.add_identity(g.former_identities, g.id, g.system_identifier, g.database, g.xid," \
	"         g.requested_at)," \
	"     temporal_internal.add_decision(g.decisions, 'retried'), g.key, g.recorded_in, g.recorded_activity," \
	"     now() + (g.awaited_until - g.requested_at)" \
	"   FROM gone g" \
	" RETURNING id, queue, key, recorded_activity, awaited_until)," \
	" awaited AS (" NOTE_KEY_WAITS("made", "NULL") ")" \
	" SELECT m.queue, count(*) FROM made m GROUP BY m.queue"

/*
 * What was refused, or may have taken effect, is looked at no more: what is
 * known of it stays, without its payload.
 */
#define END_FINISHED(condition, error_code, error_message, rejected, decision) \
	"WITH gone AS (" \
	" DELETE FROM temporal_internal.rejected r WHERE " condition \
	" RETURNING r.*)," \
	" ended AS (" \
	" INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment," \
	"     confirmed, workflow_id, run_id, activity_id, error_code, error_message, rejected, decisions, key)" \
	" SELECT g.id, g.requested_at, g.finished_at, g.queue, COALESCE(g.attempts, 0), g.method," \
	"     (SELECT segment FROM temporal_internal.delivery_segment ORDER BY since DESC LIMIT 1)," \
	"     false, t.workflow_id, t.run_id, t.activity_id, " error_code ", " error_message ", " rejected "," \
	"     temporal_internal.add_decision(g.decisions, " decision "), g.key" \
	"   FROM gone g CROSS JOIN LATERAL temporal_internal.request_target(g.method, g.request) t" \
	" RETURNING queue)"

/* What becomes of it for tc_repair_count_discarded() */
#define COUNT_ENDED \
	" SELECT e.requests, q.role, q.server_oid, q.namespace" \
	"   FROM (SELECT e.queue, count(*) AS requests FROM ended e GROUP BY e.queue) e" \
	"        LEFT JOIN temporal_internal.queue_here q ON q.number = e.queue"

#define DISCARD_FINISHED(condition) \
	END_FINISHED(condition, "'DISCARDED'", \
				 "concat('it was discarded when it ', CASE WHEN g.maybe_sent THEN 'was unconfirmed' ELSE 'had been rejected' END," \
				 "    ', ', g.error_code, ': ' || g.error_message)", \
				 "CASE WHEN NOT g.maybe_sent THEN true END", "'discarded'") \
	COUNT_ENDED

#define ACKNOWLEDGE(condition) \
	END_FINISHED("r.maybe_sent AND " condition, "g.error_code", "g.error_message", "NULL::boolean", "'acknowledged'") \
	" SELECT FROM ended"

/* An error that names what the caller called, not what it is made of. */
extern void tc_repair_prevent_read_only(const char *command);

/* A row of COUNT_ENDED: it is counted at commit, and in arg (uint64). */
extern void tc_repair_count_discarded(HeapTuple tuple, TupleDesc desc, void *arg);

/* An error while the session's requests are not to be sent. */
extern void tc_repair_require_delivery(void);

/* A row of RETRY_FINISHED: the queue is woken at commit; arg (uint64) counts the requests. */
extern void tc_repair_wake_queue(HeapTuple tuple, TupleDesc desc, void *arg);

#endif							/* TC_REPAIR_H */
