--
-- For scripts: many requests at once, by whom they belong to
--
CREATE SERVER shop FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:1', namespaces 'spare');
CREATE SERVER office FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:2');
CREATE ROLE regress_one;
CREATE ROLE regress_two;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
GRANT USAGE ON FOREIGN SERVER shop TO regress_one, regress_two;
GRANT USAGE ON FOREIGN SERVER office TO regress_one;

-- Requests that Temporal refused, or whose end is not known, as the worker leaves them
CREATE FUNCTION refuse(workflow text, code text, maybe_sent boolean, at timestamptz) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM temporal_internal.outbox o WHERE o.id IN (SELECT r.id FROM temporal.request r WHERE r.workflow_id = workflow) RETURNING *)
    INSERT INTO temporal_internal.rejected (id, xid, requested_at, queue, written_by, method, maybe_sent, request, attempts, error_code, error_message, finished_at)
    SELECT g.id, g.xid, g.requested_at, g.queue, temporal_internal.writing_transaction(), g.method, refuse.maybe_sent, g.request, 1, code, 'as told', at
      FROM gone g RETURNING id;
$$;
CREATE VIEW shown AS SELECT workflow_id, requested_by, server, namespace, state, error_code,
    pg_catalog.regexp_replace(decisions, '(by|as|from) [^;]*', '\1 ...', 'g') AS decisions
  FROM temporal.request WHERE requested_by IN ('regress_one', 'regress_two') ORDER BY id;
GRANT SELECT ON shown TO PUBLIC;
SET ROLE regress_one;
SELECT count(temporal.complete_activity_by_id('w' || n, 'a', '1', server => 'shop')) FROM pg_catalog.generate_series(1, 6) n;
SET ROLE regress_two;
SELECT count(temporal.complete_activity_by_id('w' || n, 'a', '1', server => 'shop')) FROM pg_catalog.generate_series(7, 8) n;
RESET ROLE;
SELECT count(refuse('w' || n, 'NOT_FOUND', false, '2026-01-01 00:00+00'::timestamptz + n * interval '1 h')) FROM pg_catalog.generate_series(1, 3) n;
SELECT count(refuse('w' || n, 'NO_ANSWER', true, '2026-01-01 00:00+00'::timestamptz + n * interval '1 h')) FROM pg_catalog.generate_series(4, 5) n;
SELECT refuse('w7', 'NOT_FOUND', false, '2026-01-01 00:00+00') > 0 AS done;
SELECT * FROM shown;

-- What would be done is counted first
SET ROLE regress_one;
SELECT temporal.retry_rejected(dry_run => true);
SELECT temporal.retry_rejected(server => 'shop', error_code => 'NOT_FOUND', since => '2026-01-01 02:00+00', until => '2026-01-01 03:00+00', dry_run => true);
SELECT temporal.retry_rejected(workflow_id => 'w3', dry_run => true);
SELECT temporal.discard_rejected(workflow_id => 'w7', dry_run => true);
SELECT temporal.acknowledge_unconfirmed(dry_run => true);
SELECT temporal.retry_rejected(workflow_id => 'w1');
SELECT temporal.discard_rejected(since => '2026-01-01 03:00+00');
SELECT temporal.acknowledge_unconfirmed(workflow_id => 'w4');
SELECT workflow_id, state, error_code, decisions FROM shown;
-- and nothing of others
SELECT temporal.discard_rejected(workflow_id => 'w7'), temporal.retry_rejected(workflow_id => 'w7');

-- What cannot be meant
SELECT temporal.retry_rejected(error_code => 'NOT_FOND');
SELECT temporal.discard_rejected(error_code => 'NO_ANSWER');
SELECT temporal.acknowledge_unconfirmed(error_code => 'CONFIRMING');
SELECT temporal.acknowledge_unconfirmed(error_code => 'NO_ANSWER', workflow_id => 'none');
SELECT temporal.retry_rejected(server => 'shopp');
SELECT temporal.purge('-1 s');
SELECT temporal.drain('-1 s');

