--
-- What is not to be sent for the time being
--
CREATE SERVER shop FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:1', namespaces '*');
CREATE SERVER office FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:2');
CREATE ROLE regress_one;
CREATE ROLE regress_two;
CREATE ROLE regress_both IN ROLE regress_one, regress_two;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
GRANT USAGE ON FOREIGN SERVER shop TO regress_one, regress_two, regress_both;
SET client_min_messages = error;
CREATE VIEW shown AS SELECT server, namespace, requested_by, paused_by = session_user AS by_me, by_operator, held
  FROM temporal.pause ORDER BY server, namespace, requested_by, by_operator;
GRANT SELECT ON shown TO PUBLIC;
SELECT * FROM shown;

-- Everybody may pause what he asks for, of a server or of one of its namespaces
SET ROLE regress_one;
SELECT temporal.pause('shop'), temporal.pause('shop'), temporal.pause('shop', 'orders'), temporal.pause('shop', 'orders');
SELECT * FROM shown;
SET ROLE regress_two;
SELECT * FROM shown;
-- not what others ask for, nor at a server that he may not use
\set VERBOSITY terse
SELECT temporal.pause('shop', requested_by => 'regress_one');
SELECT temporal.resume('shop', requested_by => 'regress_one');
SELECT temporal.resume('shop');
SELECT temporal.pause('office');
SELECT temporal.pause('nowhere');
SELECT temporal.resume('nowhere');
SELECT temporal.pause('temporal_complete_request');
SELECT temporal.pause('shop', '');
SELECT temporal.pause('shop', pg_catalog.repeat('n', 1001));
SELECT temporal.pause('shop', requested_by => 'nobody');
SELECT temporal.pause();
SET temporal_complete.default_server = 'shop';
SELECT temporal.pause(), temporal.resume(), temporal.resume();
RESET temporal_complete.default_server;
\set VERBOSITY default
-- but who has the privileges of both may
SET ROLE regress_both;
SELECT temporal.pause('shop', requested_by => 'regress_two'), temporal.pause('shop');
SELECT * FROM shown;
SET ROLE regress_two;
SELECT * FROM shown;
SELECT temporal.resume('shop');
SET ROLE regress_both;
SELECT temporal.resume('shop');
SET ROLE regress_monitor;
SELECT * FROM shown;
SELECT FROM temporal_internal.queue_pause;
SELECT FROM temporal_internal.every_pause;

-- Operators pause what all ask for, or a role, which cannot resume then
RESET ROLE;
SELECT temporal.pause('office'), temporal.pause('shop', requested_by => 'regress_two');
SELECT check_name, status, pg_catalog.regexp_replace(detail, '(since|by) [^\n,]*', '\1 ...', 'g') AS detail, hint
  FROM temporal.health() WHERE check_name = 'paused';
SET ROLE regress_two;
SELECT * FROM shown;
SELECT temporal.resume('shop');
SELECT temporal.pause('shop');
SELECT * FROM shown;
RESET ROLE;
SELECT temporal.resume('shop', requested_by => 'regress_two'), temporal.resume('office'), temporal.resume('office', 'orders');
-- a name writes no lines of its own
SELECT temporal.pause('shop', E'a\nserver b');
SELECT detail LIKE E'%\nserver b%' AS fooled FROM temporal.health() WHERE check_name = 'paused';
SELECT temporal.resume('shop');

-- One namespace is resumed, or all
SET ROLE regress_one;
SELECT temporal.pause('shop', 'other'), temporal.resume('shop', 'orders'), temporal.resume('shop', 'orders');
SELECT * FROM shown;
SELECT temporal.resume('shop'), temporal.resume('shop');
SELECT * FROM shown;

-- It is part of the transaction
BEGIN;
SELECT temporal.pause('shop');
SAVEPOINT s;
SELECT temporal.pause('shop', 'orders');
ROLLBACK TO s;
SELECT * FROM shown;
ROLLBACK;
SELECT * FROM shown;
BEGIN READ ONLY;
SELECT temporal.pause('shop');
ROLLBACK;

-- A role has so many
SELECT count(*) FROM pg_catalog.generate_series(1, 100) n WHERE temporal.pause('shop', 'n' || n);
SELECT temporal.pause('shop');
SET ROLE regress_two;
SELECT temporal.pause('shop'), temporal.resume('shop');
RESET ROLE;
SELECT temporal.pause('shop', requested_by => 'regress_one');
-- Those of servers that were dropped do not count, those of roles go
DROP SERVER shop;
ALTER SERVER office RENAME TO shop;
GRANT USAGE ON FOREIGN SERVER shop TO regress_one, regress_two;
SET ROLE regress_one;
SELECT temporal.pause('shop');
SELECT count(*) FROM shown;
RESET ROLE;
DROP VIEW shown;
DROP OWNED BY regress_one;
DROP ROLE regress_one;
SET ROLE regress_two;
SELECT temporal.pause('shop'), temporal.resume('shop');
RESET ROLE;
SELECT count(*) FROM temporal_internal.queue_pause;

DROP SERVER shop;
DROP ROLE regress_two, regress_both, regress_monitor;
