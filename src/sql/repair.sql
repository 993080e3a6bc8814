/*
 * For operators: requests that are held, that were refused, or that are no
 * longer wanted.
 *
 * Bodies of functions are parsed here and now (BEGIN ATOMIC, as everywhere in
 * the install script): what they name cannot be taken for something else later.
 */

CREATE FUNCTION temporal.add_identity(former text, id bigint, system_identifier bigint, database oid, xid xid8,
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
COMMENT ON FUNCTION temporal.add_identity(text, bigint, bigint, oid, xid8, timestamptz) IS
    'internal: former identities of a request that gets a new one';
REVOKE ALL ON FUNCTION temporal.add_identity(text, bigint, bigint, oid, xid8, timestamptz) FROM PUBLIC;

CREATE FUNCTION temporal.queue_number(server text, namespace text, requested_by oid)
RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_queue_number_sql';
COMMENT ON FUNCTION temporal.queue_number(text, text, oid) IS
    'internal: number of the queue of those names of this database, which is made if there is none';
REVOKE ALL ON FUNCTION temporal.queue_number(text, text, oid) FROM PUBLIC;

CREATE FUNCTION temporal.adopt()
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
/* Logical replication does not bring the sequence along.  Others may take ids meanwhile. */
SELECT setval('temporal.request_id', m.id + 10000)
  FROM (SELECT max(id) AS id
          FROM (SELECT max(id) AS id FROM temporal.outbox
                UNION ALL SELECT max(id) FROM temporal.rejected
                UNION ALL SELECT max(id) FROM temporal.delivery) ids) m, temporal.request_id s
 WHERE m.id > s.last_value;

SELECT temporal.wake_worker();

WITH held AS MATERIALIZED (
    SELECT q.number, q.system_identifier, q.database,
           temporal.queue_number(q.server, q.namespace, q.requested_by) AS own_number
      FROM temporal.queue q
     WHERE NOT temporal.made_here(q.system_identifier, q.database)
       AND EXISTS (SELECT FROM temporal.outbox o WHERE o.queue = q.number)),
adopted AS (
    UPDATE temporal.outbox o
       SET former_identities =
               temporal.add_identity(o.former_identities, o.id, h.system_identifier, h.database, o.xid,
                   o.requested_at),
           queue = h.own_number,
           xid = pg_current_xact_id(),
           maybe_sent = true,
           next_attempt_at = NULL
      FROM held h
     WHERE o.queue = h.number
    RETURNING o.id)
SELECT count(*) FROM adopted;
END;
COMMENT ON FUNCTION temporal.adopt() IS
    'requests that are held, because they were made in another cluster or database, are sent from here, when the transaction commits; returns how many';
/* for the DBA to grant: only he knows that nobody else goes on with them */
REVOKE ALL ON FUNCTION temporal.adopt() FROM PUBLIC;

CREATE FUNCTION temporal.retry_request(id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_retry_request';
COMMENT ON FUNCTION temporal.retry_request(bigint) IS
    'a request that was rejected is sent again, when the transaction commits; one that waits for its next attempt is tried now';

CREATE FUNCTION temporal.retry_rejected(server text DEFAULT NULL, error_code text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_retry_rejected';
COMMENT ON FUNCTION temporal.retry_rejected(text, text) IS
    'requests that were rejected, of one server, for one reason, or all (NULL), are sent again, when the transaction commits; returns how many';

CREATE FUNCTION temporal.discard_request(id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_discard_request';
COMMENT ON FUNCTION temporal.discard_request(bigint) IS
    'gives up a request that waits: it ends unconfirmed, DISCARDED; one that was rejected is removed';

REVOKE ALL ON FUNCTION temporal.retry_request(bigint), temporal.retry_rejected(text, text),
    temporal.discard_request(bigint) FROM PUBLIC;
/* they check that the caller has the rights of the role that made the request */
GRANT EXECUTE ON FUNCTION temporal.retry_request(bigint), temporal.retry_rejected(text, text),
    temporal.discard_request(bigint) TO PUBLIC;
