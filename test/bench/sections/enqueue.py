"""enqueue: what a completion costs the transaction that makes it, beside an INSERT into an outbox table made by hand.

CPU time, not time by the clock: it is the same on a machine that has other things to do as well.
"""

import os
import subprocess

from harness.process import cpu_seconds
from harness.bench import ARGUMENTS, SCRIPT_ARGUMENTS, SCRIPT_BEGIN

TABLES = f"""
CREATE TABLE plain_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    task_token bytea NOT NULL,
    result jsonb
);
CREATE TABLE work_ours (task_token bytea, result jsonb);
CREATE TABLE work_plain (LIKE work_ours);

CREATE FUNCTION work_ours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM temporal.complete_activity(NEW.task_token, NEW.result);
    RETURN NULL;
END $$;
CREATE TRIGGER done AFTER INSERT ON work_ours FOR EACH ROW EXECUTE FUNCTION work_ours();

CREATE FUNCTION work_plain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plain_outbox (task_token, result) VALUES (NEW.task_token, NEW.result);
    RETURN NULL;
END $$;
CREATE TRIGGER done AFTER INSERT ON work_plain FOR EACH ROW EXECUTE FUNCTION work_plain();
"""


def pgbench(bench, table, clients, transactions):
    """CPU microseconds of PostgreSQL, all its processes, for a transaction that inserts a row into the table."""
    script = os.path.join(bench.work, f"{table}.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f"INSERT INTO {table} VALUES ({ARGUMENTS});\n")
    cpu = bench.cluster.cpu_seconds()
    subprocess.run([bench.cluster.program("pgbench"), "-n", "-f", script, "-M", "prepared", "-c", str(clients),
                    "-j", "1", "-t", str(transactions // clients)],
                   env=bench.cluster.environment(), capture_output=True, text=True, check=True)
    return (bench.cluster.cpu_seconds() - cpu) / transactions * 1e6


def loop(session, statement, count):
    """CPU microseconds of the backend for a statement in a loop of PL/pgSQL, in one transaction."""
    session.run("BEGIN")
    cpu = cpu_seconds(session.pid)
    session.run(f"DO $$ BEGIN FOR i IN 1..{count} LOOP {statement}; END LOOP; END $$")
    cpu = cpu_seconds(session.pid) - cpu
    session.run("ROLLBACK")
    return cpu / count * 1e6


def measure(bench):
    session = bench.sql
    session.run(TABLES)
    # a server that does not answer: the worker leaves the processors to those who are measured
    session.run("ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:9')")
    rounds = 3

    count = bench.pick(20_000, 100_000)
    ours, plain = [], []
    for _ in range(rounds + 1):
        ours.append(loop(session, f"PERFORM temporal.complete_activity({ARGUMENTS})", count))
        plain.append(loop(session, f"INSERT INTO plain_outbox (task_token, result) VALUES ({ARGUMENTS})", count))
        clear(session)
    bench.add("enqueue", f"CPU, in a loop of PL/pgSQL, {count:,} in one transaction", "us", ours, plain, "INSERT")

    for clients in (1, 16):
        transactions = bench.pick(10_000, 100_000) // clients * clients
        ours, plain, halves = [], [], []
        for _ in range(rounds):
            halves.append([pgbench(bench, "work_ours", clients, transactions // 2) for _ in range(2)])
            ours.append(sum(halves[-1]) / 2)
            plain.append(sum(pgbench(bench, "work_plain", clients, transactions // 2) for _ in range(2)) / 2)
            clear(session)
        bench.add("enqueue", f"CPU, in a trigger, {clients} clients of pgbench, {transactions:,} transactions", "us", ours,
                  plain, "INSERT", goal=("ratio", "<=", 1.2))
        bench.add("enqueue", f"the same, second half beside the first ({clients} clients)", "us",
                  [half[1] for half in halves], [half[0] for half in halves], "first half")
    measure_wal(bench)


def clear(session):
    session.run("TRUNCATE work_ours, work_plain, plain_outbox, temporal_internal.outbox; CHECKPOINT")


def measure_wal(bench):
    """WAL of a completion from its request to its outcome, each in a transaction of its own, nothing else running."""
    session = bench.sql
    cluster = bench.cluster
    transactions = 20_000
    cluster.reload(session, autovacuum="off", full_page_writes="off")
    ours, plain, ours_request = [], [], []
    for _ in range(bench.pick(1, 3)):
        # not temporal_internal.delivery: what is truncated by hand has summaries of its first pages, which each outcome changes
        clear(session)
        begin = session.value("SELECT pg_current_wal_insert_lsn()")
        call = script(bench, "ours", f"SELECT temporal.complete_activity({SCRIPT_ARGUMENTS});")
        run_script(bench, call, transactions)
        ours_request.append(float(session.value(f"SELECT pg_current_wal_insert_lsn() - '{begin}'")) / transactions)
        begin = session.value("SELECT pg_current_wal_insert_lsn()")
        session.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{bench.stub.port}')")
        bench.await_empty(session)
        ours.append(ours_request[-1] + float(session.value(f"SELECT pg_current_wal_insert_lsn() - '{begin}'")) / transactions)
        session.run("ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:9')")

        begin = session.value("SELECT pg_current_wal_insert_lsn()")
        run_script(bench, script(bench, "plain", f"INSERT INTO plain_outbox (task_token, result) VALUES ({SCRIPT_ARGUMENTS});"),
                   transactions)
        # a relay that deletes what it has sent, a thousand rows at once
        session.run("""DO $$ BEGIN
            WHILE EXISTS (SELECT FROM plain_outbox) LOOP
                DELETE FROM plain_outbox WHERE id IN (SELECT id FROM plain_outbox ORDER BY id LIMIT 1000);
                COMMIT;
            END LOOP;
        END $$""")
        plain.append(float(session.value(f"SELECT pg_current_wal_insert_lsn() - '{begin}'")) / transactions)
    cluster.reload(session, autovacuum="on", full_page_writes="on")
    session.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{bench.stub.port}')")
    bench.add("enqueue", "WAL for a completion, from request to outcome", "bytes", ours, plain,
              "INSERT + DELETE", goal=("ratio", "<=", 1.5))
    bench.add("enqueue", "of that: the request", "bytes", ours_request)


def script(bench, name, statement):
    """A script of pgbench that makes one request, for an activity of its own."""
    path = os.path.join(bench.work, f"{name}.sql")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{SCRIPT_BEGIN}\n{statement}\n")
    return path


def run_script(bench, path, transactions):
    subprocess.run([bench.cluster.program("pgbench"), "-n", "-f", path, "-M", "prepared", "-c", "4", "-j", "1", "-t",
                    str(transactions // 4)], env=bench.cluster.environment(), capture_output=True, check=True)
