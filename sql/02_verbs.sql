--
-- The verbs: complete, fail, report_cancellation, heartbeat.
--
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
    OPTIONS (address 'localhost:7233', namespace 'default', namespaces 'orders');

-- An activity hands out its task token; the application keeps it with its data
CREATE TABLE orders (
    id integer PRIMARY KEY,
    status text NOT NULL,
    task_token bytea
);
INSERT INTO orders VALUES (42, 'new', pg_catalog.decode(
    'CiQ2YzFhMGY3ZS0yYjNkLTRjNWUtOGY5MC1hMWIyYzNkNGU1ZjYSCG9yZGVyLTQyGiQwMTk4'
    'YzBkZS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEgBSgBMgE1QgpDaGFyZ2VDYXJkSggI'
    'ARCLgEAYAQ==', 'base64'));

-- and completes the activity in the transaction that changes them
BEGIN;
UPDATE orders SET status = 'approved' WHERE id = 42;
SELECT temporal.complete_activity(task_token, pg_catalog.jsonb_build_object('status', status)) > 0 AS recorded
  FROM orders WHERE id = 42;
COMMIT;
SELECT server, namespace, verb, workflow_id, run_id, activity_id,
       requested_by = CURRENT_ROLE AS by_me, requested_at <= pg_catalog.now() AS before_now,
       state, attempts, next_attempt_at, error_code, error_message, finished_at
  FROM temporal.request \gx

-- What a rolled back transaction asked for has never been asked for
BEGIN;
SELECT temporal.complete_activity(task_token) > 0 AS recorded FROM orders WHERE id = 42;
ROLLBACK;
BEGIN;
SELECT temporal.heartbeat_activity(task_token) > 0 AS recorded FROM orders WHERE id = 42;
SAVEPOINT s;
SELECT temporal.complete_activity(task_token) > 0 AS recorded FROM orders WHERE id = 42;
ROLLBACK TO s;
COMMIT;
DO $$
BEGIN
    PERFORM temporal.complete_activity(task_token) FROM orders WHERE id = 42;
    PERFORM 1 / 0;
EXCEPTION WHEN division_by_zero THEN
    NULL;
END
$$;
SELECT verb, workflow_id FROM temporal.request ORDER BY id;
DELETE FROM temporal_internal.outbox;

-- A trigger does as well
CREATE FUNCTION finish_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'approved' THEN
        PERFORM temporal.complete_activity(NEW.task_token, pg_catalog.to_jsonb(NEW.status));
    ELSE
        PERFORM temporal.fail_activity(NEW.task_token, 'order was ' || NEW.status,
                                       type => 'OrderDeclined', non_retryable => true);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER finish_activity AFTER UPDATE OF status ON orders
    FOR EACH ROW EXECUTE FUNCTION finish_activity();
UPDATE orders SET status = 'declined';
UPDATE orders SET status = 'approved';
SELECT verb, workflow_id, activity_id FROM temporal.request ORDER BY id;
DELETE FROM temporal_internal.outbox;
DROP TRIGGER finish_activity ON orders;

-- Each verb by task token and by ids, with as little as it needs ...
SELECT count(temporal.complete_activity(task_token)),
       count(temporal.fail_activity(task_token, 'out of stock')),
       count(temporal.report_cancellation(task_token)),
       count(temporal.heartbeat_activity(task_token))
  FROM orders;
SELECT count(temporal.complete_activity_by_id('order-42', 'approve')),
       count(temporal.fail_activity_by_id('order-42', 'approve', 'out of stock')),
       count(temporal.report_cancellation_by_id('order-42', 'approve')),
       count(temporal.heartbeat_activity_by_id('order-42', 'approve'));
-- ... with all that it takes, in order ...
SELECT count(temporal.complete_activity(task_token, '1', 'temporal', 'orders')),
       count(temporal.fail_activity(task_token, 'out of stock', 'OutOfStock', '{"left": 0}', true,
                                    '1 minute', true, 'at shelf 7', '{"message": "sold"}', '0.5', 'temporal', 'orders')),
       count(temporal.report_cancellation(task_token, '"by customer"', 'temporal', 'orders')),
       count(temporal.heartbeat_activity(task_token, '0.5', 'temporal', 'orders'))
  FROM orders;
