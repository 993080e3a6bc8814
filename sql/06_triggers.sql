--
-- Ready-made triggers: a row that changes finishes its activity.
--
SET client_encoding = 'UTF8';
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete;

-- What was asked for since the last look: ids, and what is in the request behind the task token
CREATE FUNCTION asked(OUT verb text, OUT workflow_id text, OUT activity_id text, OUT sent text)
RETURNS SETOF record LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM temporal_internal.outbox RETURNING id, method, request)
    SELECT t.verb, t.workflow_id, t.activity_id,
           (pg_catalog.regexp_match(pg_catalog.encode(request, 'escape'), '{.*}'))[1]
      FROM gone, temporal_internal.request_target(method, request) t ORDER BY id;
$$;
-- the same with all bytes that can be read
CREATE FUNCTION asked_all() RETURNS SETOF text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM temporal_internal.outbox RETURNING id, request)
    SELECT pg_catalog.regexp_replace(pg_catalog.encode(request, 'escape'), '[^ -~]|\\[0-9]{3}', '.', 'g')
      FROM gone ORDER BY id;
$$;

--
-- An order: approved by an UPDATE, without a line of PL/pgSQL
--
CREATE TABLE orders (id integer PRIMARY KEY, status text, "by Whom" text, note jsonb, secret text, task_token bytea);
SELECT temporal.bind_table('orders', token_column => 'task_token', ignore => '{secret}',
    on_update_of => '{status}', when_sql => $$OLD.status = 'new' AND NEW.status = 'approved'$$);
SELECT * FROM temporal.binding;
INSERT INTO orders VALUES (1, 'new', 'ann', '{"a": [1, 2]}', 's', '\x0a026e73120177'), (2, 'new', NULL, NULL, 's', NULL);
UPDATE orders SET status = 'checked' WHERE id = 1;
UPDATE orders SET status = 'new' WHERE id = 1;
UPDATE orders SET status = 'approved' WHERE id = 1;
SELECT * FROM asked_all();
-- a row without a token is an error that names the trigger
UPDATE orders SET status = 'approved' WHERE id = 2;
SELECT temporal.unbind_table('orders');
SELECT temporal.bind_table('orders', token_column => 'task_token', result_column => 'note', if_null => 'skip');
UPDATE orders SET status = 'done';
SELECT * FROM asked_all();
-- a column that is dropped or renamed is missed at once, and only then
BEGIN;
ALTER TABLE orders RENAME COLUMN note TO remark;
UPDATE orders SET status = 'x' WHERE id = 1;
ROLLBACK;
BEGIN;
ALTER TABLE orders DROP COLUMN secret;
UPDATE orders SET status = 'x' WHERE id = 1;
SELECT count(*) FROM asked();
ALTER TABLE orders DROP COLUMN note;
UPDATE orders SET status = 'x' WHERE id = 1;
ROLLBACK;
UPDATE orders SET status = 'x' WHERE id = 1;
SELECT * FROM asked_all();
SELECT temporal.unbind_table('orders');

--
-- The same by CREATE TRIGGER, and all four verbs
--
CREATE TABLE review (workflow text, activity varchar(40), run text, outcome text, reason text, kind text, details json);
CREATE TRIGGER done AFTER INSERT OR UPDATE ON review FOR EACH ROW WHEN (NEW.outcome = 'done')
    EXECUTE FUNCTION temporal.complete_activity_trigger('workflow_id_column=workflow', 'activity_id_column=activity',
        'run_id_column=run', 'ignore=workflow,activity,run,outcome,reason,kind');
CREATE TRIGGER failed AFTER INSERT OR UPDATE ON review FOR EACH ROW WHEN (NEW.outcome = 'failed')
    EXECUTE FUNCTION temporal.fail_activity_trigger('workflow_id_column=workflow', 'activity_id=review',
        'message_column=reason', 'type_column=kind', 'details_column=details', 'non_retryable=on');
