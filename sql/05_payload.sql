--
-- temporal.payload: the values that verbs take.
--
SET client_encoding = 'UTF8';
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete;

-- JSON: literals as they are written, jsonb without blanks, json as it is
SELECT '{"status": "shipped",  "lines": [1, 2]}'::temporal.payload AS literal,
       pg_catalog.jsonb_build_object('status', 'shipped', 'lines', '[1, 2]'::jsonb)::temporal.payload AS jsonb,
       pg_catalog.json_build_object('status', 'shipped')::temporal.payload AS json;
SELECT pg_catalog.to_jsonb('a: "b", c\ d'::text)::temporal.payload AS string, 'null'::temporal.payload AS json_null,
       NULL::jsonb::temporal.payload IS NULL AS sql_null;

-- bytes, and any other encoding; their text form is the message that is sent, in hexadecimal digits
SELECT '\x00ff'::bytea::temporal.payload AS bytes;
SELECT temporal.payload('binary/encrypted', '\xc0ffee', '{"encryption-key-id": "k1"}') AS encrypted;
SELECT * FROM temporal.payload_parts(temporal.payload('binary/encrypted', '\xc0ffee', '{"encryption-key-id": "k1", "alg": "æ"}'));
SELECT encoding, pg_catalog.convert_from(data, 'UTF8') AS data, metadata FROM temporal.payload_parts('{"a": "æ"}');
SELECT * FROM temporal.payload_parts(temporal.payload('json/protobuf', '{}', '{"messageType": "acme.Order"}'));
SELECT * FROM temporal.payload_parts(temporal.payload('binary/null', ''));
-- JSON with further metadata is not what a literal means
SELECT temporal.payload('json/plain', '1', '{"v": "2"}') AS with_metadata, temporal.payload('json/plain', '[1]') AS without;

-- what a text is, only its writer knows: JSON or a string
SELECT temporal.complete_activity('\x0a026e73120177', result => 'approved');
SELECT temporal.complete_activity('\x0a026e73120177', result => 'approved'::text);
SELECT temporal.complete_activity('\x0a026e73120177', result => NULL::varchar);
SELECT temporal.complete_activity('\x0a026e73120177', result => 'x'::char(3));
PREPARE finish (bytea, text) AS SELECT temporal.complete_activity($1, $2);
EXECUTE finish ('\x0a026e73120177', '1');
PREPARE finish_json (bytea, text) AS SELECT temporal.complete_activity($1, $2::jsonb) > 0 AS recorded;
EXECUTE finish_json ('\x0a026e73120177', '1');

-- each verb takes all of them
SELECT temporal.complete_activity('\x0a026e73120177', '\xdead'::bytea) > 0 AS recorded;
SELECT temporal.complete_activity_by_id('w', 'a', temporal.payload('binary/encrypted', '\xc0ffee')) > 0 AS recorded;
SELECT temporal.fail_activity('\x0a026e73120177', 'm', details => '{"a": 1}'::json, heartbeat_details => '\x01'::bytea) > 0 AS recorded;
SELECT temporal.report_cancellation('\x0a026e73120177', '[]'::jsonb) > 0 AS recorded;
SELECT temporal.heartbeat_activity('\x0a026e73120177', '0.5') > 0 AS recorded;
-- numbers that have 1.5 MB without blanks fit
SELECT temporal.complete_activity('\x0a026e73120177', pg_catalog.to_jsonb(pg_catalog.array_fill(1, ARRAY[740000]))) > 0 AS recorded;
SELECT pg_catalog.length(request) BETWEEN 1480000 AND 1480100 AS without_blanks FROM temporal_internal.outbox ORDER BY id DESC LIMIT 1;
DELETE FROM temporal_internal.outbox;

-- errors: nothing of the value is in them
SELECT '{"secret": 1'::temporal.payload;
SELECT ''::temporal.payload;
SELECT '\x'::temporal.payload;
SELECT '\x0102'::temporal.payload;
SELECT '\x1201'::temporal.payload;
-- no encoding; the same entry twice; a key that is not UTF-8; a field that is not known; JSON that is none
SELECT '\x120131'::temporal.payload;
SELECT '\x0a0d0a08656e636f64696e671201780a0d0a08656e636f64696e67120179'::temporal.payload;
SELECT '\x0a0d0a08656e636f64696e671201780a060a01ff120179'::temporal.payload;
SELECT '\x0a0d0a08656e636f64696e671201781a0131'::temporal.payload;
SELECT '\x0a160a08656e636f64696e67120a6a736f6e2f706c61696e120178'::temporal.payload;
SELECT temporal.payload('json/plain', 'x');
SELECT temporal.payload('json/plain', '\x22ff22');
SELECT temporal.payload('', 'x');
SELECT temporal.payload(NULL, 'x');
SELECT temporal.payload('x', NULL);
SELECT temporal.payload('x', 'y', '{"encoding": "z"}');
SELECT temporal.payload('x', 'y', '{"a": 1}');
SELECT temporal.payload('x', 'y', '[]');
SELECT temporal.payload('x', 'y', '{"a": {"b": "c"}}');

-- tokens as JSON APIs hand them out: base64, also that for URLs, with and without padding
SELECT temporal.task_token('CgJucxIBdw=='), temporal.task_token('CgJucxIBdw'), temporal.task_token(E'CgJu\ncxIBdw==\n'),
       temporal.task_token('-_-_-w'), temporal.task_token(NULL) IS NULL AS none;
SELECT temporal.complete_activity(temporal.task_token('CgJucxIBdw')) > 0 AS recorded;
SELECT temporal.task_token('*');

DELETE FROM temporal_internal.outbox;
DROP SERVER temporal;
