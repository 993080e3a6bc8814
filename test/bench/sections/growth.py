"""growth: what must not make a completion dearer: the backlog, old snapshots, other servers, other databases."""

import subprocess
import time

from harness.process import cpu_seconds, status, wait_for
from harness.bench import SCRIPT_ARGUMENTS
from sections.enqueue import script


def backlogs(bench):
    """Time of a completion by the size of the backlog, beside that of a small one."""
    small = 1_000
    sizes = bench.pick([10_000, 100_000, 300_000], [10_000, 200_000, 3_000_000],
                       [10_000, 100_000, 1_000_000, 3_000_000, 10_000_000])
    for size in sizes:
        first = []
        for _ in range(20):
            first.append(bench.drain(small)[1] / small * 1e6)
        bench.tidy()
        large = bench.drain(size)[1] / size * 1e6
        bench.tidy()
        bench.add("growth", f"CPU for a completion, backlog of {size:,}", "us", [large],
                  [sorted(first)[len(first) // 2]], "backlog of 1,000", goal=("ratio", "<=", 1.1))


def traffic(bench, seconds, rate, backlog):
    """CPU microseconds of the worker for a completion, in steady traffic and in the drain of a backlog after it."""
    worker = bench.cluster.worker(bench.sql)
    answered = bench.stub.counts()["answered"]
    cpu = cpu_seconds(worker)
    path = script(bench, "traffic", f"SELECT temporal.complete_activity({SCRIPT_ARGUMENTS});")
    subprocess.run([bench.cluster.program("pgbench"), "-n", "-f", path, "-M", "prepared", "-c", "4", "-j", "1", "-R",
                    str(rate), "-T", str(seconds)], env=bench.cluster.environment(), capture_output=True, check=True)
    bench.await_empty(bench.sql)
    count = bench.stub.counts()["answered"] - answered
    steady = (cpu_seconds(worker) - cpu) / count * 1e6
    return steady, bench.drain(backlog)[1] / backlog * 1e6


def snapshot(bench):
    """The same traffic while somebody holds a snapshot from before it, so that nothing can be vacuumed."""
    seconds = bench.pick(5, 10, 600)
    rounds = bench.pick(1, 4, 1)
    backlog = bench.pick(50_000, 200_000)
    rate = 10_000
    free, held = [], []
    for i in range(rounds):
        # who is first finds another state of caches than who is second
        for with_snapshot in ((False, True) if i % 2 == 0 else (True, False)):
            if with_snapshot:
                holder = bench.cluster.session()
                holder.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
                holder.run("SELECT count(*) FROM temporal_internal.outbox")
            (held if with_snapshot else free).append(traffic(bench, seconds, rate, backlog))
            if with_snapshot:
                holder.run("ROLLBACK")
            bench.tidy()
    # rates: ours is the one with the snapshot held
    for index, what in ((0, f"steady traffic of {seconds} s"), (1, f"drain of {backlog:,} after it")):
        bench.add("growth", f"completions for each CPU second, snapshot held: {what}", "1/s",
                  [1e6 / h[index] for h in held], [1e6 / f[index] for f in free], "no snapshot held",
                  goal=("ratio", ">=", 0.9))


def servers(bench):
    """Traffic on one of a thousand servers, each of which was used once."""
    number = bench.pick(200, 1_000)
    count = bench.pick(20_000, 100_000)
    alone, among = [], []
    for _ in range(3):
        alone.append(bench.drain(count)[1] / count * 1e6)
        bench.tidy()
    bench.sql.run(f"""DO $$ BEGIN
        FOR i IN 1..{number} LOOP
            EXECUTE format('CREATE SERVER s%s FOREIGN DATA WRAPPER temporal_complete OPTIONS (address %L)', i,
                           '127.0.0.1:{bench.stub.port}');
            EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER s%s', i);
        END LOOP; END $$""")
    bench.sql.run(f"""SELECT count(temporal.complete_activity_by_id('w', 'a', server => 's' || i))
        FROM generate_series(1, {number}) i""")
    bench.await_empty(bench.sql)
    for _ in range(3):
        among.append(bench.drain(count)[1] / count * 1e6)
        bench.tidy()
    bench.add("growth", f"CPU for a completion, one server of {number:,} busy", "us", among, alone, "one server",
              goal=("ratio", "<=", 1.1))
    bench.sql.run(f"""DO $$ BEGIN
        FOR i IN 1..{number} LOOP EXECUTE format('DROP SERVER s%s CASCADE', i); END LOOP; END $$""")


def databases(bench):
    """Many databases with the extension where nothing happens."""
    number = bench.pick(20, 200)
    seconds = bench.pick(10, 60)
    cluster = bench.new_cluster("databases", {"max_worker_processes": number + 20, "autovacuum": "off",
                                              "temporal_complete.max_workers": number + 20,
                                              "shared_buffers": "128MB", "fsync": "off"})
    session = cluster.create_database(f"127.0.0.1:{bench.stub.port}")
    session.close()
    maker = cluster.session("postgres")
    for i in range(number - 1):
        maker.run(f"CREATE DATABASE d{i} TEMPLATE bench")
    wait_for(lambda: int(maker.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'temporal_complete worker'"))
             == number, "all workers")
    time.sleep(2)
    pids = [int(row[0]) for row in maker.run(
        "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'temporal_complete%'")]
    cpu = sum(cpu_seconds(pid) for pid in pids)
    wakes = sum(status(pid, "voluntary_ctxt_switches")[0] for pid in pids)
    time.sleep(seconds)
    cpu = sum(cpu_seconds(pid) for pid in pids) - cpu
    wakes = sum(status(pid, "voluntary_ctxt_switches")[0] for pid in pids) - wakes
    own = [status(pid, "RssAnon")[0] / 1024 for pid in pids]
    bench.add("growth", f"{number} idle databases: CPU of all workers in a minute", "ms", [cpu * 60 / seconds * 1000])
    bench.add("growth", f"{number} idle databases: wake-ups of all workers in a minute", "", [wakes * 60 / seconds])
    bench.add("growth", f"{number} idle databases: memory of a worker (RssAnon)", "MB", [sum(own) / len(own)])
    bench.end(cluster)


def measure(bench):
    backlogs(bench)
    snapshot(bench)
    servers(bench)
    databases(bench)
