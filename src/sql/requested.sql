/*
 * What requests say, payloads and tokens included: for tests, and for who has
 * the privileges of the role that made them.
 */

CREATE FUNCTION temporal.task_token_parts(task_token bytea,
    OUT namespace_id text, OUT workflow_id text, OUT run_id text, OUT activity_id text,
    OUT scheduled_event_id bigint, OUT attempt integer)
RETURNS record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_task_token_parts';
COMMENT ON FUNCTION temporal.task_token_parts(bytea) IS
    'what a task token names: the id of the namespace, the workflow (NULL for a standalone activity), its run, the activity and its attempt';

CREATE FUNCTION temporal_internal.request_arguments(method smallint, request bytea,
    OUT task_token bytea, OUT result temporal.payload, OUT details temporal.payload,
    OUT message text, OUT type text, OUT non_retryable boolean, OUT next_retry_delay interval,
    OUT benign boolean, OUT stack_trace text, OUT cause jsonb, OUT heartbeat_details temporal.payload)
RETURNS record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tc_request_arguments_sql';
COMMENT ON FUNCTION temporal_internal.request_arguments(smallint, bytea) IS 'internal: what a verb was given';

CREATE FUNCTION temporal_internal.payload_json(payload temporal.payload)
RETURNS json
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT CASE WHEN p.encoding = 'json/plain' AND p.metadata = '{}' AND left(s.shown, 1) <> '\' THEN s.shown::json
            ELSE json_build_object('encoding', p.encoding, 'metadata', p.metadata,
                                   'data', translate(encode(p.data, 'base64'), E'\n', ''))
       END
  FROM CAST(payload_json.payload AS text) AS s(shown),
       temporal.payload_parts(payload_json.payload) p;
END;
COMMENT ON FUNCTION temporal_internal.payload_json(temporal.payload) IS
    'internal: a payload as JSON: the value, or an object with its encoding, its further metadata and its data in base64';

CREATE FUNCTION temporal_internal.request_json(method smallint, request bytea)
RETURNS json
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
SELECT json_object_agg(v.key, v.value)
  FROM temporal_internal.request_target(request_json.method, request_json.request) t,
       temporal_internal.request_arguments(request_json.method, request_json.request) a,
       LATERAL (VALUES
           ('verb', to_json(t.verb)),
           ('task_token', to_json(translate(encode(a.task_token, 'base64'), E'\n', ''))),
           ('workflow_id', to_json(t.workflow_id)),
           ('run_id', to_json(t.run_id)),
           ('activity_id', to_json(t.activity_id)),
           ('result', temporal_internal.payload_json(a.result)),
           ('details', temporal_internal.payload_json(a.details)),
           ('message', to_json(a.message)),
           ('type', to_json(a.type)),
           ('non_retryable', to_json(a.non_retryable)),
           ('next_retry_delay', to_json(a.next_retry_delay)),
           ('benign', to_json(a.benign)),
           ('stack_trace', to_json(a.stack_trace)),
           ('cause', to_json(a.cause)),
           ('heartbeat_details', temporal_internal.payload_json(a.heartbeat_details))) v(key, value)
 WHERE v.value IS NOT NULL;
END;
COMMENT ON FUNCTION temporal_internal.request_json(smallint, bytea) IS 'internal: what a verb was given, as JSON';

REVOKE ALL ON FUNCTION temporal_internal.request_arguments(smallint, bytea), temporal_internal.payload_json(temporal.payload),
    temporal_internal.request_json(smallint, bytea) FROM PUBLIC;

CREATE FUNCTION temporal.requested(
    OUT id bigint, OUT server text, OUT namespace text, OUT verb text,
    OUT workflow_id text, OUT run_id text, OUT activity_id text,
    OUT task_token bytea, OUT result temporal.payload, OUT details temporal.payload,
    OUT message text, OUT type text, OUT non_retryable boolean, OUT next_retry_delay interval,
    OUT benign boolean, OUT stack_trace text, OUT cause jsonb, OUT heartbeat_details temporal.payload, OUT requested_by text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'tc_requested';
COMMENT ON FUNCTION temporal.requested() IS
    'what the current transaction has asked for so far, in order, payloads included, for tests';

CREATE FUNCTION temporal.request_payload(id bigint)
RETURNS json
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tc_request_payload';
COMMENT ON FUNCTION temporal.request_payload(bigint) IS
    'what a request says, as JSON; NULL if it was delivered or discarded, and so is no longer kept';

REVOKE ALL ON FUNCTION temporal.task_token_parts(bytea), temporal.requested(), temporal.request_payload(bigint) FROM PUBLIC;
/* they show requests of roles whose privileges the caller has */
GRANT EXECUTE ON FUNCTION temporal.task_token_parts(bytea), temporal.requested(), temporal.request_payload(bigint) TO PUBLIC;