CREATE TRIGGER cancelled AFTER DELETE ON review FOR EACH ROW
    EXECUTE FUNCTION temporal.report_cancellation_trigger('workflow_id_column=workflow', 'activity_id=review', 'details_column=details');
CREATE TRIGGER alive AFTER UPDATE ON review FOR EACH ROW WHEN (NEW.outcome IS NULL)
    EXECUTE FUNCTION temporal.heartbeat_activity_trigger('workflow_id_column=workflow', 'activity_id=review', 'details_column=details');
SELECT verb, trigger_name FROM temporal.binding ORDER BY 2;
INSERT INTO review VALUES ('w1', 'a1', 'r1', 'done', NULL, NULL, '{"n": 1}');
UPDATE review SET outcome = 'failed', reason = 'too dear', kind = 'Price';
UPDATE review SET outcome = NULL, details = '{"n": 2}';
DELETE FROM review;
SELECT * FROM asked();
INSERT INTO review VALUES ('w1', 'a1', NULL, 'failed', NULL);
DROP TABLE review;
-- a cause
CREATE TABLE import (key text, error text, cause jsonb, causes text);
SELECT temporal.bind_table('import', 'fail', key_column => 'key', wait_for_key => '1 h', message_column => 'error', cause_column => 'cause');
BEGIN;
INSERT INTO import VALUES ('k1', '', '{"message": "no file", "cause": {"message": "disk full", "type": "53100"}}'), ('k2', '', NULL);
UPDATE import SET error = 'cannot import';
SELECT message, cause FROM temporal.requested();
ROLLBACK;
INSERT INTO import VALUES ('k1', '', '{"text": "no file"}');
UPDATE import SET error = 'cannot import';
SELECT temporal.bind_table('import', 'fail', key_column => 'key', message_column => 'error', cause_column => 'causes');
SELECT temporal.bind_table('import', key_column => 'key', cause_column => 'cause');
DROP TABLE import;
-- a fixed message
CREATE TABLE job (wf text, state text);
SELECT temporal.bind_table('job', 'fail', workflow_id_column => 'wf', activity_id => 'run', message => 'it''s off', type => 'Off',
    when_sql => $$NEW.state = 'off'$$, trigger_name => 'Job off');
INSERT INTO job VALUES ('w', 'on');
UPDATE job SET state = 'off';
SELECT verb, workflow_id, activity_id FROM asked();
-- it may come before the activity
SELECT temporal.bind_table('job', workflow_id_column => 'wf', activity_id => 'run', wait_for_activity => '90 minutes');
SELECT definition FROM temporal.binding WHERE trigger_name = 'temporal_complete';
UPDATE job SET state = 'on';
SELECT awaited_until - requested_at AS waits FROM temporal_internal.outbox;
SELECT temporal.unbind_table('job', 'temporal_complete');
SELECT verb, workflow_id, activity_id FROM asked();
-- by the key under which the activity is recorded, or will be
ALTER TABLE job ADD COLUMN number bigint DEFAULT 42, ADD COLUMN id uuid DEFAULT '00000000-0000-0000-0000-00000000002a';
SELECT temporal.bind_table('job', key_column => 'number', wait_for_key => '90 minutes', ignore => '{id}',
    when_sql => $$NEW.state = 'done'$$);
SELECT temporal.bind_table('job', 'heartbeat', key_column => 'id', if_null => 'skip', when_sql => $$NEW.state = 'alive'$$);
SELECT definition FROM temporal.binding WHERE trigger_name = 'temporal_complete';
UPDATE job SET state = 'done';
SELECT state, key FROM temporal.request WHERE server = 'temporal';
SELECT awaited_until - requested_at AS waits FROM temporal_internal.outbox;
SELECT sent FROM asked();
UPDATE job SET state = 'alive';
SELECT temporal.record_activity_by_id('42', 'w', 'a', server => 'temporal'),
       temporal.record_activity_by_id('00000000-0000-0000-0000-00000000002a', 'w', 'b', server => 'temporal');
