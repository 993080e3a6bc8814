/*
 * The verbs.  They record a request in the caller's transaction; it is sent
 * when the transaction commits.  Anybody may call them: it is USAGE on the
 * foreign server that decides, which they check for the calling role.
 */

GRANT USAGE ON SCHEMA temporal TO PUBLIC;

CREATE FUNCTION temporal.complete_activity(
    task_token bytea,
    result jsonb DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_complete_activity';
COMMENT ON FUNCTION temporal.complete_activity(bytea, jsonb, text, text) IS
    'complete the activity that a task token names, when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.complete_activity_by_id(
    workflow_id text,
    activity_id text,
    result jsonb DEFAULT NULL,
    run_id text DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_complete_activity_by_id';
COMMENT ON FUNCTION temporal.complete_activity_by_id(text, text, jsonb, text, text, text) IS
    'complete the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.fail_activity(
    task_token bytea,
    message text,
    type text DEFAULT NULL,
    details jsonb DEFAULT NULL,
    non_retryable boolean DEFAULT false,
    next_retry_delay interval DEFAULT NULL,
    benign boolean DEFAULT false,
    stack_trace text DEFAULT NULL,
    heartbeat_details jsonb DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_fail_activity';
COMMENT ON FUNCTION temporal.fail_activity(bytea, text, text, jsonb, boolean, interval, boolean, text, jsonb, text, text) IS
    'fail the attempt of the activity that a task token names, when the transaction commits; Temporal tries again as the retry policy says, unless non_retryable; returns the request''s id';

CREATE FUNCTION temporal.fail_activity_by_id(
    workflow_id text,
    activity_id text,
    message text,
    type text DEFAULT NULL,
    details jsonb DEFAULT NULL,
    non_retryable boolean DEFAULT false,
    next_retry_delay interval DEFAULT NULL,
    benign boolean DEFAULT false,
    stack_trace text DEFAULT NULL,
    heartbeat_details jsonb DEFAULT NULL,
    run_id text DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_fail_activity_by_id';
COMMENT ON FUNCTION temporal.fail_activity_by_id(text, text, text, text, jsonb, boolean, interval, boolean, text, jsonb, text, text, text) IS
    'fail the current attempt of the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.report_cancellation(
    task_token bytea,
    details jsonb DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_report_cancellation';
COMMENT ON FUNCTION temporal.report_cancellation(bytea, jsonb, text, text) IS
    'report as cancelled the activity that a task token names, when the transaction commits; its workflow has to have asked for that; returns the request''s id';

CREATE FUNCTION temporal.report_cancellation_by_id(
    workflow_id text,
    activity_id text,
    details jsonb DEFAULT NULL,
    run_id text DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_report_cancellation_by_id';
COMMENT ON FUNCTION temporal.report_cancellation_by_id(text, text, jsonb, text, text, text) IS
    'report as cancelled the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

CREATE FUNCTION temporal.heartbeat_activity(
    task_token bytea,
    details jsonb DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_heartbeat_activity';
COMMENT ON FUNCTION temporal.heartbeat_activity(bytea, jsonb, text, text) IS
    'send a heartbeat for the activity that a task token names, when the transaction commits; details take the place of those of the last heartbeat; returns the request''s id';

CREATE FUNCTION temporal.heartbeat_activity_by_id(
    workflow_id text,
    activity_id text,
    details jsonb DEFAULT NULL,
    run_id text DEFAULT NULL,
    server text DEFAULT NULL,
    namespace text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_heartbeat_activity_by_id';
COMMENT ON FUNCTION temporal.heartbeat_activity_by_id(text, text, jsonb, text, text, text) IS
    'send a heartbeat for the activity of that id of that workflow (an empty string: a standalone activity), when the transaction commits; returns the request''s id';

REVOKE ALL ON FUNCTION
    temporal.complete_activity(bytea, jsonb, text, text),
    temporal.complete_activity_by_id(text, text, jsonb, text, text, text),
    temporal.fail_activity(bytea, text, text, jsonb, boolean, interval, boolean, text, jsonb, text, text),
    temporal.fail_activity_by_id(text, text, text, text, jsonb, boolean, interval, boolean, text, jsonb, text, text, text),
    temporal.report_cancellation(bytea, jsonb, text, text),
    temporal.report_cancellation_by_id(text, text, jsonb, text, text, text),
    temporal.heartbeat_activity(bytea, jsonb, text, text),
    temporal.heartbeat_activity_by_id(text, text, jsonb, text, text, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    temporal.complete_activity(bytea, jsonb, text, text),
    temporal.complete_activity_by_id(text, text, jsonb, text, text, text),
    temporal.fail_activity(bytea, text, text, jsonb, boolean, interval, boolean, text, jsonb, text, text),
    temporal.fail_activity_by_id(text, text, text, text, jsonb, boolean, interval, boolean, text, jsonb, text, text, text),
    temporal.report_cancellation(bytea, jsonb, text, text),
    temporal.report_cancellation_by_id(text, text, jsonb, text, text, text),
    temporal.heartbeat_activity(bytea, jsonb, text, text),
    temporal.heartbeat_activity_by_id(text, text, jsonb, text, text, text)
    TO PUBLIC;
