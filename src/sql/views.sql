/*
 * What users look at.
 */

CREATE FUNCTION temporal_internal.request_target(method smallint, request bytea,
    OUT verb text, OUT workflow_id text, OUT run_id text, OUT activity_id text)
RETURNS record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_request_target';
COMMENT ON FUNCTION temporal_internal.request_target(smallint, bytea) IS
    'internal: which activity an encoded request is about';

CREATE FUNCTION temporal_internal.request_may_name(request bytea, workflow_id text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_request_may_name';
COMMENT ON FUNCTION temporal_internal.request_may_name(bytea, text) IS
    'internal: false: the encoded request is not about that workflow';

CREATE FUNCTION temporal_internal.made_here(system_identifier bigint, database oid)
RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_made_here';
COMMENT ON FUNCTION temporal_internal.made_here(bigint, oid) IS
    'internal: was a request of that origin made in this database of this cluster?';

CREATE FUNCTION temporal_internal.method_verb(method smallint)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_method_verb_sql';
COMMENT ON FUNCTION temporal_internal.method_verb(smallint) IS 'internal: verb of a method';

/*
 * Where it was made, a queue is of the server and role of its OIDs; elsewhere
 * these are the ones that have the names now.  Roles are those of the cluster.
 */
CREATE FUNCTION temporal_internal.role_here(system_identifier bigint, requested_by oid, requested_by_name text)
RETURNS oid
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_role_here';
COMMENT ON FUNCTION temporal_internal.role_here(bigint, oid, text) IS
    'internal: the role of a queue in this cluster; NULL if there is none';

CREATE FUNCTION temporal_internal.server_here(made_here boolean, server oid, server_name text)
RETURNS oid
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_server_here';
COMMENT ON FUNCTION temporal_internal.server_here(boolean, oid, text) IS
    'internal: the server of a queue in this database; NULL if there is none';

CREATE FUNCTION temporal_internal.present_role_name(system_identifier bigint, requested_by oid, requested_by_name text)
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_present_role_name';
COMMENT ON FUNCTION temporal_internal.present_role_name(bigint, oid, text) IS
    'internal: what the role of a queue is called now; the recorded name if it is gone';

CREATE FUNCTION temporal_internal.present_server_name(made_here boolean, server oid, server_name text)
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_present_server_name';
COMMENT ON FUNCTION temporal_internal.present_server_name(boolean, oid, text) IS
    'internal: what the server of a queue is called now; the recorded name if it is gone';

CREATE FUNCTION temporal_internal.present_namespace(made_here boolean, server oid, server_name text, namespace text)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_present_namespace';
COMMENT ON FUNCTION temporal_internal.present_namespace(boolean, oid, text, text) IS
    'internal: into which namespace requests of a queue would go now; NULL if that is not known';

REVOKE ALL ON FUNCTION temporal_internal.request_target(smallint, bytea), temporal_internal.request_may_name(bytea, text),
    temporal_internal.made_here(bigint, oid), temporal_internal.method_verb(smallint),
    temporal_internal.role_here(bigint, oid, text), temporal_internal.server_here(boolean, oid, text),
    temporal_internal.present_role_name(bigint, oid, text), temporal_internal.present_server_name(boolean, oid, text),
    temporal_internal.present_namespace(boolean, oid, text, text) FROM PUBLIC;

/* Queues, with what they are in this database: granted to nobody. */
CREATE VIEW temporal_internal.queue_here AS
SELECT q.number, q.system_identifier, q.database, h.made_here,
       temporal_internal.role_here(q.system_identifier, q.requested_by, q.requested_by_name) AS role,
       temporal_internal.server_here(h.made_here, q.server, q.server_name) AS server_oid,
       temporal_internal.present_role_name(q.system_identifier, q.requested_by, q.requested_by_name) AS requested_by,
       temporal_internal.present_server_name(h.made_here, q.server, q.server_name) AS server,
       q.namespace AS given_namespace,
       temporal_internal.present_namespace(h.made_here, q.server, q.server_name, q.namespace) AS namespace
  FROM temporal_internal.queue q
       CROSS JOIN LATERAL temporal_internal.made_here(q.system_identifier, q.database) AS h(made_here);
COMMENT ON VIEW temporal_internal.queue_here IS 'internal: queues, and what their servers and roles are in this database';
REVOKE ALL ON TABLE temporal_internal.queue_here FROM PUBLIC;

/* Everybody's requests, for the foreign table below only: granted to nobody. */
CREATE VIEW temporal_internal.every_request AS
SELECT o.id, q.server, q.namespace, t.verb, t.workflow_id, t.run_id, t.activity_id,
       q.requested_by, o.requested_at,
       CASE WHEN o.queue < 0 THEN 'suppressed'
            WHEN q.made_here IS NOT TRUE THEN 'held'
            WHEN o.id IN (SELECT temporal_internal.in_flight_requests()) THEN 'in_flight'
            WHEN o.key IS NOT NULL AND o.recorded_activity IS NULL THEN 'waiting'
            WHEN o.error_code = 'CONFIRMING' THEN 'confirming'
            WHEN o.error_code = 'ACTIVITY_NOT_FOUND' THEN 'waiting'
            WHEN o.attempts > 0 OR e.error_code <> 'PAUSED' THEN 'retrying'
            ELSE 'queued'
       END AS state,
       COALESCE(o.attempts, 0) AS attempts,
       CASE WHEN e.error_code = 'PAUSED' THEN NULL ELSE GREATEST(o.next_attempt_at, e.next_attempt_at) END AS next_attempt_at,
       COALESCE(e.error_code, o.error_code) AS error_code,
       COALESCE(e.error_message, o.error_message) AS error_message,
       NULL::timestamptz AS finished_at,
       NULL::boolean AS cancel_requested,
       NULL::boolean AS activity_paused,
       NULL::boolean AS activity_reset,
       o.decisions, o.key, o.expires_at, NULL::bigint AS earlier_heartbeats,
       q.role, 'outbox'::text AS stands_in, false AS went_wrong,
       CASE WHEN o.error_code IS DISTINCT FROM 'DATA_CORRUPTED' THEN o.request END AS request
  FROM temporal_internal.outbox o
       /* a subscriber may get a request sooner than its queue */
       LEFT JOIN temporal_internal.queue_here q ON q.number = o.queue
       LEFT JOIN temporal_internal.queue_error e ON e.queue = o.queue
       /* bytes that cannot be read must not stand in the way of other requests */
       CROSS JOIN LATERAL temporal_internal.request_target(o.method,
           CASE WHEN o.error_code IS DISTINCT FROM 'DATA_CORRUPTED' THEN o.request END) t
UNION ALL
SELECT r.id, q.server, q.namespace, t.verb, t.workflow_id, t.run_id, t.activity_id,
       q.requested_by, r.requested_at,
       CASE WHEN r.maybe_sent THEN 'unconfirmed' ELSE 'rejected' END, COALESCE(r.attempts, 0),
       NULL, r.error_code, r.error_message, r.finished_at, NULL, NULL, NULL, r.decisions, r.key, r.expires_at, NULL,
       q.role, 'rejected', true, r.request
  FROM temporal_internal.rejected r
       LEFT JOIN temporal_internal.queue_here q ON q.number = r.queue
       CROSS JOIN LATERAL temporal_internal.request_target(r.method, r.request) t
UNION ALL
SELECT d.id, q.server, q.namespace, temporal_internal.method_verb(d.method), d.workflow_id,
       COALESCE(d.run_uuid::text, d.run_id), d.activity_id,
       q.requested_by, d.requested_at,
       CASE WHEN d.rejected THEN 'rejected' WHEN d.confirmed THEN 'delivered'
            WHEN d.confirmed IS NULL THEN 'superseded' ELSE 'unconfirmed' END,
       d.attempts,
       NULL, d.error_code, d.error_message, d.finished_at,
       d.cancel_requested, d.activity_paused, d.activity_reset, d.decisions, d.key, NULL,
       d.earlier_heartbeats,
       q.role, 'delivery', d.rejected OR NOT d.confirmed, NULL
  FROM temporal_internal.delivery d
       LEFT JOIN temporal_internal.queue_here q ON q.number = d.queue
UNION ALL
SELECT l.id, q.server, q.namespace, temporal_internal.method_verb(l.method), l.workflow_id,
       COALESCE(l.run_uuid::text, l.run_id), l.activity_id,
       q.requested_by, l.requested_at, CASE WHEN l.confirmed THEN 'delivered' ELSE 'superseded' END,
       l.attempts, NULL, NULL, NULL, l.finished_at,
       l.cancel_requested, l.activity_paused, l.activity_reset, NULL, l.key, NULL, NULLIF(l.earlier, 0),
       q.role, 'last_heartbeat', false, NULL
  FROM temporal_internal.last_heartbeat l
       LEFT JOIN temporal_internal.queue_here q ON q.number = l.queue;

COMMENT ON VIEW temporal_internal.every_request IS 'internal: requests of all roles';
REVOKE ALL ON TABLE temporal_internal.every_request FROM PUBLIC;

/*
 * A reader sees the requests of roles whose rights it has; pg_monitor (and
 * whoever has it) sees all.  No payload, no token is shown.  That is looked at
 * in a foreign scan, below which nothing of the reader's query is evaluated,
 * see request_scan.c.  It reads temporal_internal.every_request, column by column.
 */
CREATE FUNCTION temporal_internal.request_fdw_handler()
RETURNS fdw_handler
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'tc_request_fdw_handler';
COMMENT ON FUNCTION temporal_internal.request_fdw_handler() IS 'internal: reads requests for the view temporal.request';
REVOKE ALL ON FUNCTION temporal_internal.request_fdw_handler() FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER temporal_complete_request
    HANDLER temporal_internal.request_fdw_handler
    NO VALIDATOR;
COMMENT ON FOREIGN DATA WRAPPER temporal_complete_request IS
    'internal: of the view temporal.request; connections to Temporal are servers of temporal_complete';

CREATE SERVER temporal_complete_request FOREIGN DATA WRAPPER temporal_complete_request;
COMMENT ON SERVER temporal_complete_request IS 'internal: of the view temporal.request';

CREATE FOREIGN TABLE temporal_internal.visible_request (
    id bigint,
    server text COLLATE "C",
    namespace text COLLATE "C",
    verb text,
    workflow_id text,
    run_id text,
    activity_id text,
    requested_by text COLLATE "C",
    requested_at timestamptz,
    state text,
    attempts integer,
    next_attempt_at timestamptz,
    error_code text,
    error_message text,
    finished_at timestamptz,
    cancel_requested boolean,
    activity_paused boolean,
    activity_reset boolean,
    decisions text,
    key text COLLATE "C",
    expires_at timestamptz,
    earlier_heartbeats bigint
) SERVER temporal_complete_request;
COMMENT ON FOREIGN TABLE temporal_internal.visible_request IS 'internal: requests that the reader may see';
REVOKE ALL ON TABLE temporal_internal.visible_request FROM PUBLIC;

CREATE VIEW temporal.request AS
SELECT r.id, r.server, r.namespace, r.verb, r.workflow_id, r.run_id, r.activity_id,
       r.requested_by, r.requested_at, r.state, r.attempts, r.next_attempt_at,
       r.error_code, r.error_message, r.finished_at,
       r.cancel_requested, r.activity_paused, r.activity_reset, r.decisions, r.key, r.expires_at, r.earlier_heartbeats
  FROM temporal_internal.visible_request r;

COMMENT ON VIEW temporal.request IS 'requests to Temporal and what became of them';
COMMENT ON COLUMN temporal.request.id IS 'what the verb returned';
COMMENT ON COLUMN temporal.request.server IS 'foreign server it is sent to, as it is called now; of one that was dropped, as it was called';
COMMENT ON COLUMN temporal.request.namespace IS 'Temporal namespace that was named, or else the one of the server''s option now';
COMMENT ON COLUMN temporal.request.verb IS 'complete, fail, report_cancellation or heartbeat';
COMMENT ON COLUMN temporal.request.workflow_id IS 'workflow of the activity; NULL for a standalone activity';
COMMENT ON COLUMN temporal.request.run_id IS 'run of the workflow (of a standalone activity: its own); NULL = the current one';
COMMENT ON COLUMN temporal.request.activity_id IS 'the activity';
COMMENT ON COLUMN temporal.request.requested_by IS 'role for which it is sent, as it is called now; of one that was dropped, as it was called';
COMMENT ON COLUMN temporal.request.requested_at IS 'when it was made';
COMMENT ON COLUMN temporal.request.state IS
    'queued, in_flight, retrying, held, confirming, waiting, suppressed; or finished: delivered, rejected, unconfirmed, superseded';
COMMENT ON COLUMN temporal.request.attempts IS 'attempts so far; of waiting requests, those that went wrong';
COMMENT ON COLUMN temporal.request.next_attempt_at IS 'when it is tried again';
COMMENT ON COLUMN temporal.request.error_code IS 'gRPC status, or a word of the extension, for what last went wrong';
COMMENT ON COLUMN temporal.request.error_message IS 'what last went wrong';
COMMENT ON COLUMN temporal.request.finished_at IS 'when its outcome was known';
COMMENT ON COLUMN temporal.request.cancel_requested IS 'heartbeats: the activity is asked to cancel';
COMMENT ON COLUMN temporal.request.activity_paused IS 'heartbeats: the activity is paused';
COMMENT ON COLUMN temporal.request.activity_reset IS 'heartbeats: the activity was reset';
COMMENT ON COLUMN temporal.request.decisions IS 'who retried, adopted, discarded, acknowledged or redirected it, and when; the latest ones';
COMMENT ON COLUMN temporal.request.key IS 'by which it names its activity, see temporal.activity';
COMMENT ON COLUMN temporal.request.expires_at IS 'when it is given up, see expire_request()';
COMMENT ON COLUMN temporal.request.earlier_heartbeats IS 'heartbeats: how many of the activity before it have ended and are not kept';

REVOKE ALL ON TABLE temporal.request FROM PUBLIC;
GRANT SELECT ON TABLE temporal.request TO PUBLIC;
