--
-- Recorded activities: an activity gets a key of the user's own
--
\set VERBOSITY terse
CREATE ROLE regress_keys_app LOGIN;
CREATE ROLE regress_keys_other LOGIN;
CREATE ROLE regress_keys_boss LOGIN;
GRANT regress_keys_app, regress_keys_other TO regress_keys_boss;
CREATE SERVER keys_temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:7233');
GRANT USAGE ON FOREIGN SERVER keys_temporal TO regress_keys_app, regress_keys_other, regress_keys_boss;
SET temporal_complete.default_server = 'keys_temporal';
-- what an activity would hand over
CREATE FUNCTION keys_token(workflow_id text, attempt integer DEFAULT 1) RETURNS bytea LANGUAGE sql AS $$
SELECT decode('0a24', 'hex') || '6f2a3ba0-3a4b-4b53-8a38-5f3a8d0f9a11'::bytea
    || '\x12'::bytea || decode(lpad(to_hex(length($1)), 2, '0'), 'hex') || $1::bytea
    || '\x2005'::bytea || '\x28'::bytea || decode(lpad(to_hex($2), 2, '0'), 'hex')
    || '\x3206'::bytea || 'charge'::bytea
$$;

SET ROLE regress_keys_app;

-- the activity hands its token over, and its row's key is all that is needed from then on
SELECT temporal.record_activity('order 42', keys_token('wf-42'));
SELECT temporal.record_activity_by_id('order 43', 'wf-43', 'charge', expires_at => 'infinity');
SELECT key, server, namespace, workflow_id, activity_id, run_id, attempt, recorded_by, state, heartbeat,
       heartbeat_interval, while_session, expires_at
  FROM temporal.activity ORDER BY key;

-- another attempt has another token: recording again replaces
SELECT temporal.record_activity('order 42', keys_token('wf-42', 2));
SELECT key, attempt FROM temporal.activity ORDER BY key;

-- transactional, down to savepoints
BEGIN;
SELECT temporal.record_activity('order 44', keys_token('wf-44'));
SAVEPOINT s;
SELECT temporal.forget_activity('order 42'), temporal.forget_activity('order 44');
SELECT key FROM temporal.activity ORDER BY key;
ROLLBACK TO s;
SELECT key FROM temporal.activity ORDER BY key;
ROLLBACK;
SELECT key, attempt FROM temporal.activity ORDER BY key;

-- the verbs by key: the token or the ids are those that were recorded
BEGIN;
SELECT temporal.complete_activity_by_key('order 42', '{"paid": true}') > 0 AS ok;
SELECT temporal.fail_activity_by_key('order 42', 'no money', 'Broke', non_retryable => true, cause => '{"message": "card declined"}') > 0 AS ok;
SELECT temporal.report_cancellation_by_key('order 43', '"stopped"') > 0 AS ok;
SELECT temporal.heartbeat_activity_by_key('order 43', '50') > 0 AS ok;
SELECT verb, workflow_id, activity_id, key, requested_by, state FROM temporal.request
 WHERE server = 'keys_temporal' ORDER BY id;
-- a key is forgotten when a verdict was delivered, not before
SELECT key, attempt FROM temporal.activity ORDER BY key;
ROLLBACK;
\set VERBOSITY default
SELECT temporal.complete_activity_by_key('order 45');
SELECT temporal.complete_activity_by_key('order 42', server => 'nowhere');
SELECT temporal.complete_activity_by_key('order 42', namespace => 'other');
SELECT temporal.complete_activity_by_key('');
SELECT temporal.fail_activity_by_key('order 42', NULL);
SELECT temporal.fail_activity_by_key('order 45', NULL, wait_for_key => '1 hour');
SELECT temporal.complete_activity_by_key('order 45', wait_for_key => '-1 s');
SELECT temporal.complete_activity_by_key('order 42', wait_for_key => '-1 s');
SELECT temporal.complete_activity_by_key('order 45', wait_for_key => '20000 years');
SELECT temporal.complete_activity_by_key('order 45', repeat('x', 2200000)::bytea, wait_for_key => '1 hour');
\set VERBOSITY terse
-- the verdict may come before the activity has recorded its key: then it waits
BEGIN;
SELECT temporal.complete_activity_by_key('order 45', '{"paid": true}', wait_for_key => '1 hour') > 0 AS ok;
SELECT temporal.fail_activity_by_key('order 45', 'no money', 'Broke', wait_for_key => '2 hours') > 0 AS ok;
SELECT temporal.report_cancellation_by_key('order 45', '"stopped"', wait_for_key => '3 hours') > 0 AS ok;
SELECT temporal.heartbeat_activity_by_key('order 45', '50', wait_for_key => '4 hours') > 0 AS ok;
-- what is recorded need not be waited for
SELECT temporal.complete_activity_by_key('order 42', wait_for_key => '1 hour') > 0 AS ok;
SELECT verb, workflow_id, activity_id, key, requested_by, state FROM temporal.request
 WHERE server = 'keys_temporal' ORDER BY id;
SELECT verb, activity_id, result, details, message, type FROM temporal.requested() ORDER BY id;
ROLLBACK;
-- what has expired is not there any more
BEGIN;
SELECT temporal.record_activity('order 46', keys_token('wf-46'), expires_at => clock_timestamp() + '50 ms');
DO $$ BEGIN WHILE EXISTS (SELECT FROM temporal.activity WHERE key = 'order 46' AND state = 'recorded') LOOP END LOOP; END $$;
SELECT key, state FROM temporal.activity WHERE key = 'order 46';
SELECT temporal.forget_activity('order 46');
SELECT temporal.complete_activity_by_key('order 46');
ROLLBACK;

