/*
 * For scripts: waiting for a request, asking whether a server can be reached.
 */

CREATE FUNCTION temporal.wait_for_request(id bigint, timeout interval DEFAULT NULL)
RETURNS temporal.request
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_wait_for_request';
COMMENT ON FUNCTION temporal.wait_for_request(bigint, interval) IS
    'waits until a request is finished, or for the timeout, and returns it as the view temporal.request shows it';
REVOKE ALL ON FUNCTION temporal.wait_for_request(bigint, interval) FROM PUBLIC;
/* it shows what the view shows to its caller */
GRANT EXECUTE ON FUNCTION temporal.wait_for_request(bigint, interval) TO PUBLIC;

CREATE FUNCTION temporal.drain(timeout interval DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_drain';
COMMENT ON FUNCTION temporal.drain(interval) IS
    'waits until all requests that were committed before, and that the caller may see, have ended, or for the timeout: then false';
REVOKE ALL ON FUNCTION temporal.drain(interval) FROM PUBLIC;
/* it waits for what the view shows to its caller */
GRANT EXECUTE ON FUNCTION temporal.drain(interval) TO PUBLIC;

CREATE FUNCTION temporal.ping(
    INOUT server text DEFAULT NULL,
    OUT address text,
    OUT server_version text,
    OUT tls text,
    OUT round_trip interval,
    OUT authorized boolean,
    OUT error_code text,
    OUT error_message text)
RETURNS record
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_ping';
COMMENT ON FUNCTION temporal.ping(text) IS
    'asks the worker to call a server (NULL: temporal_complete.default_server) the way that requests take: version, TLS, time of a call, whether credentials and namespace are accepted, or what is wrong';
REVOKE ALL ON FUNCTION temporal.ping(text) FROM PUBLIC;
/* it needs USAGE on the foreign server, or membership in pg_monitor */
GRANT EXECUTE ON FUNCTION temporal.ping(text) TO PUBLIC;

/* Temporal, seen from SQL: asked by the worker, over the channel that requests take. */
CREATE FUNCTION temporal.pending_activities(
    workflow_id text,
    run_id text DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS TABLE (
    activity_id text,
    activity_type text,
    state text,
    attempt bigint,
    maximum_attempts bigint,
    scheduled_time timestamptz,
    last_started_time timestamptz,
    last_heartbeat_time timestamptz,
    heartbeat_timeout interval,
    next_attempt_time timestamptz,
    expiration_time timestamptz,
    last_failure text,
    last_worker_identity text)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_pending_activities';
COMMENT ON FUNCTION temporal.pending_activities(text, text, text, text) IS
    'asks Temporal which activities of a workflow are pending (its current run, unless another one is named); none if there is no such workflow, or it is closed';

CREATE FUNCTION temporal.describe_activity(
    activity_id text,
    run_id text DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS TABLE (
    activity_type text,
    activity_run_id text,
    status text,
    state text,
    close_time timestamptz,
    attempt bigint,
    maximum_attempts bigint,
    scheduled_time timestamptz,
    last_started_time timestamptz,
    last_heartbeat_time timestamptz,
    heartbeat_timeout interval,
    next_attempt_time timestamptz,
    expiration_time timestamptz,
    last_failure text,
    last_worker_identity text)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_describe_activity';
COMMENT ON FUNCTION temporal.describe_activity(text, text, text, text) IS
    'asks Temporal what a standalone activity is doing, or how it ended; no row if there is none';

REVOKE ALL ON FUNCTION temporal.pending_activities(text, text, text, text),
    temporal.describe_activity(text, text, text, text) FROM PUBLIC;
/* they need USAGE on the foreign server, or membership in pg_monitor */
GRANT EXECUTE ON FUNCTION temporal.pending_activities(text, text, text, text),
    temporal.describe_activity(text, text, text, text) TO PUBLIC;

CREATE FUNCTION temporal.wake_worker()
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_wake_worker_sql';
COMMENT ON FUNCTION temporal.wake_worker() IS
    'when the transaction commits, has the worker of this database look at everything anew, starting it if there is none';
REVOKE ALL ON FUNCTION temporal.wake_worker() FROM PUBLIC;

CREATE FUNCTION temporal_internal.wake_queue(number bigint)
RETURNS boolean
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_wake_queue';
COMMENT ON FUNCTION temporal_internal.wake_queue(bigint) IS
    'internal: when the transaction commits, has the worker of this database look at that queue; true';
REVOKE ALL ON FUNCTION temporal_internal.wake_queue(bigint) FROM PUBLIC;

CREATE FUNCTION temporal_internal.look_at_servers()
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_look_at_servers';
COMMENT ON FUNCTION temporal_internal.look_at_servers() IS
    'internal: when the transaction commits, has the worker of this database look at its servers, as if one had been altered';
REVOKE ALL ON FUNCTION temporal_internal.look_at_servers() FROM PUBLIC;

/* The extension is new: a worker is wanted.  Says so if the library is not preloaded. */
SELECT temporal.wake_worker();
