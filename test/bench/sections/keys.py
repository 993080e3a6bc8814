"""keys: a completion by key beside one by task token, and a ready-made trigger beside one in PL/pgSQL.

CPU time of all processes of PostgreSQL, not time by the clock. The keys are recorded before; what is counted lasts from
the requests to their outcomes, when the keys are forgotten, too.
"""

import os
import subprocess

from harness.bench import ARGUMENTS, RESULT, TASK_TOKEN

CLIENTS = 4

# The token of another activity for each number
_PLACE = TASK_TOKEN.index(b"order-1234567") + len("order-") + 1
TOKEN = rf"overlay('\x{TASK_TOKEN.hex()}'::bytea PLACING convert_to(lpad(({{0}})::text, 7, '0'), 'UTF8') FROM {_PLACE})"
NUMBER = ":client_id * 1000000 + :n"

TABLES = """
CREATE TABLE plain_row (task_token bytea, result jsonb);
CREATE TABLE ready_made (LIKE plain_row);
CREATE TABLE by_hand (LIKE plain_row);
CREATE TRIGGER done AFTER INSERT ON ready_made FOR EACH ROW
    EXECUTE FUNCTION temporal.complete_activity_trigger('token_column=task_token', 'result_column=result');

CREATE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM temporal.complete_activity(NEW.task_token, NEW.result);
    RETURN NULL;
END $$;
CREATE TRIGGER done AFTER INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION by_hand();
"""


def pgbench(bench, name, statement, transactions):
    """CPU microseconds of PostgreSQL for a transaction; :n counts each client's."""
    path = os.path.join(bench.work, f"keys_{name}.sql")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"\\set n :n + 1\n{statement};\n")
    cpu = bench.cluster.cpu_seconds()
    subprocess.run([bench.cluster.program("pgbench"), "-n", "-f", path, "-M", "prepared", "-D", "n=0", "-c", str(CLIENTS),
                    "-j", "1", "-t", str(transactions // CLIENTS)],
                   env=bench.cluster.environment(), capture_output=True, text=True, check=True)
    return (bench.cluster.cpu_seconds() - cpu) / transactions * 1e6


class Usage:
    """CPU time and WAL of all that happens within."""

    def __init__(self, bench):
        self._bench = bench

    def __enter__(self):
        self._lsn = self._bench.sql.value("SELECT pg_current_wal_insert_lsn()")
        self._cpu = self._bench.cluster.cpu_seconds()
        return self

    def __exit__(self, *_):
        self.cpu = self._bench.cluster.cpu_seconds() - self._cpu
        self.wal = float(self._bench.sql.value(f"SELECT pg_current_wal_insert_lsn() - '{self._lsn}'"))


def connect(bench, there):
    bench.sql.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{bench.stub.port if there else 9}')")


def complete(bench, name, statement, transactions):
    """What transactions that make a completion each cost, and what that costs until it has its outcome."""
    with Usage(bench) as request:
        pgbench(bench, name, statement, transactions)
    with Usage(bench) as rest:
        connect(bench, True)
        bench.await_empty(bench.sql)
    connect(bench, False)
    return ((request.cpu + rest.cpu) / transactions * 1e6, (request.wal + rest.wal) / transactions,
            request.cpu / transactions * 1e6)


def clear(session):
    session.run("""TRUNCATE plain_row, ready_made, by_hand, temporal_internal.outbox, temporal_internal.recorded_activity;
        CHECKPOINT""")


def measure(bench):
    session = bench.sql
    session.run(TABLES)
    connect(bench, False)
    bench.cluster.reload(session, autovacuum="off", full_page_writes="off")
    measure_keys(bench)
    measure_triggers(bench)
    bench.cluster.reload(session, autovacuum="on", full_page_writes="on")
    connect(bench, True)


def measure_keys(bench):
    transactions = bench.pick(10_000, 40_000)
    by_key, by_token, records = [], [], []
    for _ in range(3):
        clear(bench.sql)
        with Usage(bench) as recording:
            bench.sql.run(f"""SELECT count(temporal.record_activity('order-' || i, {TOKEN.format('i')}))
                FROM generate_series(0, {CLIENTS - 1}) AS client,
                     LATERAL generate_series(client * 1000000 + 1, client * 1000000 + {transactions // CLIENTS}) AS i""")
        records.append((recording.cpu / transactions * 1e6, recording.wal / transactions))
        by_key.append(complete(bench, "key", f"SELECT temporal.complete_activity_by_key('order-' || ({NUMBER})::text, '{RESULT}')",
                               transactions))
        clear(bench.sql)
        by_token.append(complete(bench, "token", f"SELECT temporal.complete_activity({TOKEN.format(NUMBER)}, '{RESULT}')",
                                 transactions))
    for what, unit, column in ("CPU for a completion by key, from request to outcome", "us", 0), (
            "WAL for it, from request to outcome", "bytes", 1), ("CPU for its request", "us", 2):
        bench.add("keys", what, unit, [row[column] for row in by_key], [row[column] for row in by_token], "by task token",
                  goal=("ratio", "<=", 1.5))
    bench.add("keys", f"CPU to record a key, {transactions:,} in one transaction", "us", [row[0] for row in records])
    bench.add("keys", "WAL to record a key", "bytes", [row[1] for row in records])


def measure_triggers(bench):
    transactions = bench.pick(20_000, 100_000)
    costs = {"ready_made": [], "by_hand": [], "plain_row": []}
    for _ in range(3):
        for table, samples in costs.items():
            samples.append(pgbench(bench, table, f"INSERT INTO {table} VALUES ({ARGUMENTS})", transactions))
        clear(bench.sql)
    for table, reference in ("by_hand", "PL/pgSQL"), ("plain_row", "no trigger"):
        bench.add("keys", f"CPU, ready-made trigger, {transactions:,} transactions", "us", costs["ready_made"], costs[table],
                  reference, goal=("ratio", "<=", 1) if table == "by_hand" else None)