UPDATE job SET state = 'done';
UPDATE job SET state = 'alive';
UPDATE job SET id = NULL, state = 'alive';
SELECT verb, workflow_id, activity_id FROM asked();
UPDATE job SET number = NULL, state = 'done';
SELECT key, temporal.forget_activity(key, 'temporal') FROM temporal.activity ORDER BY key;
SELECT temporal.unbind_table('job', 'temporal_complete'), temporal.unbind_table('job', 'temporal_heartbeat');
SELECT temporal.unbind_table('job', 'Job on'), temporal.unbind_table('job', 'Job off');
DROP TABLE job;

--
-- Rows that move between partitions are inserted there: that counts, too
--
CREATE TABLE task (id integer, status text, task_token bytea) PARTITION BY LIST (status);
CREATE TABLE task_open PARTITION OF task FOR VALUES IN ('open');
CREATE TABLE task_other PARTITION OF task DEFAULT;
SELECT temporal.bind_table('task', token_column => 'task_token', on_update_of => '{status}', when_sql => $$NEW.status = 'done'$$);
SELECT relation, definition FROM temporal.binding;
INSERT INTO task VALUES (1, 'open', '\x0a026e73120177'), (2, 'late', '\x0a026e73120178');
UPDATE task SET status = 'done' WHERE id = 1;
UPDATE task SET status = 'done' WHERE id = 2;
SELECT verb, workflow_id, sent FROM asked();
SELECT temporal.bind_table('task', token_column => 'task_token', when_sql => $$OLD.status = 'open'$$, trigger_name => 'x');
SELECT temporal.unbind_table('task');
DROP TABLE task;

-- tables that inherit have triggers of their own
CREATE TABLE doc (id integer, status text, task_token bytea);
CREATE TABLE doc_signed (signature text) INHERITS (doc);
SELECT temporal.bind_table('doc', token_column => 'task_token');
INSERT INTO doc_signed VALUES (1, 'open', '\x0a026e73120177', 'x');
UPDATE doc SET status = 'done';
SELECT verb, workflow_id, sent FROM asked();
SELECT relation FROM temporal.binding ORDER BY 1;
SELECT temporal.unbind_table('doc');
DROP TABLE doc CASCADE;

-- views
CREATE VIEW inbox AS SELECT 'w'::text AS wf, 'a'::text AS act, NULL::bytea AS answer;
SELECT temporal.bind_table('inbox', workflow_id_column => 'wf', activity_id_column => 'act', result_column => 'answer');
UPDATE inbox SET answer = '\x00' WHERE wf = 'w';
SELECT verb, workflow_id, activity_id FROM asked();
SELECT temporal.bind_table('inbox', workflow_id_column => 'wf', activity_id_column => 'act', when_sql => 'true', trigger_name => 'x');
DROP VIEW inbox;

-- an approval and the activity's token, whichever comes first
CREATE TABLE either (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'new', task_token bytea);
SELECT temporal.bind_table('either', token_column => 'task_token', on_update_of => '{status, task_token}',
    when_sql => $$NEW.status = 'approved' AND NEW.task_token IS NOT NULL
                  AND (OLD.status <> 'approved' OR OLD.task_token IS DISTINCT FROM NEW.task_token)$$);
INSERT INTO either VALUES (1), (2);
UPDATE either SET task_token = '\x0a026e73120177' WHERE id = 1;
UPDATE either SET status = 'approved';
SELECT sent FROM asked();
UPDATE either SET task_token = '\x0a026e73120178' WHERE id = 2;
SELECT workflow_id, sent FROM asked();
UPDATE either SET status = 'approved';
SELECT count(*) FROM asked();
DROP TABLE either;

-- what is known of triggers that are dropped is forgotten when another one fires first
DO $$
BEGIN
    FOR i IN 1 .. 20 LOOP
        CREATE TABLE briefly (task_token bytea);
        PERFORM temporal.bind_table('briefly', token_column => 'task_token');
        INSERT INTO briefly VALUES ('\x0a026e73120177');
        UPDATE briefly SET task_token = task_token;
        DROP TABLE briefly;
    END LOOP;
