"""heartbeats: of recorded activities, sent to the stub: how evenly, and what the worker takes for them."""

import time

from harness.process import cpu_seconds, status, wait_for

INTERVAL = 10


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


def beating(bench, session, worker):
    """Each every 10 seconds."""
    count = bench.pick(20_000, 100_000)
    name = f"{count:,} every {INTERVAL} s"
    before = status(worker, "RssAnon")[0]
    _record(session, count, heartbeat="true", heartbeat_interval=f"'{INTERVAL} s'")
    # until all have begun, and are spread
    wait_for(lambda: bench.stub.counts()["answered"] - bench.answered >= 2 * count, "heartbeats", 120, 0.5)
    time.sleep(INTERVAL)
    rates, cpus = [], []
    for _ in range(bench.pick(10, 60, 300)):
        answered, cpu, begin = bench.stub.counts()["answered"], cpu_seconds(worker), time.monotonic()
        time.sleep(1)
        seconds = time.monotonic() - begin
        rates.append((bench.stub.counts()["answered"] - answered) / seconds)
        cpus.append((cpu_seconds(worker) - cpu) / seconds * 100)
    anonymous, file = status(worker, "RssAnon", "RssFile")
    bench.add("heartbeats", f"{name}: heartbeats in a second", "1/s", rates)
    bench.add("heartbeats", f"{name}: the same, mean of all seconds", "1/s", [sum(rates) / len(rates)],
              goal=("ours", ">=", count / INTERVAL * 0.98))
    bench.add("heartbeats", f"{name}: CPU of the worker", "% of a core", cpus, goal=("ours", "<=", 50))
    bench.add("heartbeats", f"{name}: memory of the worker", "MB", [(anonymous + file) / 1024], goal=("ours", "<=", 60))
    bench.add("heartbeats", f"{name}: memory for each", "bytes", [(anonymous - before) * 1024 / count])
    _forget(bench, session)
    bench.answered = bench.stub.counts()["answered"]


def measure(bench):
    session = bench.sql
    session.run("SELECT temporal.complete_activity_by_id('workflow', 'activity')")
    bench.await_empty(session)
    worker = bench.cluster.worker(session)
    bench.answered = bench.stub.counts()["answered"]
    silent(bench, session, worker)
    bench.answered = bench.stub.counts()["answered"]
    beating(bench, session, worker)
