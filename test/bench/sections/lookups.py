"""lookups: how long it takes to find requests in temporal.request, with many outcomes kept."""

import time

# Outcomes of a week, as the worker records them: three of each workflow, most of them of another role than the one
# that looks; some were refused, lately and before
FILL = """
CREATE ROLE app; CREATE ROLE other;
GRANT USAGE ON FOREIGN SERVER temporal TO app, other;
SET ROLE app;
SELECT count(temporal.complete_activity_by_id('waiting', i::text)) FROM generate_series(1, 100) i;
SET ROLE other;
SELECT count(temporal.complete_activity_by_id('waiting', i::text)) FROM generate_series(1, 100) i;
RESET ROLE;
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, confirmed,
                               activity_id, workflow_id, run_uuid)
SELECT i, t.at, t.at, q.number, 1, 2, (i * 4 / ({count} + 201))::int, true,
       'approval', 'order-' || md5((i / 3)::text)::uuid, md5(i::text)::uuid
  FROM generate_series(201, {count} + 200) i
       CROSS JOIN LATERAL (SELECT now() - ({count} - i) * interval '604800 s' / {count}) t (at)
       JOIN temporal_internal.queue q ON q.requested_by_name = CASE WHEN i % 100 = 0 THEN 'app' ELSE 'other' END;
INSERT INTO temporal_internal.rejected (id, xid, requested_at, queue, written_by, method, maybe_sent, request, attempts,
                               error_code, finished_at)
SELECT {count} + 200 + i, o.xid, o.requested_at, o.queue, o.written_by, o.method, false, o.request, 1,
       'NOT_FOUND', now() - i * interval '10 min'
  FROM temporal_internal.outbox o, generate_series(1, 1000) i WHERE o.id = 1;
INSERT INTO temporal_internal.delivery (id, requested_at, finished_at, queue, attempts, method, segment, rejected, workflow_id)
SELECT {count} + 1200 + i, now(), now() - i * interval '10 min', o.queue, 1, 2, 3, true, 'discarded'
  FROM temporal_internal.outbox o, generate_series(1, 1000) i WHERE o.id = 1;
SELECT setval('temporal_internal.request_id', {count} + 2200);
VACUUM (FREEZE, ANALYZE);
"""

SUMMARIZE = """
SELECT brin_summarize_new_values(i.indexrelid) FROM pg_index i
       JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'
 WHERE i.indrelid::regclass::text ~ '^temporal.delivery_'
"""

LOOKUPS = {
    "by id": "WHERE id = {middle}",
    "a workflow's": "WHERE workflow_id = '{workflow}'",
    "the newest 20": "ORDER BY id DESC LIMIT 20",
    "all that is not finished": "WHERE finished_at IS NULL",
    "all that was rejected today": "WHERE state = 'rejected' AND finished_at > now() - interval '1 day'",
}


def ms(session, sql):
    begin = time.perf_counter()
    session.run(sql)
    return (time.perf_counter() - begin) * 1000


def measure(bench):
    count = bench.pick(300_000, 3_000_000, 10_000_000)
    cluster = bench.new_cluster("lookups", {"temporal_complete.enabled": "off", "shared_buffers": "3GB", "fsync": "off",
                                            "max_wal_size": "20GB", "autovacuum": "off"})
    session = cluster.create_database("127.0.0.1:1")
    session.run(FILL.format(count=count))
    session.run(SUMMARIZE)
    names = {"middle": count // 2, "workflow": session.value(f"SELECT 'order-' || md5(({count} / 6)::text)::uuid")}
    queries = {what: f"SELECT * FROM temporal.request {condition.format(**names)}" for what, condition in LOOKUPS.items()}
    cold = {}
    for what, query in queries.items():
        session = cluster.restart_cold()
        # the catalogs of a session are not what is measured
        session.run("SET ROLE app")
        session.run("SELECT * FROM temporal.request WHERE id = 1")
        cold[what] = ms(session, query)
    for what, query in queries.items():
        for role in ("app", "postgres"):
            session.run(f"SET ROLE {role}")
            for _ in range(3):
                session.run(query)
            bench.add("lookups", f"{what}, {count:,} outcomes kept, {'one role of two' if role == 'app' else 'pg_monitor'}",
                      "ms", [ms(session, query) for _ in range(20)],
                      goal=("ours", "<=", 10))
        bench.add("lookups", f"{what}, nothing in memory", "ms", [cold[what]])
    bench.end(cluster)
