/*
 * For operators: requests that are held, that were refused, or that are no
 * longer wanted.
 *
 * Bodies of functions are parsed here and now (BEGIN ATOMIC, as everywhere in
 * the install script): what they name cannot be taken for something else later.
 */

CREATE FUNCTION temporal_internal.add_identity(former text, id bigint, system_identifier bigint, database oid, xid xid8,
    requested_at timestamptz)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
/* a system identifier is unsigned */
SELECT concat_ws(' ', former,
    format('%s@%s/%s/%s/%s', id, mod(system_identifier + 18446744073709551616, 18446744073709551616), database, xid,
        (extract(epoch FROM requested_at) * 1000000)::bigint));
END;
COMMENT ON FUNCTION temporal_internal.add_identity(text, bigint, bigint, oid, xid8, timestamptz) IS
    'internal: former identities of a request that gets a new one';
REVOKE ALL ON FUNCTION temporal_internal.add_identity(text, bigint, bigint, oid, xid8, timestamptz) FROM PUBLIC;

CREATE FUNCTION temporal_internal.add_decision(former text, decision text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
/* the latest ones: who decides again and again shall not make the row grow */
SELECT array_to_string(d.former[GREATEST(cardinality(d.former) - 8, 1):] ||
           format('%s by %s at %s', decision, temporal_internal.name_in_text(session_user),
                  to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')), '; ')
  FROM (SELECT COALESCE(string_to_array(add_decision.former, '; '), '{}') AS former) d;
END;
COMMENT ON FUNCTION temporal_internal.add_decision(text, text) IS
    'internal: decisions about a request, with one more, of the user of the session';
REVOKE ALL ON FUNCTION temporal_internal.add_decision(text, text) FROM PUBLIC;

CREATE FUNCTION temporal_internal.prevent_read_only(command text)
RETURNS void
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_prevent_read_only';
COMMENT ON FUNCTION temporal_internal.prevent_read_only(text) IS
    'internal: an error where nothing can be written, with the name of what was called';
REVOKE ALL ON FUNCTION temporal_internal.prevent_read_only(text) FROM PUBLIC;

CREATE FUNCTION temporal_internal.queue_number(server oid, namespace text, requested_by oid)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_queue_number_sql';
COMMENT ON FUNCTION temporal_internal.queue_number(oid, text, oid) IS
    'internal: number of the queue of this database for that server, namespace and role, which is made if there is none; NULL without server or role';
REVOKE ALL ON FUNCTION temporal_internal.queue_number(oid, text, oid) FROM PUBLIC;

CREATE FUNCTION temporal_internal.warn_not_adopted(requests bigint, missing text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_warn_not_adopted';
COMMENT ON FUNCTION temporal_internal.warn_not_adopted(bigint, text) IS
    'internal: says that so many requests stay held, because roles or servers are missing here';
REVOKE ALL ON FUNCTION temporal_internal.warn_not_adopted(bigint, text) FROM PUBLIC;

CREATE FUNCTION temporal_internal.required_server(name text)
RETURNS oid
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_required_server';
COMMENT ON FUNCTION temporal_internal.required_server(text) IS
    'internal: OID of the server of Temporal that has that name; an error if there is none';
REVOKE ALL ON FUNCTION temporal_internal.required_server(text) FROM PUBLIC;

CREATE FUNCTION temporal.adopt()
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT temporal_internal.prevent_read_only('adopt()');

/* Logical replication does not bring the sequence along.  Others may take ids meanwhile. */
SELECT setval('temporal_internal.request_id', m.id + 10000)
  FROM (SELECT max(id) AS id
          FROM (SELECT max(id) AS id FROM temporal_internal.outbox
                UNION ALL SELECT max(id) FROM temporal_internal.rejected
                UNION ALL SELECT max(id) FROM temporal_internal.delivery
                UNION ALL SELECT max(id) FROM temporal_internal.last_heartbeat
                UNION ALL SELECT max(id) FROM temporal_internal.recorded_activity) ids) m, temporal_internal.request_id s
 WHERE m.id > s.last_value;

/* What has no server or role of its names here stays held, and stops nothing else. */
SELECT temporal_internal.warn_not_adopted(
           (SELECT count(*) FROM temporal_internal.outbox o JOIN temporal_internal.queue_here q ON q.number = o.queue
             WHERE q.number > 0 AND NOT q.made_here AND (q.server_oid IS NULL OR q.role IS NULL)),
           (SELECT string_agg(DISTINCT m.missing, ', ')
              FROM temporal_internal.queue_here q
                   CROSS JOIN LATERAL (VALUES (q.server_oid, format('server %I', q.server)),
                                              (q.role, format('role %I', q.requested_by))) m(found, missing)
             WHERE q.number > 0 AND NOT q.made_here AND m.found IS NULL
               AND EXISTS (SELECT FROM temporal_internal.outbox o WHERE o.queue = q.number)));

/* Pauses go along. */
WITH adopted AS (
    UPDATE temporal_internal.queue_pause p
       SET system_identifier = s.system_identifier, database = d.oid, server = a.server_oid, requested_by = a.role
      FROM (SELECT h.ctid AS place,
                   temporal_internal.server_here(false, h.server, h.server_name) AS server_oid,
                   CASE WHEN h.requested_by = 0 THEN 0
                        ELSE temporal_internal.role_here(h.system_identifier, h.requested_by, h.requested_by_name) END AS role
              FROM temporal_internal.queue_pause h
             WHERE temporal_internal.made_here(h.system_identifier, h.database) IS NOT TRUE) a,
           pg_control_system() s, pg_database d
     WHERE p.ctid = a.place AND a.server_oid IS NOT NULL AND a.role IS NOT NULL AND d.datname = current_database()
    RETURNING p.server)
SELECT temporal_internal.look_at_servers() FROM (SELECT count(*) AS pauses FROM adopted) c WHERE c.pauses > 0;

/* Recorded activities go along, but for those in whose place another was recorded here. */
WITH held AS MATERIALIZED (
    SELECT q.number, temporal_internal.queue_number(q.server_oid, q.given_namespace, q.role) AS own_number
      FROM temporal_internal.queue_here q
     WHERE NOT q.made_here AND q.server_oid IS NOT NULL AND q.role IS NOT NULL
       AND EXISTS (SELECT FROM temporal_internal.recorded_activity a WHERE a.queue = q.number)),
replaced AS (
    DELETE FROM temporal_internal.recorded_activity a
     USING held h
     WHERE a.queue = h.number
       AND EXISTS (SELECT FROM temporal_internal.recorded_activity o WHERE o.queue = h.own_number AND o.key = a.key)
    RETURNING h.own_number, a.id, a.recorded_at, a.key, a.method, a.heartbeat, a.expires_at),
ended AS (
    INSERT INTO temporal_internal.ended_activity (id, recorded_at, ended_at, queue, ended, key, activity_id, workflow_id, run_id, attempt)
    SELECT r.id, r.recorded_at, clock_timestamp(), r.own_number, 'replaced', r.key, t.activity_id, t.workflow_id, t.run_id,
           temporal_internal.request_attempt(r.method, r.heartbeat)
      FROM replaced r CROSS JOIN LATERAL temporal_internal.request_target(r.method, r.heartbeat) t
     WHERE r.expires_at IS DISTINCT FROM '-infinity'),
adopted AS (
    UPDATE temporal_internal.recorded_activity a
       SET queue = h.own_number,
           heartbeat_queue = CASE WHEN a.heartbeat_queue IS NOT NULL THEN h.own_number END,
           xid = pg_current_xact_id()
      FROM held h
     WHERE a.queue = h.number
       AND NOT EXISTS (SELECT FROM temporal_internal.recorded_activity o WHERE o.queue = h.own_number AND o.key = a.key)
    RETURNING a.queue)
SELECT count(*) FROM adopted a WHERE temporal_internal.wake_queue(a.queue);

/* requests may wait for their keys */
SELECT temporal_internal.look_at_servers();

WITH held AS MATERIALIZED (
    SELECT q.number, q.system_identifier, q.database,
           temporal_internal.queue_number(q.server_oid, q.given_namespace, q.role) AS own_number
      FROM temporal_internal.queue_here q
     WHERE q.number > 0 AND NOT q.made_here AND q.server_oid IS NOT NULL AND q.role IS NOT NULL
       AND EXISTS (SELECT FROM temporal_internal.outbox o WHERE o.queue = q.number)),
adopted AS (
    UPDATE temporal_internal.outbox o
       SET former_identities =
               temporal_internal.add_identity(o.former_identities, o.id, h.system_identifier, h.database, o.xid,
                   o.requested_at),
           queue = h.own_number,
           xid = pg_current_xact_id(),
           written_by = temporal_internal.writing_transaction(),
           maybe_sent = true,
           next_attempt_at = NULL,
           decisions = temporal_internal.add_decision(o.decisions, 'adopted'),
           recorded_in = COALESCE((SELECT temporal_internal.queue_number(q.server_oid, q.given_namespace, q.role)
                                     FROM temporal_internal.queue_here q
                                    WHERE q.number = o.recorded_in AND q.server_oid IS NOT NULL AND q.role IS NOT NULL),
                                  o.recorded_in)
      FROM held h
     WHERE o.queue = h.number
    RETURNING o.queue)
SELECT count(*) FROM adopted a WHERE temporal_internal.wake_queue(a.queue);
END;
COMMENT ON FUNCTION temporal.adopt() IS
    'requests that are held, because they were made in another cluster or database, are sent from here, when the transaction commits; returns how many';
/* for the DBA to grant: only he knows that nobody else goes on with them */
REVOKE ALL ON FUNCTION temporal.adopt() FROM PUBLIC;

/*
 * The rows stay in their queues, which are given another server: so their
 * order and their identities stay, too.
 */
CREATE FUNCTION temporal.rebind_server(dropped text, server text DEFAULT NULL)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT temporal_internal.prevent_read_only('rebind_server()');

SELECT temporal_internal.look_at_servers();

/* an error also if nothing waits */
SELECT temporal_internal.required_server(COALESCE(rebind_server.server, rebind_server.dropped));

UPDATE temporal_internal.queue_pause p
   SET server = temporal_internal.required_server(COALESCE(rebind_server.server, rebind_server.dropped)),
       server_name = COALESCE(rebind_server.server, rebind_server.dropped)
 WHERE temporal_internal.made_here(p.system_identifier, p.database) AND p.server_name = rebind_server.dropped
   AND temporal_internal.server_here(true, p.server, p.server_name) IS NULL;

WITH bound AS (
    UPDATE temporal_internal.queue q
       SET server = temporal_internal.required_server(COALESCE(rebind_server.server, rebind_server.dropped)),
           server_name = COALESCE(rebind_server.server, rebind_server.dropped)
      FROM temporal_internal.queue_here h
     WHERE h.number = q.number AND h.number > 0 AND h.made_here AND h.server_oid IS NULL AND q.server_name = rebind_server.dropped
    RETURNING q.number)
SELECT count(*) FROM temporal_internal.outbox o
 WHERE o.queue IN (SELECT b.number FROM bound b WHERE temporal_internal.wake_queue(b.number));
END;
COMMENT ON FUNCTION temporal.rebind_server(text, text) IS
    'requests of this database that wait for a server of the first name, which was dropped, go to the server of the second one (NULL: the one that has the first name now), when the transaction commits; returns how many';
/* for the DBA to grant: only he knows that it is the same Temporal */
REVOKE ALL ON FUNCTION temporal.rebind_server(text, text) FROM PUBLIC;

CREATE FUNCTION temporal.retry_request(id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_retry_request';
COMMENT ON FUNCTION temporal.retry_request(bigint) IS
    'a request that was rejected or is unconfirmed is sent again, when the transaction commits; one that waits for its next attempt is tried now; one that was suppressed is sent';

CREATE FUNCTION temporal.retry_rejected(
    server text DEFAULT NULL, error_code text DEFAULT NULL, workflow_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, dry_run boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_retry_rejected';
COMMENT ON FUNCTION temporal.retry_rejected(text, text, text, timestamptz, timestamptz, boolean) IS
    'requests that were rejected (not what is unconfirmed), of one server, with one code, of one workflow, of some time, or all (NULL), are sent again, when the transaction commits; returns how many; dry_run only counts them';

CREATE FUNCTION temporal.discard_rejected(
    server text DEFAULT NULL, error_code text DEFAULT NULL, workflow_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, dry_run boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_discard_rejected';
COMMENT ON FUNCTION temporal.discard_rejected(text, text, text, timestamptz, timestamptz, boolean) IS
    'requests that were rejected, chosen as with retry_rejected(), keep that state, and their payloads are removed; returns how many';

CREATE FUNCTION temporal.acknowledge_unconfirmed(
    server text DEFAULT NULL, error_code text DEFAULT NULL, workflow_id text DEFAULT NULL,
    since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, dry_run boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_acknowledge_unconfirmed';
COMMENT ON FUNCTION temporal.acknowledge_unconfirmed(text, text, text, timestamptz, timestamptz, boolean) IS
    'requests that are unconfirmed and kept whole, chosen as with retry_rejected(), are acknowledged as with acknowledge_request(); returns how many';

CREATE FUNCTION temporal.acknowledge_request(id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_acknowledge_request';
COMMENT ON FUNCTION temporal.acknowledge_request(bigint) IS
    'somebody has seen that a request is unconfirmed: it stays so, with its code, and its payload is removed';

CREATE FUNCTION temporal.expire_request(id bigint, expires_at timestamptz)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_expire_request';
COMMENT ON FUNCTION temporal.expire_request(bigint, timestamptz) IS
    'a request that waits is given up, EXPIRED, if it has not been delivered by then; NULL: as the server''s option expire_after says';

CREATE FUNCTION temporal.redirect_request(id bigint, server text, namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_redirect_request';
COMMENT ON FUNCTION temporal.redirect_request(bigint, text, text) IS
    'sends a request that waits, was rejected or is unconfirmed to another server or namespace, when the transaction commits; returns the id that it has there';

CREATE FUNCTION temporal.purge(older_than interval)
RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_purge';
COMMENT ON FUNCTION temporal.purge(interval) IS
    'removes outcomes that are older, before the retention is over, but none that waits for a decision; returns how many';

CREATE FUNCTION temporal.discard_request(id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_discard_request';
COMMENT ON FUNCTION temporal.discard_request(bigint) IS
    'gives up a request that waits: it ends unconfirmed, DISCARDED; one that was rejected or is unconfirmed keeps its state, with that code, and its payload is removed';

CREATE FUNCTION temporal.discard_requests(server text, requested_by text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_discard_requests';
COMMENT ON FUNCTION temporal.discard_requests(text, text) IS
    'gives up the requests that wait, of one server, of one role, or of all (NULL), as the view names them: they end unconfirmed, DISCARDED; returns how many';

REVOKE ALL ON FUNCTION temporal.retry_request(bigint), temporal.discard_request(bigint), temporal.discard_requests(text, text),
    temporal.acknowledge_request(bigint), temporal.purge(interval), temporal.redirect_request(bigint, text, text),
    temporal.expire_request(bigint, timestamptz),
    temporal.retry_rejected(text, text, text, timestamptz, timestamptz, boolean),
    temporal.discard_rejected(text, text, text, timestamptz, timestamptz, boolean),
    temporal.acknowledge_unconfirmed(text, text, text, timestamptz, timestamptz, boolean) FROM PUBLIC;
/* they check that the caller has the rights of the role that made the request */
GRANT EXECUTE ON FUNCTION temporal.retry_request(bigint), temporal.discard_request(bigint), temporal.discard_requests(text, text),
    temporal.acknowledge_request(bigint), temporal.purge(interval), temporal.redirect_request(bigint, text, text),
    temporal.expire_request(bigint, timestamptz),
    temporal.retry_rejected(text, text, text, timestamptz, timestamptz, boolean),
    temporal.discard_rejected(text, text, text, timestamptz, timestamptz, boolean),
    temporal.acknowledge_unconfirmed(text, text, text, timestamptz, timestamptz, boolean) TO PUBLIC;