END
$$;
SELECT count(*) FROM asked();
SELECT count(*) < 5 AS few FROM pg_catalog.pg_backend_memory_contexts WHERE name = 'temporal_complete trigger';

--
-- What is wrong is said at once, with what would be right
--
SELECT temporal.bind_table('orders');
SELECT temporal.bind_table('orders', 'finish', token_column => 'task_token');
SELECT temporal.bind_table('orders', token_column => 'token');
SELECT temporal.bind_table('orders', token_column => 'status');
SELECT temporal.bind_table('orders', token_column => 'task_token', result_column => 'status');
SELECT temporal.bind_table('orders', workflow_id_column => 'id', activity_id => 'a');
SELECT temporal.bind_table('orders', workflow_id_column => 'status');
SELECT temporal.bind_table('orders', workflow_id_column => 'status', activity_id => 'a', token_column => 'task_token');
SELECT temporal.bind_table('orders', token_column => 'task_token', run_id_column => 'status');
SELECT temporal.bind_table('orders', token_column => 'task_token', wait_for_activity => '1 hour');
SELECT temporal.bind_table('orders', workflow_id_column => 'status', activity_id => 'a', wait_for_activity => '-1 hour');
SELECT temporal.bind_table('orders', token_column => 'task_token', key_column => 'status');
SELECT temporal.bind_table('orders', token_column => 'task_token', wait_for_key => '1 hour');
SELECT temporal.bind_table('orders', key_column => 'note');
SELECT temporal.bind_table('orders', key_column => 'id', wait_for_key => '-1 hour');
SELECT temporal.bind_table('orders', 'fail', token_column => 'task_token');
SELECT temporal.bind_table('orders', 'fail', token_column => 'task_token', message => 'm', result_column => 'note');
SELECT temporal.bind_table('orders', token_column => 'task_token', ignore => '{nothing}');
SELECT temporal.bind_table('orders', token_column => 'task_token', ignore => '{}');
SELECT temporal.bind_table('orders', token_column => 'task_token', if_null => 'ignore');
SELECT temporal.bind_table('orders', token_column => 'task_token', server => 'nowhere');
SELECT temporal.bind_table('orders', token_column => 'task_token', when_sql => 'true); DROP TABLE orders; SELECT (true');
SELECT temporal.bind_table('orders', token_column => 'task_token', when_sql => 'true) EXECUTE FUNCTION f(); --');
SELECT temporal.bind_table('orders', token_column => 'task_token', when_sql => '1) UNION (SELECT 1');
SELECT temporal.bind_table('orders', token_column => 'task_token', when_sql => 'NEW.nothing');
SELECT temporal.bind_table(NULL, token_column => 'task_token');

CREATE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW
    EXECUTE FUNCTION temporal.complete_activity_trigger('token_column=task_token', 'colour=red');
UPDATE orders SET status = 'x' WHERE id = 1;
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW
    EXECUTE FUNCTION temporal.complete_activity_trigger('token_column=task_token', 'token_column=task_token');
UPDATE orders SET status = 'x' WHERE id = 1;
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION temporal.fail_activity_trigger('token_column=task_token', 'message=m', 'non_retryable=maybe');
UPDATE orders SET status = 'x' WHERE id = 1;
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW
    EXECUTE FUNCTION temporal.complete_activity_trigger('workflow_id_column=status', 'activity_id=a', 'wait_for_activity=long');
UPDATE orders SET status = 'x' WHERE id = 1;
DROP TRIGGER t ON orders;
-- the wrong moment
CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION temporal.complete_activity_trigger('token_column=task_token');
UPDATE orders SET status = 'x' WHERE id = 1;
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER UPDATE ON orders EXECUTE FUNCTION temporal.complete_activity_trigger('token_column=task_token');
UPDATE orders SET status = 'x' WHERE id = 1;
SELECT temporal.complete_activity_trigger();

DELETE FROM temporal_internal.outbox;
DROP TABLE orders;
DROP FUNCTION asked(), asked_all();
DROP SERVER temporal;