SELECT count(temporal.complete_activity_by_id('order-42', 'approve', '1', 'run-1', '1 hour', 'temporal', 'orders')),
       count(temporal.fail_activity_by_id('order-42', 'approve', 'out of stock', 'OutOfStock', '{"left": 0}',
                                          true, '1 minute', true, 'at shelf 7', '{"message": "sold"}', '0.5',
                                          'run-1', '1 hour', 'temporal', 'orders')),
       count(temporal.report_cancellation_by_id('order-42', 'approve', '"by customer"', 'run-1', '1 hour', 'temporal', 'orders')),
       count(temporal.heartbeat_activity_by_id('order-42', 'approve', '0.5', 'run-1', '1 hour', 'temporal', 'orders'));
-- ... and for a standalone activity, which has no workflow
SELECT count(temporal.complete_activity_by_id('', 'approve-42')),
       count(temporal.fail_activity_by_id('', 'approve-42', 'out of stock')),
       count(temporal.report_cancellation_by_id('', 'approve-42', run_id => 'run-1')),
       count(temporal.heartbeat_activity_by_id('', 'approve-42'));
SELECT namespace, verb, workflow_id, run_id, activity_id, state FROM temporal.request ORDER BY id;
SELECT count(*) FROM temporal_internal.outbox WHERE awaited_until = requested_at + interval '1 hour';
DELETE FROM temporal_internal.outbox;

-- A token of a standalone activity, and one from a server with fields that are not known yet
SELECT count(temporal.complete_activity(
           '\x0a056e732d6964721a0a056e732d6964120a617070726f76652d34321a0572756e2d31')),
       count(temporal.complete_activity(
           '\x0a056e732d696412086f726465722d3432fa0703787879f80701f1070000000000000000'));
SELECT verb, workflow_id, run_id, activity_id FROM temporal.request ORDER BY id;
DELETE FROM temporal_internal.outbox;

--
-- What Temporal would refuse is an error in the transaction
--
UPDATE orders SET task_token = NULL;
SELECT temporal.complete_activity(task_token) FROM orders;
SELECT temporal.complete_activity('');
SELECT temporal.complete_activity('no token');
SELECT temporal.complete_activity(pg_catalog.convert_to('CiQ2YzFhMGY3ZS0yYjNkLTRjNWUtOGY5MC1hMWIyYzNkNGU1ZjY=', 'UTF8'));
SELECT temporal.complete_activity('\x0a056e732d6964');          -- no activity
SELECT temporal.complete_activity('\x12086f726465722d3432');    -- no namespace
-- the form of Java's test server: cut off, with something behind it, no workflow, no event, not UTF-8, lengths that are too large
SELECT temporal.complete_activity('\x000764656661756c74001042657374656c6c756e6720343220c3a4002436633161306637652d326233642d346335652d386639302d6131623263336434653566360000000000000005000000');
SELECT temporal.complete_activity('\x000764656661756c74001042657374656c6c756e6720343220c3a4002436633161306637652d326233642d346335652d386639302d61316232633364346535663600000000000000050000000100');
SELECT temporal.complete_activity('\x000764656661756c740000002436633161306637652d326233642d346335652d386639302d613162326333643465356636000000000000000500000001');
SELECT temporal.complete_activity('\x000764656661756c74001042657374656c6c756e6720343220c3a4002436633161306637652d326233642d346335652d386639302d613162326333643465356636000000000000000000000001');
SELECT temporal.complete_activity('\x000764656661756c740003eda0bd002436633161306637652d326233642d346335652d386639302d613162326333643465356636000000000000000500000001');
SELECT temporal.complete_activity('\x000764656661756c74010078797a');
-- text in UTF-16
SELECT temporal.complete_activity('\x00430069005100320059007a00460068');
SELECT temporal.complete_activity('\x0a056e732d696412096f726465722d3432');  -- cut off
SELECT temporal.complete_activity('\x0a056e732d69641203ff6f72');  -- not UTF-8

