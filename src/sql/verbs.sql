/*
 * The verbs.  They record a request in the caller's transaction; it is sent
 * when the transaction commits.  Anybody may call them: it is USAGE on the
 * foreign server that decides, which they check for the calling role.
 */

GRANT USAGE ON SCHEMA temporal TO PUBLIC;

CREATE FUNCTION temporal.task_token(encoded text)
RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT pg_catalog.decode(pg_catalog.rpad(digits, (pg_catalog.length(digits) OPERATOR(pg_catalog.+) 3)
                                             OPERATOR(pg_catalog./) 4 OPERATOR(pg_catalog.*) 4, '='), 'base64')
      FROM pg_catalog.translate(encoded, E'-_= \t\n\r', '+/') AS digits;
END;
COMMENT ON FUNCTION temporal.task_token(text) IS
    'the task token that a text has in base64, also in that for URLs, with or without padding';
REVOKE ALL ON FUNCTION temporal.task_token(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION temporal.task_token(text) TO PUBLIC;

CREATE FUNCTION temporal.complete_activity(
    task_token bytea,
    result temporal.payload DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_complete_activity';
COMMENT ON FUNCTION temporal.complete_activity(bytea, temporal.payload, text, text) IS
    'complete the activity that a task token names, when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.complete_activity_by_id(
    workflow_id text,
    activity_id text,
    result temporal.payload DEFAULT NULL,
    run_id text DEFAULT NULL,
    wait_for_activity interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_complete_activity_by_id';
COMMENT ON FUNCTION temporal.complete_activity_by_id(text, text, temporal.payload, text, interval, text, text) IS
    'complete the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.fail_activity(
    task_token bytea,
    message text,
    type text DEFAULT NULL,
    details temporal.payload DEFAULT NULL,
    non_retryable boolean DEFAULT false,
    next_retry_delay interval DEFAULT NULL,
    benign boolean DEFAULT false,
    stack_trace text DEFAULT NULL,
    cause jsonb DEFAULT NULL,
    heartbeat_details temporal.payload DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_fail_activity';
COMMENT ON FUNCTION temporal.fail_activity(bytea, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, text, text) IS
    'fail the attempt of the activity that a task token names, when the transaction commits; Temporal tries again as the retry policy says, unless non_retryable; returns the request''s id';

CREATE FUNCTION temporal.fail_activity_by_id(
    workflow_id text,
    activity_id text,
    message text,
    type text DEFAULT NULL,
    details temporal.payload DEFAULT NULL,
    non_retryable boolean DEFAULT false,
    next_retry_delay interval DEFAULT NULL,
    benign boolean DEFAULT false,
    stack_trace text DEFAULT NULL,
    cause jsonb DEFAULT NULL,
    heartbeat_details temporal.payload DEFAULT NULL,
    run_id text DEFAULT NULL,
    wait_for_activity interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_fail_activity_by_id';
COMMENT ON FUNCTION temporal.fail_activity_by_id(text, text, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, text, interval, text, text) IS
    'fail the current attempt of the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.report_cancellation(
    task_token bytea,
    details temporal.payload DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_report_cancellation';
COMMENT ON FUNCTION temporal.report_cancellation(bytea, temporal.payload, text, text) IS
    'report as cancelled the activity that a task token names, when the transaction commits; its workflow has to have asked for that; returns the request''s id';

CREATE FUNCTION temporal.report_cancellation_by_id(
    workflow_id text,
    activity_id text,
    details temporal.payload DEFAULT NULL,
    run_id text DEFAULT NULL,
    wait_for_activity interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_report_cancellation_by_id';
COMMENT ON FUNCTION temporal.report_cancellation_by_id(text, text, temporal.payload, text, interval, text, text) IS
    'report as cancelled the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.heartbeat_activity(
    task_token bytea,
    details temporal.payload DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_heartbeat_activity';
COMMENT ON FUNCTION temporal.heartbeat_activity(bytea, temporal.payload, text, text) IS
    'send a heartbeat for the activity that a task token names, when the transaction commits; details take the place of those of the last heartbeat; returns the request''s id';

CREATE FUNCTION temporal.heartbeat_activity_by_id(
    workflow_id text,
    activity_id text,
    details temporal.payload DEFAULT NULL,
    run_id text DEFAULT NULL,
    wait_for_activity interval DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_heartbeat_activity_by_id';
COMMENT ON FUNCTION temporal.heartbeat_activity_by_id(text, text, temporal.payload, text, interval, text, text) IS
    'send a heartbeat for the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

REVOKE ALL ON FUNCTION
    temporal.complete_activity(bytea, temporal.payload, text, text),
    temporal.complete_activity_by_id(text, text, temporal.payload, text, interval, text, text),
    temporal.fail_activity(bytea, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, text, text),
    temporal.fail_activity_by_id(text, text, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, text, interval, text, text),
    temporal.report_cancellation(bytea, temporal.payload, text, text),
    temporal.report_cancellation_by_id(text, text, temporal.payload, text, interval, text, text),
    temporal.heartbeat_activity(bytea, temporal.payload, text, text),
    temporal.heartbeat_activity_by_id(text, text, temporal.payload, text, interval, text, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    temporal.complete_activity(bytea, temporal.payload, text, text),
    temporal.complete_activity_by_id(text, text, temporal.payload, text, interval, text, text),
    temporal.fail_activity(bytea, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, text, text),
    temporal.fail_activity_by_id(text, text, text, text, temporal.payload, boolean, interval, boolean, text, jsonb, temporal.payload, text, interval, text, text),
    temporal.report_cancellation(bytea, temporal.payload, text, text),
    temporal.report_cancellation_by_id(text, text, temporal.payload, text, interval, text, text),
    temporal.heartbeat_activity(bytea, temporal.payload, text, text),
    temporal.heartbeat_activity_by_id(text, text, temporal.payload, text, interval, text, text)
    TO PUBLIC;
