/*
 * Activities that are recorded under a key of the user's own.
 */

CREATE FUNCTION temporal.record_activity(
    key text,
    task_token bytea,
    heartbeat boolean DEFAULT false,
    heartbeat_interval interval DEFAULT NULL,
    heartbeat_details temporal.payload DEFAULT NULL,
    while_session boolean DEFAULT false,
    expires_at timestamptz DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_record_activity';
COMMENT ON FUNCTION temporal.record_activity(text, bytea, boolean, interval, temporal.payload, boolean, timestamptz, text, text) IS
    'record the activity that a task token names under a key of the caller''s, in place of what was recorded under it';

CREATE FUNCTION temporal.record_activity_by_id(
    key text,
    workflow_id text,
    activity_id text,
    run_id text DEFAULT NULL,
    heartbeat boolean DEFAULT false,
    heartbeat_interval interval DEFAULT NULL,
    heartbeat_details temporal.payload DEFAULT NULL,
    while_session boolean DEFAULT false,
    expires_at timestamptz DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_record_activity_by_id';
COMMENT ON FUNCTION temporal.record_activity_by_id(text, text, text, text, boolean, interval, temporal.payload, boolean, timestamptz, text, text) IS
    'record the activity of that id of that workflow (an empty string: a standalone activity) under a key of the caller''s, in place of what was recorded under it';

CREATE FUNCTION temporal.forget_activity(key text, server text DEFAULT NULL, namespace text DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_forget_activity';
COMMENT ON FUNCTION temporal.forget_activity(text, text, text) IS
    'forget the activity that was recorded under a key; returns whether there was one';

CREATE FUNCTION temporal.complete_activity_by_key(
    key text,
    result temporal.payload DEFAULT NULL,
    wait_for_key interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_complete_activity_by_key';
COMMENT ON FUNCTION temporal.complete_activity_by_key(text, temporal.payload, interval, text, text) IS
    'complete the activity that was recorded under a key, when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.fail_activity_by_key(
    key text,
    message text,
    type text DEFAULT NULL,
    details temporal.payload DEFAULT NULL,
    non_retryable boolean DEFAULT false,
    next_retry_delay interval DEFAULT NULL,
    benign boolean DEFAULT false,
    stack_trace text DEFAULT NULL,
    cause jsonb DEFAULT NULL,
    heartbeat_details temporal.payload DEFAULT NULL,
    wait_for_key interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_fail_activity_by_key';
COMMENT ON FUNCTION temporal.fail_activity_by_key(text, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, interval, text, text) IS
    'fail the attempt of the activity that was recorded under a key, when the transaction commits; Temporal tries again as the retry policy says, unless non_retryable; returns the request''s id';

CREATE FUNCTION temporal.report_cancellation_by_key(
    key text,
    details temporal.payload DEFAULT NULL,
    wait_for_key interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_report_cancellation_by_key';
COMMENT ON FUNCTION temporal.report_cancellation_by_key(text, temporal.payload, interval, text, text) IS
    'report as cancelled the activity that was recorded under a key, when the transaction commits; its workflow has to have asked for that; returns the request''s id';

CREATE FUNCTION temporal.heartbeat_activity_by_key(
    key text,
    details temporal.payload DEFAULT NULL,
    wait_for_key interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_heartbeat_activity_by_key';
COMMENT ON FUNCTION temporal.heartbeat_activity_by_key(text, temporal.payload, interval, text, text) IS
    'send a heartbeat for the attempt of the activity that was recorded under a key, when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal_internal.request_attempt(method smallint, request bytea)
RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_request_attempt';
COMMENT ON FUNCTION temporal_internal.request_attempt(smallint, bytea) IS
    'internal: attempt of the activity that an encoded request names by its task token';
REVOKE ALL ON FUNCTION temporal_internal.request_attempt(smallint, bytea) FROM PUBLIC;

/* Everybody's, for the function below only: granted to nobody. */
CREATE VIEW temporal_internal.every_activity AS
SELECT e.* FROM (
SELECT DISTINCT ON (a.role, a.server_oid, a.given_namespace, a.key, a.queue_of_copy) a.*
  FROM (SELECT r.id, r.key, q.server, q.namespace, t.workflow_id, t.activity_id, t.run_id,
               temporal_internal.request_attempt(r.method, r.heartbeat) AS attempt,
               r.recorded_at, q.requested_by AS recorded_by,
               CASE WHEN q.made_here IS NOT TRUE THEN 'held'
                    WHEN r.queue < 0 THEN 'suppressed'
                    WHEN r.expires_at <= clock_timestamp() THEN 'expired'
                    ELSE 'recorded'
               END AS state,
               r.heartbeat_queue IS NOT NULL AS heartbeat, r.heartbeat_interval,
               r.session IS NOT NULL AS while_session, r.expires_at,
               h.cancel_requested, h.activity_paused, h.activity_reset, h.error_code AS heartbeat_error,
               h.answered_at,
               q.role, q.server_oid, q.given_namespace,
               CASE WHEN q.made_here IS NOT TRUE OR q.role IS NULL OR q.server_oid IS NULL OR r.queue < 0
                    THEN r.queue END AS queue_of_copy
          FROM temporal_internal.recorded_activity r
               LEFT JOIN temporal_internal.queue_here q ON q.number = r.queue
               LEFT JOIN temporal_internal.heartbeat_answer h ON h.id = r.id
               CROSS JOIN LATERAL temporal_internal.request_target(r.method, r.heartbeat) t) a
 ORDER BY a.role, a.server_oid, a.given_namespace, a.key, a.queue_of_copy, a.id DESC) e
/* what was finished may stay for a while, see recorded_activity.c */
 WHERE e.expires_at IS DISTINCT FROM '-infinity';
COMMENT ON VIEW temporal_internal.every_activity IS 'internal: recorded activities of all roles';
REVOKE ALL ON TABLE temporal_internal.every_activity FROM PUBLIC;

CREATE FUNCTION temporal_internal.visible_activities(
    OUT key text, OUT server text, OUT namespace text, OUT workflow_id text, OUT activity_id text, OUT run_id text,
    OUT attempt integer, OUT recorded_at timestamptz, OUT recorded_by text, OUT state text, OUT heartbeat boolean,
    OUT heartbeat_interval interval, OUT while_session boolean, OUT expires_at timestamptz,
    OUT cancel_requested boolean, OUT activity_paused boolean, OUT activity_reset boolean,
    OUT heartbeat_error text, OUT answered_at timestamptz, OUT id bigint)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tc_visible_activities';
COMMENT ON FUNCTION temporal_internal.visible_activities() IS 'internal: recorded activities that the reader may see';

CREATE VIEW temporal.activity AS
SELECT a.key, a.server, a.namespace, a.workflow_id, a.activity_id, a.run_id, a.attempt, a.recorded_at, a.recorded_by,
       a.state, a.heartbeat, a.heartbeat_interval, a.while_session, a.expires_at,
       a.cancel_requested, a.activity_paused, a.activity_reset, a.heartbeat_error, a.answered_at,
       a.id
  FROM temporal_internal.visible_activities() a;
COMMENT ON VIEW temporal.activity IS 'activities that were recorded under a key';
COMMENT ON COLUMN temporal.activity.key IS 'under which it was recorded';
COMMENT ON COLUMN temporal.activity.server IS 'foreign server of its Temporal, as it is called now; of one that was dropped, as it was called';
COMMENT ON COLUMN temporal.activity.namespace IS 'Temporal namespace that was named, or else the one of the server''s option now';
COMMENT ON COLUMN temporal.activity.workflow_id IS 'workflow of the activity; NULL for a standalone activity';
COMMENT ON COLUMN temporal.activity.activity_id IS 'the activity';
COMMENT ON COLUMN temporal.activity.run_id IS 'run of the workflow (of a standalone activity: its own); NULL = the current one';
COMMENT ON COLUMN temporal.activity.attempt IS 'attempt of the activity that was recorded; NULL if it was recorded by its ids';
COMMENT ON COLUMN temporal.activity.recorded_at IS 'when it was recorded';
COMMENT ON COLUMN temporal.activity.recorded_by IS 'role whose key it is, as it is called now; of one that was dropped, as it was called';
COMMENT ON COLUMN temporal.activity.state IS 'recorded; suppressed: while nothing is to be sent; held: in a copy, until adopt(); expired';
COMMENT ON COLUMN temporal.activity.heartbeat IS 'heartbeats are asked for';
COMMENT ON COLUMN temporal.activity.heartbeat_interval IS 'how often; NULL: as Temporal''s timeout for it says';
COMMENT ON COLUMN temporal.activity.while_session IS 'only as long as the session that recorded it lives';
COMMENT ON COLUMN temporal.activity.expires_at IS 'from then on it counts as forgotten';
COMMENT ON COLUMN temporal.activity.cancel_requested IS 'heartbeats were answered that the activity is asked to cancel';
COMMENT ON COLUMN temporal.activity.activity_paused IS 'heartbeats were answered that the activity is paused';
COMMENT ON COLUMN temporal.activity.activity_reset IS 'heartbeats were answered that the activity is reset';
COMMENT ON COLUMN temporal.activity.heartbeat_error IS 'why no more heartbeats are sent: NOT_FOUND, say, SESSION_ENDED, or VERDICT_DELIVERED';
COMMENT ON COLUMN temporal.activity.id IS 'of the recording, in notifications';
COMMENT ON COLUMN temporal.activity.answered_at IS 'when the answer to heartbeats changed last; NULL: there was nothing to tell';

REVOKE ALL ON TABLE temporal.activity FROM PUBLIC;
GRANT SELECT ON TABLE temporal.activity TO PUBLIC;

CREATE FUNCTION temporal.activity_history(
    key text,
    OUT server text, OUT namespace text, OUT workflow_id text, OUT activity_id text, OUT run_id text,
    OUT attempt integer, OUT recorded_at timestamptz, OUT recorded_by text, OUT state text, OUT ended_at timestamptz,
    OUT request bigint, OUT verb text, OUT heartbeat_error text, OUT id bigint)
RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tc_activity_history';
COMMENT ON FUNCTION temporal.activity_history(text) IS
    'all that was recorded under a key, the first one first, and how it ended: replaced, forgotten, expired, or finished by a request; as far as outcomes are kept';

REVOKE ALL ON FUNCTION
    temporal.record_activity(text, bytea, boolean, interval, temporal.payload, boolean, timestamptz, text, text),
    temporal.record_activity_by_id(text, text, text, text, boolean, interval, temporal.payload, boolean, timestamptz, text, text),
    temporal.complete_activity_by_key(text, temporal.payload, interval, text, text),
    temporal.fail_activity_by_key(text, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, interval, text, text),
    temporal.report_cancellation_by_key(text, temporal.payload, interval, text, text),
    temporal.heartbeat_activity_by_key(text, temporal.payload, interval, text, text),
    temporal.forget_activity(text, text, text), temporal_internal.visible_activities(), temporal.activity_history(text)
    FROM PUBLIC;
/* each looks at the rights of who calls it */
GRANT EXECUTE ON FUNCTION
    temporal.record_activity(text, bytea, boolean, interval, temporal.payload, boolean, timestamptz, text, text),
    temporal.record_activity_by_id(text, text, text, text, boolean, interval, temporal.payload, boolean, timestamptz, text, text),
    temporal.complete_activity_by_key(text, temporal.payload, interval, text, text),
    temporal.fail_activity_by_key(text, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, interval, text, text),
    temporal.report_cancellation_by_key(text, temporal.payload, interval, text, text),
    temporal.heartbeat_activity_by_key(text, temporal.payload, interval, text, text),
    temporal.forget_activity(text, text, text), temporal_internal.visible_activities(), temporal.activity_history(text)
    TO PUBLIC;
