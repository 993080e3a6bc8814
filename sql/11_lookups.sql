--
-- Look-ups in temporal.request: what is passed down to the scan, and that it changes no result
--
-- ids as if nothing had been before
DELETE FROM temporal_internal.outbox;
DELETE FROM temporal_internal.rejected;
DELETE FROM temporal_internal.delivery;
SELECT pg_catalog.setval('temporal_internal.request_id', 1, false);
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:1');
CREATE ROLE regress_seeker;
GRANT USAGE ON FOREIGN SERVER temporal TO regress_seeker;
SELECT count(temporal.complete_activity_by_id('order-' || n % 5, 'a' || n, '1')) FROM pg_catalog.generate_series(1, 20) n;
SET ROLE regress_seeker;
SELECT count(temporal.complete_activity_by_id('order-' || n % 5, 'b' || n, '1')) FROM pg_catalog.generate_series(1, 20) n;
RESET ROLE;

-- Outcomes of each kind, as the worker and decisions leave them
CREATE FUNCTION finish(remainder integer, kind text) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM temporal_internal.outbox o WHERE o.id % 8 = remainder RETURNING *),
    refused AS (
        INSERT INTO temporal_internal.rejected (id, xid, requested_at, queue, written_by, method, maybe_sent, request, attempts, error_code, finished_at)
        SELECT g.id, g.xid, g.requested_at, g.queue, g.written_by, g.method, kind = 'unconfirmed', g.request, 1, 'NOT_FOUND', '2026-01-01 00:00+00'::timestamptz + g.id * interval '1 h'
          FROM gone g WHERE kind IN ('rejected', 'unconfirmed') RETURNING 1),
    recorded AS (
        INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed, rejected, workflow_id, activity_id)
        SELECT g.id, g.requested_at, '2026-01-01 00:00+00'::timestamptz + g.id * interval '1 h', g.queue, 1, g.method, g.id % 4,
               CASE kind WHEN 'superseded' THEN NULL ELSE kind IN ('delivered', 'discarded') END, CASE kind WHEN 'discarded' THEN true END, t.workflow_id, t.activity_id
          FROM gone g, temporal_internal.request_target(g.method, g.request) t WHERE kind NOT IN ('rejected', 'unconfirmed') RETURNING 1)
    SELECT count(*) FROM gone;
$$;
SELECT sum(finish(n, kind)) FROM (VALUES (0, 'delivered'), (1, 'delivered'), (2, 'rejected'), (3, 'unconfirmed'), (4, 'superseded'),
    (5, 'discarded'), (6, 'unconfirmed heartbeat')) k (n, kind);
SELECT state, count(*), count(finished_at) AS finished FROM temporal.request GROUP BY 1 ORDER BY 1;
SELECT d.rejected, d.confirmed, count(*) FROM temporal_internal.delivery d GROUP BY 1, 2 ORDER BY 1, 2;

-- What is passed down
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id = 'order-1';
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE 'order-1' = workflow_id AND activity_id = 'a1';
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id IN ('order-1', 'order-2');
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id = 'order-1'::varchar;
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id = 'order-1' AND id = 5;
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request WHERE finished_at IS NULL;
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request WHERE state IN ('queued', 'retrying');
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request WHERE state IN ('rejected', 'unconfirmed') AND finished_at >= CURRENT_DATE;
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request WHERE finished_at BETWEEN '2026-01-01 00:00+00' AND '2026-01-02 00:00+00';
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request ORDER BY id DESC LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request WHERE state = 'rejected' AND activity_id <> '' ORDER BY id DESC LIMIT 3;
RESET enable_sort;

-- What is not: other operators, what depends on the row, what is not the same for each row
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id > 'order-1';
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id = activity_id;
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id = 'order-' || pg_catalog.random();
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE workflow_id::"char" = 'o';
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE state <> 'delivered';
EXPLAIN (COSTS OFF) SELECT state FROM temporal.request WHERE NOT (workflow_id = 'order-1');
EXPLAIN (COSTS OFF) SELECT id FROM temporal.request ORDER BY id LIMIT 3;

