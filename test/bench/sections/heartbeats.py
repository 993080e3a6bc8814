"""heartbeats: of recorded activities, sent to the stub: how evenly, and what the worker takes for them; and requested by
sessions: what they leave behind."""

import os
import time

from harness.process import Stub, cpu_seconds, status, wait_for

INTERVAL = 10

# The heartbeat timeout of an activity that is heartbeaten so often: it must not be reached
TIMEOUT = INTERVAL / 0.8


def _record(session, count, **more):
    arguments = ", ".join(f"{name} => {value}" for name, value in more.items())
    session.run(f"""SELECT count(temporal.record_activity_by_id('key ' || i, 'order-' || i, 'approval', {arguments}))
        FROM generate_series(1, {count}) i""")


def _forget(bench, session):
    session.run("TRUNCATE temporal_internal.recorded_activity")
    bench.await_empty(session)


def silent(bench, session, worker):
    """Recorded without heartbeats."""
    count = bench.pick(100_000, 1_000_000)
    before = status(worker, "RssAnon")[0]
    _record(session, count, heartbeat="false")
    time.sleep(2)
    seconds = bench.pick(10, 30)
    cpu = cpu_seconds(worker)
    time.sleep(seconds)
    bench.add("heartbeats", f"{count:,} recorded without: CPU of the worker in a minute", "ms",
              [(cpu_seconds(worker) - cpu) * 60000 / seconds])
    bench.add("heartbeats", f"{count:,} recorded without: more memory of the worker", "MB",
              [(status(worker, "RssAnon")[0] - before) / 1024])
    _forget(bench, session)


def gaps(path, begin, count):
    """The longest time in seconds from one heartbeat of each activity to its next one or the end, from a place in the file on."""
    last, longest, ms = {}, {}, 0
    with open(path, encoding="ascii") as file:
        file.seek(begin)
        for line in file:
            ms, _, beat = line.split()
            ms = int(ms)
            if beat in last:
                longest[beat] = max(longest.get(beat, 0), ms - last[beat])
            last[beat] = ms
    if len(last) != count:
        raise RuntimeError(f"{len(last)} of {count} activities had heartbeats")
    return [max(longest.get(beat, 0), ms - at) / 1000 for beat, at in last.items()]


def beating(bench, session, worker):
    """Each every 10 seconds, to a stub that writes down each."""
    count = bench.pick(20_000, 100_000)
    name = f"{count:,} every {INTERVAL} s"
    calls = os.path.join(bench.work, "heartbeats")
    stub = bench.started(Stub(bench.programs, bench.log_file("stub_heartbeats"), "--calls", calls))
    session.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{stub.port}')")
    before = status(worker, "RssAnon")[0]
    _record(session, count, heartbeat="true", heartbeat_interval=f"'{INTERVAL} s'")
    # until all have begun, and are spread
    wait_for(lambda: stub.counts()["answered"] >= 2 * count, "heartbeats", 120, 0.5)
    time.sleep(INTERVAL)
    # each is written as a whole line
    rates, cpus, first = [], [], os.path.getsize(calls)
    for _ in range(bench.pick(15, 60, 300)):
        answered, cpu, begin = stub.counts()["answered"], cpu_seconds(worker), time.monotonic()
        time.sleep(1)
        seconds = time.monotonic() - begin
        rates.append((stub.counts()["answered"] - answered) / seconds)
        cpus.append((cpu_seconds(worker) - cpu) / seconds * 100)
    anonymous, file = status(worker, "RssAnon", "RssFile")
    longest = gaps(calls, first, count)
    bench.add("heartbeats", f"{name}: heartbeats in a second", "1/s", rates)
    bench.add("heartbeats", f"{name}: the same, mean of all seconds", "1/s", [sum(rates) / len(rates)],
              goal=("ours", ">=", count / INTERVAL * 0.98))
    bench.add("heartbeats", f"{name}: longest time between two of one activity", "s", longest)
    bench.add("heartbeats", f"{name}: the same, of all activities", "s", [max(longest)], goal=("ours", "<=", TIMEOUT))
    bench.add("heartbeats", f"{name}: CPU of the worker", "% of a core", cpus, goal=("ours", "<=", 50))
    bench.add("heartbeats", f"{name}: memory of the worker", "MB", [(anonymous + file) / 1024], goal=("ours", "<=", 60))
    bench.add("heartbeats", f"{name}: memory for each", "bytes", [(anonymous - before) * 1024 / count])
    _forget(bench, session)
    session.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{bench.stub.port}')")
    bench.end(stub)
    bench.answered = bench.stub.counts()["answered"]


def requested(bench):
    """By a session, one after the other for each of 1,000 activities: what is written for each, and what is kept."""
    rounds = bench.pick(100, 1000)
    cluster = bench.new_cluster("heartbeats", {"max_wal_size": "20GB"})
    session = cluster.create_database(f"127.0.0.1:{bench.stub.port}")
    worker = cluster.worker(session)
    lsn, cpu = session.value("SELECT pg_current_wal_insert_lsn()"), cpu_seconds(worker)
    for i in range(rounds):
        session.run(f"""SELECT count(temporal.heartbeat_activity_by_id('order-' || i, 'approval', '{i}'))
            FROM generate_series(1, 1000) i""")
        bench.await_empty(session)
    name = f"{rounds:,} requested for each of 1,000 activities"
    count = rounds * 1000
    bench.add("heartbeats", f"{name}: CPU of the worker for each", "us", [(cpu_seconds(worker) - cpu) / count * 1e6])
    bench.add("heartbeats", f"{name}: WAL for each, request and outcome", "bytes",
              [float(session.value(f"SELECT pg_current_wal_insert_lsn() - '{lsn}'")) / count])
    bench.add("heartbeats", f"{name}: what is kept of them", "MB",
              [float(session.value("""SELECT sum(pg_total_relation_size(oid)) FROM pg_class
                  WHERE relkind = 'r' AND relname ~ '^(delivery_.|last_heartbeat)$'""")) / 1e6])
    bench.end(cluster)


def measure(bench):
    requested(bench)
    session = bench.sql
    session.run("SELECT temporal.complete_activity_by_id('workflow', 'activity')")
    bench.await_empty(session)
    worker = bench.cluster.worker(session)
    bench.answered = bench.stub.counts()["answered"]
    silent(bench, session, worker)
    bench.answered = bench.stub.counts()["answered"]
    beating(bench, session, worker)
