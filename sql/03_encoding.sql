--
-- What is sent, field by field, and how large it may be.
--
-- temporal_internal.outbox holds requests as they go to Temporal, in protobuf, but for
-- namespace and identity, which the worker adds.  Only a superuser can look at it.
--
SET client_encoding = 'UTF8';
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (namespaces '*');

-- Fields of a protobuf message; those at the paths given are messages themselves
CREATE FUNCTION proto_varint(message bytea, INOUT pos integer, OUT value bigint)
LANGUAGE plpgsql AS $$
DECLARE
    shift integer := 0;
    byte integer;
BEGIN
    value := 0;
    LOOP
        byte := pg_catalog.get_byte(message, pos);
        value := value | ((byte & 127)::bigint << shift);
        pos := pos + 1;
        shift := shift + 7;
        EXIT WHEN byte < 128;
    END LOOP;
END
$$;
CREATE FUNCTION proto_fields(message bytea, messages text[], prefix text DEFAULT '')
RETURNS TABLE (field text, value text)
LANGUAGE plpgsql AS $$
DECLARE
    pos integer := 0;
    tag bigint;
    len bigint;
    bytes bytea;
BEGIN
    WHILE pos < pg_catalog.length(message) LOOP
        SELECT v.pos, v.value INTO pos, tag FROM proto_varint(message, pos) v;
        field := prefix || tag / 8;
        SELECT v.pos, v.value INTO pos, len FROM proto_varint(message, pos) v;
        CASE tag % 8
            WHEN 0 THEN
                value := len;
                RETURN NEXT;
            WHEN 2 THEN
                bytes := pg_catalog.substring(message, pos + 1, len::integer);
                pos := pos + len;
                IF len = 0 THEN
                    value := '(empty)';
                    RETURN NEXT;
                ELSIF field = ANY (messages) THEN
                    RETURN QUERY SELECT * FROM proto_fields(bytes, messages, field || '.');
                ELSE
                    BEGIN
                        value := pg_catalog.convert_from(bytes, 'UTF8');
                    EXCEPTION WHEN character_not_in_repertoire THEN
                        value := NULL;
                    END;
                    IF value IS NULL OR value ~ '[[:cntrl:]]' THEN
                        value := bytes::text;
                    END IF;
                    RETURN NEXT;
                END IF;
        END CASE;
    END LOOP;
END
$$;

-- The request just made.  Payloads are 5 (by ids) and 2 (by token), as is the
-- Failure, with its ApplicationFailureInfo (5), details (5.3), delay (5.4).
CREATE FUNCTION last_request() RETURNS TABLE (field text, value text)
LANGUAGE sql AS $$
    SELECT p.field,
           pg_catalog.replace(p.value, 'postgresql:' || pg_catalog.current_database() || '/' || o.id || '@' ||
               (SELECT system_identifier FROM pg_catalog.pg_control_system()) || '/' ||
               (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) || '/' ||
               o.xid || '/' || (extract(epoch FROM o.requested_at) * 1000000)::bigint, 'postgresql:<the identity>')
      FROM (SELECT * FROM temporal_internal.outbox ORDER BY id DESC LIMIT 1) o,
           proto_fields(request, CASE
               WHEN method IN (1, 5, 7) THEN '{2, 2.1, 2.1.1}'::text[]
               WHEN method IN (2, 6, 8) THEN '{5, 5.1, 5.1.1}'
               WHEN method = 3 THEN '{2, 2.5, 2.5.3, 2.5.3.1, 2.5.3.1.1, 2.5.4, 5, 5.1, 5.1.1}'
               WHEN method = 4 THEN '{5, 5.5, 5.5.3, 5.5.3.1, 5.5.3.1.1, 5.5.4, 7, 7.1, 7.1.1,
                                      5.4, 5.4.5, 5.4.5.3, 5.4.5.3.1, 5.4.4, 5.4.4.5}'
           END) p
$$;

--
-- complete: by ids and by token
--
SELECT temporal.complete_activity_by_id('order-42', 'approve', '{"ok": true}', 'run-1') > 0 AS recorded;
SELECT * FROM last_request();
SELECT temporal.complete_activity('\x0a026e731201777a05ffffffffff', '{"ok": true}', namespace => 'orders') > 0 AS recorded;
SELECT * FROM last_request();

-- no workflow: a standalone activity; no result: no field for it
SELECT temporal.complete_activity_by_id('', 'approve') > 0 AS recorded;
SELECT * FROM last_request();

--
-- fail
--
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'out of stock') > 0 AS recorded;
SELECT * FROM last_request();
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'out of stock', 'OutOfStock', '{"left": 0}',
           non_retryable => true, next_retry_delay => '1 day 2.5 seconds', benign => true,
           stack_trace => 'at shelf 7', heartbeat_details => '0.5', run_id => 'run-1') > 0 AS recorded;
SELECT * FROM last_request();
SELECT temporal.fail_activity('\x0a026e73120177', 'out of stock', 'OutOfStock', '[0]',
           next_retry_delay => '0', heartbeat_details => '0.5') > 0 AS recorded;
SELECT * FROM last_request();

-- months have 30 days, as when intervals are compared
SELECT temporal.fail_activity('\x0a026e73120177', '', next_retry_delay => '1 month -1 day 00:00:00.000001') > 0 AS recorded;
SELECT * FROM last_request();