-- heartbeats: as Temporal's timeout for the activity wants them, or as often as is said here; for a script, as long as its session lives
BEGIN;
SELECT temporal.record_activity('order 47', keys_token('wf-47'), heartbeat => true);
SELECT temporal.record_activity('order 48', keys_token('wf-48'), heartbeat => true, heartbeat_interval => '10 s', heartbeat_details => '"on my desk"');
SELECT temporal.record_activity_by_id('nightly', 'wf-nightly', 'load', heartbeat => true, while_session => true);
SELECT key, state, heartbeat, heartbeat_interval, while_session, cancel_requested, activity_paused, activity_reset, heartbeat_error, answered_at
  FROM temporal.activity WHERE heartbeat ORDER BY key;
ROLLBACK;

-- keys are the role's own
SET ROLE regress_keys_other;
SELECT key FROM temporal.activity ORDER BY key;
SELECT temporal.complete_activity_by_key('order 42');
SELECT temporal.forget_activity('order 42');
SELECT temporal.record_activity('order 42', keys_token('wf-of-other'));
SELECT key, workflow_id FROM temporal.activity ORDER BY key;
-- who has the privileges of both has to say whose is meant
SET ROLE regress_keys_boss;
SELECT key, workflow_id, recorded_by FROM temporal.activity ORDER BY key, recorded_by;
\set VERBOSITY default
SELECT temporal.complete_activity_by_key('order 42');
\set VERBOSITY terse
-- and what it asks for is its own
BEGIN;
SELECT temporal.complete_activity_by_key('order 43') > 0 AS ok;
SELECT verb, workflow_id, key, requested_by FROM temporal.request WHERE server = 'keys_temporal';
ROLLBACK;
SELECT temporal.forget_activity('order 43'), temporal.forget_activity('order 43'), temporal.forget_activity('nothing');

SET ROLE regress_keys_app;
SELECT key, workflow_id FROM temporal.activity ORDER BY key;
SELECT temporal.forget_activity('order 42');
SELECT key, workflow_id FROM temporal.activity ORDER BY key;

-- what cannot be meant
\set VERBOSITY default
SELECT temporal.record_activity(NULL, keys_token('wf'));
SELECT temporal.record_activity('', keys_token('wf'));
SELECT temporal.record_activity(repeat('x', 1001), keys_token('wf'));
SELECT temporal.record_activity('k', NULL);
SELECT temporal.record_activity('k', '\x00');
SELECT temporal.record_activity_by_id('k', 'wf', NULL);
SELECT temporal.record_activity('k', keys_token('wf'), expires_at => 'yesterday');
SELECT temporal.record_activity('k', keys_token('wf'), heartbeat => true, heartbeat_interval => '-1 s');
SELECT temporal.record_activity('k', keys_token('wf'), heartbeat => true, heartbeat_interval => '999 ms');
SELECT temporal.record_activity('k', keys_token('wf'), heartbeat => true, heartbeat_interval => '20000 years');
SELECT temporal.record_activity('k', keys_token('wf'), heartbeat_interval => '10 s');
SELECT temporal.record_activity('k', keys_token('wf'), heartbeat_details => '1');
SELECT temporal.record_activity('k', keys_token('wf'), while_session => true);
SELECT temporal.forget_activity(NULL);
BEGIN READ ONLY;
SELECT temporal.record_activity('k', keys_token('wf'));
ROLLBACK;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER keys_temporal FROM regress_keys_other;
SET ROLE regress_keys_other;
SELECT temporal.record_activity('k', keys_token('wf'));
SELECT temporal.forget_activity('order 42');
SELECT FROM temporal_internal.recorded_activity;
SELECT FROM temporal_internal.every_activity;
\set VERBOSITY terse
RESET ROLE;

-- what became of a key can be followed: which attempt, recorded when and by whom, and how it ended; by who may see it
SET ROLE regress_keys_app;
SELECT attempt, recorded_by, state, recorded_at <= ended_at AS timely, request FROM temporal.activity_history('order 42');
SELECT workflow_id, attempt, state, ended_at IS NOT NULL AS ended FROM temporal.activity_history('order 43');
BEGIN;
SELECT temporal.record_activity('order 49', keys_token('wf-49', n), expires_at => CASE WHEN n = 3 THEN clock_timestamp() + '10 ms' END)
  FROM generate_series(1, 3) n;
SELECT pg_sleep(0.02);
SAVEPOINT s;
SELECT temporal.record_activity('order 49', keys_token('wf-49', 4));
SELECT attempt, state, ended_at < clock_timestamp() AS ended FROM temporal.activity_history('order 49');
ROLLBACK TO s;
SELECT attempt, state, ended_at < clock_timestamp() AS ended FROM temporal.activity_history('order 49');
ROLLBACK;
SELECT count(*) FROM temporal.activity_history('order 49');
SELECT count(*) FROM temporal.activity_history('nothing');
SELECT count(*) FROM temporal.activity_history(NULL);
SET ROLE regress_keys_other;
SELECT workflow_id, recorded_by, state FROM temporal.activity_history('order 42');
SET ROLE regress_keys_boss;
SELECT workflow_id, attempt, recorded_by, state FROM temporal.activity_history('order 42');
SELECT workflow_id, attempt, recorded_by, state FROM temporal.activity_history('order 43');
SELECT FROM temporal_internal.ended_activity;
RESET ROLE;

SELECT key, temporal.forget_activity(key) FROM temporal.activity ORDER BY key;
DROP FUNCTION keys_token;
DROP SERVER keys_temporal;
DROP ROLE regress_keys_app, regress_keys_other, regress_keys_boss;