-- One request: acknowledged, or sent to where it belongs
SELECT id AS w5 FROM temporal.request WHERE workflow_id = 'w5' \gset
SELECT id AS w6 FROM temporal.request WHERE workflow_id = 'w6' \gset
SELECT id AS w2 FROM temporal.request WHERE workflow_id = 'w2' \gset
SET ROLE regress_two;
\set VERBOSITY sqlstate
SELECT temporal.acknowledge_request(:w5);
SELECT temporal.redirect_request(:w6, 'shop', 'spare');
SET ROLE regress_one;
SELECT temporal.redirect_request(:w6, 'shop', 'other');
SELECT temporal.redirect_request(:w6, 'nowhere');
SELECT temporal.redirect_request(NULL, 'shop');
\set VERBOSITY default
SELECT temporal.acknowledge_request(:w5);
SELECT temporal.redirect_request(:w6, 'shop', 'spare') > :w6 AS done;
SELECT temporal.redirect_request(:w2, 'office') > :w6 AS done;
SELECT * FROM shown;
-- only a role that may use the server can have its requests sent there
RESET ROLE;
\set VERBOSITY sqlstate
SELECT temporal.redirect_request(id, 'office') FROM temporal.request WHERE workflow_id = 'w8';
\set VERBOSITY default

-- When a request is given up
SET ROLE regress_two;
SELECT id AS w8 FROM temporal.request WHERE workflow_id = 'w8' \gset
SELECT temporal.expire_request(:w8, '2200-01-01 00:00+00');
SELECT expires_at = '2200-01-01 00:00+00' AS given FROM temporal.request WHERE id = :w8;
SELECT temporal.expire_request(:w8, NULL);
SELECT expires_at IS NULL AS lifted FROM temporal.request WHERE id = :w8;
SELECT temporal.expire_request(:w8, pg_catalog.now());
SELECT temporal.expire_request(NULL, NULL);
SET ROLE regress_one;
\set VERBOSITY sqlstate
SELECT temporal.expire_request(:w8, NULL);
SELECT temporal.expire_request(:w5, NULL);
\set VERBOSITY default
-- the owner of the extension decides for all
RESET ROLE;
SELECT temporal.expire_request(:w8, NULL);

-- Outcomes go before their time: one's own, and those of all for the owner of the extension
SET ROLE regress_two;
SELECT temporal.purge('1 s'), temporal.purge('1 day');
SET ROLE regress_one;
SELECT temporal.purge('1 day');
RESET ROLE;
SELECT temporal.discard_rejected(workflow_id => 'w7');
SELECT temporal.purge('1 day');
SELECT workflow_id, state, error_code FROM shown;

-- Until all has ended
SET ROLE regress_two;
SELECT temporal.drain('0 s');
SELECT temporal.discard_requests('shop');
SELECT temporal.drain();
SET temporal_complete.delivery = off;
SELECT temporal.complete_activity_by_id('w9', 'a', server => 'shop') > 0 AS done;
SELECT temporal.drain();
RESET temporal_complete.delivery;
SET ROLE regress_monitor;
SELECT temporal.drain('0 s');
SET ROLE regress_two;
BEGIN;
SELECT temporal.complete_activity_by_id('w9', 'a', server => 'shop') > 0 AS done;
SELECT temporal.drain('0 s');
ROLLBACK;
SELECT temporal.complete_activity_by_id('w9', 'a', server => 'shop') > 0, temporal.drain();
RESET ROLE;

SELECT temporal.discard_requests(NULL) > 0 AS done;
SELECT temporal.purge('0 s') > 0 AS done;
DROP VIEW shown;
DROP FUNCTION refuse;
DROP SERVER shop, office CASCADE;
DROP OWNED BY regress_one, regress_two;
DROP ROLE regress_one, regress_two, regress_monitor;