-- causes (4) are failures themselves; a null is as if it were not there
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'cannot approve', cause => '{
           "message": "no answer from \u00e9", "type": "Timeout", "details": {"after": [5, "s"]}, "non_retryable": true,
           "stack_trace": "line 7", "cause": {"message": "", "type": null, "details": null, "cause": null}}') > 0 AS recorded;
SELECT * FROM last_request();

--
-- report_cancellation and heartbeat
--
SELECT temporal.report_cancellation_by_id('order-42', 'approve', '"by customer"', 'run-1') > 0 AS recorded;
SELECT * FROM last_request();
SELECT temporal.report_cancellation('\x0a026e73120177', '"by customer"') > 0 AS recorded;
SELECT * FROM last_request();
SELECT temporal.heartbeat_activity_by_id('order-42', 'approve', '0.5', 'run-1') > 0 AS recorded;
SELECT * FROM last_request();
SELECT temporal.heartbeat_activity('\x0a026e73120177', '0.5') > 0 AS recorded;
SELECT * FROM last_request();

--
-- Values: the text of jsonb, always one payload
--
CREATE FUNCTION sent_as(result jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT temporal.complete_activity_by_id('w', 'a', result);
    SELECT pg_catalog.string_agg(value, ' | ') FROM last_request() WHERE field = '5.1.2';
$$;
SELECT sent_as('null') AS json_null, sent_as(NULL) IS NULL AS sql_null;
SELECT sent_as('[1, [2], {"a": []}]'), sent_as('[]'), sent_as('""'), sent_as('false');
SELECT sent_as('{"big": 12345678901234567890.10, "small": 1e-7}');
-- unaligned: before version 15 psql thinks that 🎉 is one column wide
\a
SELECT sent_as('{"text": "æ 日本 🎉 \u00e9 \u0001 \" \\ \/ <&>"}');
\a
SELECT sent_as('{"metadata": {"encoding": "eA=="}, "data": "eA=="}');
SELECT temporal.fail_activity_by_id('工作流', 'æ', '🎉', 'é', stack_trace => '日本', namespace => 'ñ') > 0 AS recorded;
SELECT * FROM last_request();
SELECT namespace, workflow_id, activity_id FROM temporal.request ORDER BY id DESC LIMIT 1;

--
-- Limits: Temporal would accept what is larger, and then fail the activity
--
-- 2 MiB with what is around the value
SELECT temporal.complete_activity_by_id('w', 'a', pg_catalog.to_jsonb(pg_catalog.repeat('x', 2097152 - 34))) > 0 AS recorded;
SELECT temporal.complete_activity_by_id('w', 'a', pg_catalog.to_jsonb(pg_catalog.repeat('x', 2097152 - 33)));
SELECT temporal.heartbeat_activity_by_id('w', 'a', pg_catalog.to_jsonb(pg_catalog.repeat('x', 2097152 - 33)));
SELECT temporal.report_cancellation_by_id('w', 'a', pg_catalog.to_jsonb(pg_catalog.repeat('x', 2097152 - 33)));
SELECT temporal.fail_activity_by_id('w', 'a', 'm', heartbeat_details => pg_catalog.to_jsonb(pg_catalog.repeat('x', 2097152 - 33)));
-- the size of a failure is that of all its parts; it holds the identity, whose length varies
DO $$
BEGIN
    PERFORM temporal.fail_activity_by_id('w', 'a', pg_catalog.repeat('m', 1000000), 'T',
        pg_catalog.to_jsonb(pg_catalog.repeat('d', 600000)), stack_trace => pg_catalog.repeat('s', 497152));
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE NOTICE '%', SQLERRM;
END
$$;
DO $$
BEGIN
    PERFORM temporal.fail_activity_by_id('w', 'a', 'm', cause => pg_catalog.jsonb_build_object('message', pg_catalog.repeat('m', 1000000),
        'cause', pg_catalog.jsonb_build_object('message', pg_catalog.repeat('m', 1100000))));
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE NOTICE '%', SQLERRM;
END
$$;
-- causes in each other: as many as Temporal keeps of a failure that it shortens
CREATE FUNCTION causes(depth integer) RETURNS jsonb LANGUAGE sql AS $$
    SELECT CASE depth WHEN 1 THEN '{"message": "the first"}'
                      ELSE pg_catalog.jsonb_build_object('message', 'cause', 'cause', causes(depth - 1)) END
$$;
SELECT temporal.fail_activity_by_id('w', 'a', 'm', cause => causes(20)) > 0 AS recorded;
SELECT temporal.fail_activity_by_id('w', 'a', 'm', cause => causes(21));
-- twice nearly 2 MiB is more than one message may have
DO $$
BEGIN
    PERFORM temporal.fail_activity_by_id('w', 'a', 'm', details => pg_catalog.to_jsonb(pg_catalog.repeat('x', 2096900)),
        heartbeat_details => pg_catalog.to_jsonb(pg_catalog.repeat('x', 2097152 - 34)));
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE NOTICE '%', SQLERRM;
END
$$;

DROP FUNCTION sent_as(jsonb);
DROP FUNCTION last_request();
DROP FUNCTION proto_fields(bytea, text[], text);
DROP FUNCTION proto_varint(bytea, integer);
DELETE FROM temporal_internal.outbox;
DROP SERVER temporal;
