"""idle: what the extension does in a database where nothing happens; its memory when a backlog cannot leave."""

import time

from harness.process import cpu_seconds, status, wait_for

TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{}'"


POLL_SECONDS = 5


def rest(bench):
    """A cluster of its own, which delivered something and then has nothing to do."""
    seconds = bench.pick(15, 60)
    cluster = bench.new_cluster("idle", {"autovacuum": "off", "shared_buffers": "128MB", "fsync": "off",
                                         "temporal_complete.safety_poll_interval": f"{POLL_SECONDS}s"})
    session = cluster.create_database(f"127.0.0.1:{bench.stub.port}")
    session.run("SELECT temporal.complete_activity_by_id('workflow', 'activity')")
    bench.await_empty(session)
    watcher = cluster.session("postgres")
    pids = cluster.worker(session), cluster.launcher(session)
    # until the idle connection is closed; the poll after the last transaction looks at the queues once
    time.sleep(bench.pick(2 * POLL_SECONDS + 2, 125))

    def look():
        watcher.run("SELECT pg_stat_clear_snapshot()")
        return (int(watcher.value(TRANSACTIONS.format("bench"))),
                sum(status(pid, "voluntary_ctxt_switches")[0] for pid in pids), sum(cpu_seconds(pid) for pid in pids))

    before = look()
    time.sleep(seconds)
    after = look()
    bench.end(cluster)
    transactions, wakes, cpu = ((b - a) * 60 / seconds for a, b in zip(before, after))
    bench.add("idle", "transactions in a minute", "", [transactions], goal=("ours", "<=", 0))
    bench.add("idle", "wake-ups of worker and launcher in a minute, without those of the safety poll", "",
              [max(0.0, wakes - (seconds / POLL_SECONDS + 1) * 60 / seconds)], goal=("ours", "<=", 0))
    bench.add("idle", f"CPU of worker and launcher in a minute, with a safety poll every {POLL_SECONDS} s", "ms",
              [cpu * 1000])


def backlog(bench):
    """A backlog while the server is down."""
    count = bench.pick(200_000, 1_000_000)
    session = bench.sql
    session.run("ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:9')")
    # a worker of which nothing else was asked
    former = bench.cluster.worker(session)
    session.run(f"SELECT pg_terminate_backend({former}, 60000)")
    worker = bench.cluster.worker(session)
    session.run("BEGIN")
    bench.enqueue(session, count)
    session.run("COMMIT")
    wait_for(lambda: session.value("SELECT EXISTS (SELECT FROM temporal_internal.queue_error)") == "t", "the worker to notice")
    time.sleep(2)
    anonymous, file = status(worker, "RssAnon", "RssFile")
    bench.add("idle", f"memory of the worker, {count:,} wait for a server that is down", "MB",
              [(anonymous + file) / 1024], goal=("ours", "<=", 50))
    bench.add("idle", "of that: its own (RssAnon)", "MB", [anonymous / 1024])
    looks = []
    for _ in range(20):
        begin = time.perf_counter()
        rows = session.run("SELECT server, state, error_code, requests FROM temporal.stat_backlog")
        looks.append((time.perf_counter() - begin) * 1000)
    if not rows:
        raise RuntimeError("temporal.stat_backlog does not know what waits")
    bench.add("idle", "what of that waits, by server, state and code", "ms", looks, goal=("ours", "<=", 10))
    session.run("TRUNCATE temporal_internal.outbox")
    session.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{bench.stub.port}')")


def measure(bench):
    rest(bench)
    backlog(bench)