SELECT temporal.complete_activity_by_id('order-42', NULL);
SELECT temporal.complete_activity_by_id('order-42', '');
SELECT temporal.complete_activity_by_id(NULL, 'approve');
SELECT temporal.fail_activity_by_id(NULL, 'approve', 'out of stock');
SELECT temporal.report_cancellation_by_id(NULL, 'approve');
SELECT temporal.heartbeat_activity_by_id(NULL, 'approve');
SELECT temporal.complete_activity_by_id('order-42', 'approve', run_id => '');
SELECT temporal.complete_activity_by_id('order-42', 'approve', namespace => '');
SELECT temporal.complete_activity_by_id(pg_catalog.repeat('x', 1000), 'approve') > 0 AS recorded;
SELECT temporal.complete_activity_by_id(pg_catalog.repeat('x', 1001), 'approve');
SELECT temporal.complete_activity_by_id('order-42', pg_catalog.repeat('x', 1001));
SELECT temporal.complete_activity_by_id('order-42', 'approve', run_id => pg_catalog.repeat('x', 1001));
SELECT temporal.complete_activity_by_id('order-42', 'approve', namespace => pg_catalog.repeat('x', 1001));

SELECT temporal.fail_activity_by_id('order-42', 'approve', NULL);
-- causes
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '"no answer"');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '[{"message": "no answer"}]');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"type": "Timeout"}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": "m", "cause": {"message": null}}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": "m", "cause": {"message": "m", "source": "mine"}}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => jsonb_build_object('message', 'm', repeat('ä', 100), 1));
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": 1}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": "m", "type": ["Timeout"]}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": "m", "non_retryable": "true"}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": "m", "stack_trace": {}}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', cause => '{"message": "m", "cause": "no answer"}');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', next_retry_delay => '-1 second');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', next_retry_delay => '1 day -25 hours');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', next_retry_delay => '100000 years');

-- A request by ids can wait for its activity
SELECT temporal.complete_activity_by_id('order-42', 'approve', wait_for_activity => '2 hours') > 0 AS recorded;
SELECT awaited_until - requested_at AS waits FROM temporal_internal.outbox WHERE awaited_until IS NOT NULL ORDER BY id;
SELECT temporal.complete_activity_by_id('order-42', 'approve', wait_for_activity => '-1 second');
SELECT temporal.fail_activity_by_id('order-42', 'approve', 'm', wait_for_activity => '1 day -25 hours');
SELECT temporal.report_cancellation_by_id('order-42', 'approve', wait_for_activity => '100000 years');
SELECT temporal.heartbeat_activity_by_id(NULL, 'approve', wait_for_activity => '2 hours');

-- One bad row among many: which one
SELECT temporal.complete_activity_by_id(w, 'approve', run_id => r)
  FROM (VALUES ('order-1', NULL), ('order-2', NULL), ('order-3', ''), ('order-4', NULL)) AS orders (w, r);
SELECT temporal.complete_activity(pg_catalog.decode(t, 'hex'))
  FROM (VALUES ('0a056e732d69641203777879'), ('00ff')) AS orders (t);

-- Nothing can be asked for where nothing can be changed
BEGIN READ ONLY;
SELECT temporal.complete_activity_by_id('order-42', 'approve');
ROLLBACK;

-- Who reads the database's documentation finds something
SELECT count(*) AS undocumented
  FROM pg_catalog.pg_depend d
 WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
   AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'temporal_complete')
   AND d.deptype = 'e'
   AND d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass,
                     'pg_catalog.pg_foreign_data_wrapper'::regclass)
   AND pg_catalog.obj_description(d.objid, d.classid::regclass::text::name) IS NULL;

-- nor, in the schema that he looks at, anything that is not for him
SELECT count(*) AS internal
  FROM pg_catalog.pg_proc
 WHERE pronamespace = 'temporal'::regnamespace
   AND pg_catalog.obj_description(oid, 'pg_proc') ~ '^(internal|I/O)';

DELETE FROM temporal_internal.outbox;
DROP TABLE orders;
DROP FUNCTION finish_activity();
DROP SERVER temporal;