-- The same rows come as without it, for everybody
CREATE FUNCTION differences(condition text) RETURNS TABLE (reader name, shown bigint, different bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH reader IN ARRAY ARRAY['regress_seeker', session_user] LOOP
        EXECUTE pg_catalog.format('SET LOCAL ROLE %I', reader);
        RETURN QUERY EXECUTE pg_catalog.format('WITH passed AS MATERIALIZED (SELECT * FROM temporal.request r WHERE %1$s),
            kept AS MATERIALIZED (SELECT * FROM (SELECT * FROM temporal.request OFFSET 0) r WHERE %1$s)
            SELECT %2$L::name, (SELECT count(*) FROM passed), (SELECT count(*) FROM (
                (SELECT * FROM passed EXCEPT ALL SELECT * FROM kept) UNION ALL (SELECT * FROM kept EXCEPT ALL SELECT * FROM passed)) d)',
            condition, reader);
    END LOOP;
END $$;
SELECT c.condition, pg_catalog.min(d.shown) AS own, pg_catalog.max(d.shown) AS of_all, pg_catalog.sum(d.different) AS different
  FROM (VALUES (1, $$workflow_id = 'order-1'$$), (2, $$workflow_id = ANY ('{order-1,order-3,order-1,NULL}')$$), (3, $$workflow_id = 'nothing'$$),
    (4, $$workflow_id = NULL$$), (5, $$workflow_id = ANY (NULL::text[])$$), (6, $$workflow_id = 'order-1' AND workflow_id = 'order-2'$$),
    (7, $$workflow_id = 'order-1' OR id = 3$$), (8, $$workflow_id = 'order-1' AND state = 'rejected'$$), (9, $$workflow_id = 'order-1  '::char(9)$$),
    (10, $$workflow_id = 'order-1'::name$$), (11, $$workflow_id = 'order-1' COLLATE "C"$$), (12, $$workflow_id = (SELECT 'order-' || count(*) FROM (VALUES (1)) v)$$),
    (20, $$finished_at IS NULL$$), (21, $$finished_at IS NOT NULL$$), (22, $$state = 'queued'$$), (23, $$state IN ('queued', 'rejected')$$), (24, $$state = 'nonsense'$$),
    (25, $$state = 'rejected'$$), (26, $$state = 'unconfirmed'$$), (27, $$state = 'delivered'$$), (28, $$state = 'superseded'$$), (29, $$state IN ('rejected', NULL)$$),
    (30, $$state = 'rejected' AND state = 'queued'$$), (31, $$state = 'rejected' OR finished_at IS NULL$$), (32, $$state = 'rejected' OR error_code IS NULL$$),
    (33, $$(state = 'rejected' AND finished_at IS NOT NULL) OR state = 'superseded'$$), (34, $$NOT (state = 'rejected')$$), (35, $$state = ANY ('{}')$$), (36, $$state = NULL$$),
    (37, $$state = (SELECT 'queued')$$), (38, $$'rejected' = state$$),
    (40, $$finished_at > '2026-01-01 20:00+00'$$), (41, $$'2026-01-01 20:00+00' > finished_at$$), (42, $$finished_at = '2026-01-01 20:00+00'$$),
    (43, $$finished_at >= '2026-01-02'::date AND state = 'rejected'$$), (44, $$finished_at < '2026-01-01 20:00'::timestamp AND state IN ('rejected', 'unconfirmed')$$),
    (45, $$finished_at > NULL::timestamptz$$), (46, $$finished_at > 'infinity'$$), (47, $$id = 5 AND state = 'queued' AND finished_at IS NULL$$),
    (48, $$id IN (5, 6, 7, 8) AND state IN ('queued', 'delivered')$$), (49, $$id = 5::smallint OR id = 6$$)) c (n, condition), differences(c.condition) d
 GROUP BY c.n, c.condition ORDER BY c.n;

-- The newest, in steps, backwards, again and again, and when ids are beyond the sequence or were never drawn
SET enable_sort = off;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, workflow_id, activity_id FROM temporal.request ORDER BY id DESC;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH LAST FROM c;
FETCH FIRST FROM c;
COMMIT;
SELECT v.n, r.id FROM (VALUES (1), (2)) v (n), LATERAL (SELECT id FROM temporal.request WHERE id > v.n * 10 ORDER BY id DESC LIMIT 2) r;
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed)
SELECT id, '2026-01-01 00:00+00', '2026-01-01 00:00+00', 1, 1, 2, 0, true FROM (VALUES (-9223372036854775808), (-5), (100000000), (9223372036854775807)) v (id);
SELECT id FROM temporal.request ORDER BY id DESC LIMIT 3;
SELECT pg_catalog.count(*), pg_catalog.min(id), pg_catalog.max(id), pg_catalog.bool_and(id < before) AS descending
  FROM (SELECT id, pg_catalog.lag(id) OVER (ORDER BY id DESC) AS before FROM temporal.request) r WHERE before IS NOT NULL;
SELECT pg_catalog.max(id) FROM temporal.request;
SET ROLE regress_seeker;
SELECT id FROM temporal.request ORDER BY id DESC LIMIT 3;
SELECT pg_catalog.count(*), pg_catalog.bool_and(id < before) AS descending
  FROM (SELECT id, pg_catalog.lag(id) OVER (ORDER BY id DESC) AS before FROM temporal.request) r WHERE before IS NOT NULL;
RESET ROLE;
DELETE FROM temporal_internal.outbox;
DELETE FROM temporal_internal.rejected;
DELETE FROM temporal_internal.delivery;
DROP SERVER temporal CASCADE;
DROP OWNED BY regress_seeker;
DROP ROLE regress_seeker;
