--
-- Tests without Temporal: what was asked for, and nothing of it is sent
--
CREATE SERVER nowhere FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:1');
SET temporal_complete.default_server = 'nowhere';
CREATE ROLE regress_tester;
GRANT USAGE ON FOREIGN SERVER nowhere TO regress_tester;
\set token 'decode(''CiQ2YzFhMGY3ZS0yYjNkLTRjNWUtOGY5MC1hMWIyYzNkNGU1ZjYSCG9yZGVyLTQyGiQwMTk4YzBkZS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEgBSgBMgE1QgpDaGFyZ2VDYXJkSggIARCLgEAYAQ=='', ''base64'')'

-- What the transaction asked for so far
BEGIN;
SELECT temporal.complete_activity_by_id('order-42', 'approve', '{"approved": true}') > 0 AS done;
SELECT temporal.fail_activity_by_id('order-43', 'approve', 'no', type => 'Refused', non_retryable => true, next_retry_delay => '1.5 s', details => '"why"') > 0 AS done;
SAVEPOINT s;
SELECT temporal.heartbeat_activity_by_id('order-44', 'approve', '\x00ff'::bytea) > 0 AS done;
SELECT count(*) FROM temporal.requested();
ROLLBACK TO s;
SELECT server, namespace, verb, workflow_id, run_id, activity_id, result, details, message, type, non_retryable, next_retry_delay, benign
  FROM temporal.requested();
SELECT temporal.request_payload(id) FROM temporal.requested();
ROLLBACK;
SELECT count(*) FROM temporal.requested();

-- Causes of a failure
BEGIN;
SELECT temporal.fail_activity_by_id('order-45', 'approve', 'no', cause => '{"message": "straße", "details": [1.50, null], "cause":
    {"message": "", "type": "T", "details": "\\x00", "non_retryable": true, "stack_trace": "s"}}') > 0 AS done;
SELECT temporal.fail_activity(:token, 'no', cause => '{"message": "m", "details": false, "non_retryable": false}') > 0 AS done;
SELECT message, cause FROM temporal.requested();
SELECT temporal.request_payload(id) FROM temporal.requested() WHERE workflow_id = 'order-45';
ROLLBACK;

-- By task token
SELECT * FROM temporal.task_token_parts(:token);
SELECT temporal.task_token_parts('\x00');
-- of Java's test server, which has other tokens, with the namespace's name and without the activity's id
SELECT * FROM temporal.task_token_parts('\x000764656661756c74001042657374656c6c756e6720343220c3a4002436633161306637652d326233642d346335652d386639302d613162326333643465356636000000000000000500000001');
BEGIN;
SELECT temporal.complete_activity('\x000764656661756c74001042657374656c6c756e6720343220c3a4002436633161306637652d326233642d346335652d386639302d613162326333643465356636000000000000000500000001', '1') > 0 AS done;
SELECT verb, workflow_id, run_id, activity_id FROM temporal.requested();
ROLLBACK;
SELECT temporal.task_token_parts(NULL);
BEGIN;
SELECT temporal.report_cancellation(:token, temporal.payload('binary/null', '')) > 0 AS done;
SELECT verb, workflow_id, activity_id, task_token = :token AS same, details FROM temporal.requested();
SELECT temporal.request_payload(id) FROM temporal.requested();
COMMIT;
SELECT verb FROM temporal.requested();

-- Nothing is sent
SET temporal_complete.delivery = off;
SELECT temporal.complete_activity_by_id('order-42', 'approve', '1') AS id \gset
SELECT state, workflow_id, attempts FROM temporal.wait_for_request(:id);
BEGIN;
SELECT temporal.complete_activity_by_id('order-43', 'approve', '1') AS other \gset
SELECT state FROM temporal.wait_for_request(:other);
COMMIT;
SELECT temporal.retry_request(:id);
SELECT temporal.retry_rejected();
RESET temporal_complete.delivery;
SELECT temporal.request_payload(:id);
SELECT temporal.retry_request(:id);
SELECT state, decisions LIKE 'retried by %' AS retried FROM temporal.request WHERE id = :id;
SELECT temporal.discard_request(:other);
-- no worker has to look at it
SELECT count(*) FROM temporal_internal.recheck WHERE id = :other;
SELECT state, error_code FROM temporal.request WHERE id = :other;
SELECT temporal.request_payload(:other);

-- Nobody else's requests are seen
SET ROLE regress_tester;
\set VERBOSITY sqlstate
SELECT temporal.request_payload(:id);
\set VERBOSITY default
BEGIN;
SELECT temporal.complete_activity_by_id('order-45', 'approve', '1', server => 'nowhere') AS own \gset
RESET ROLE;
SELECT temporal.complete_activity_by_id('order-46', 'approve', '1') > 0 AS done;
SELECT workflow_id, requested_by = current_user AS own FROM temporal.requested();
SET ROLE regress_tester;
SELECT workflow_id, requested_by FROM temporal.requested();
COMMIT;
SELECT temporal.request_payload(:own);
RESET ROLE;

-- A caller does not decide for a function with its owner's rights
CREATE FUNCTION approve(workflow text) RETURNS boolean LANGUAGE sql SECURITY DEFINER
    AS $$SELECT temporal.complete_activity_by_id(workflow, 'approve', 'true', server => 'nowhere') > 0$$;
SET ROLE regress_tester;
SET temporal_complete.delivery = off;
\set VERBOSITY sqlstate
SELECT approve('order-47');
RESET temporal_complete.delivery;
SELECT approve('order-47');
RESET ROLE;
SELECT count(*) FROM temporal.request WHERE workflow_id = 'order-47' AND state = 'queued';

-- A database for tests
DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET temporal_complete.delivery = off', current_database()); END$$;
\c -
SET ROLE regress_tester;
SELECT approve('order-48');
RESET ROLE;
SELECT state FROM temporal.request WHERE workflow_id = 'order-48';
SELECT temporal.adopt();
DO $$BEGIN EXECUTE format('ALTER DATABASE %I RESET temporal_complete.delivery', current_database()); END$$;
\c -

\set VERBOSITY default
DROP FUNCTION approve(text);
SELECT temporal.discard_requests('nowhere') > 0 AS done;
DROP SERVER nowhere CASCADE;
DROP OWNED BY regress_tester;
DROP ROLE regress_tester;
