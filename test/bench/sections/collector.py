"""collector: delivery while all queries of monitoring/sql_exporter.yml are run every 5 seconds, beside without."""

import os
import re
import threading

from harness.process import cpu_seconds

QUERIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "monitoring", "sql_exporter.yml")
EVERY = 5


def queries():
    """The texts of the queries, as they stand behind "query: |"."""
    with open(QUERIES, encoding="utf-8") as file:
        blocks = re.findall(r"^( *)query: \|\n((?:\1 +.*\n|\n)+)", file.read(), re.MULTILINE)
    return [text for _, text in blocks]


class Collector:
    """Asks all of them in a session of its own, as a role that may monitor and nothing else."""

    def __init__(self, bench, texts):
        self._texts = texts
        self.session = bench.cluster.session()
        self.session.run("SET ROLE monitor")
        self.rounds = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._collect)

    def _collect(self):
        while True:
            for text in self._texts:
                self.session.run(text)
            self.rounds += 1
            if self._end.wait(EVERY):
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def deliver(bench, count, times):
    """Completions a second, and for each second of the worker's CPU."""
    seconds, cpu = 0, 0
    for _ in range(times):
        done = bench.drain(count)
        seconds, cpu = seconds + done[0], cpu + done[1]
    return times * count / seconds, times * count / cpu


def measure(bench):
    count, times = bench.pick(100_000, 500_000), bench.pick(3, 4)
    texts = queries()
    if not texts:
        raise RuntimeError(f"no queries in {QUERIES}")
    bench.sql.run("CREATE ROLE monitor; GRANT pg_monitor TO monitor")
    bench.sql.run("SELECT temporal.complete_activity_by_id('workflow', 'activity')")
    bench.await_empty(bench.sql)
    plain, collected, costs = [], [], []
    # by turns, and who is first by turns, too
    for turn in range(bench.pick(2, 4)):
        for with_collector in (turn % 2 == 0, turn % 2 != 0):
            bench.tidy()
            if not with_collector:
                plain.append(deliver(bench, count, times))
                continue
            with Collector(bench, texts) as collector:
                collected.append(deliver(bench, count, times))
            costs.append(cpu_seconds(collector.session.pid) / collector.rounds * 1e3)
    name = f"backlogs of {count:,}, with a collector every {EVERY} s"
    bench.add("collector", f"completions, {name}", "1/s", [row[0] for row in collected], [row[0] for row in plain], "without")
    bench.add("collector", "the same for each second of the worker's CPU", "1/s", [row[1] for row in collected],
              [row[1] for row in plain], "without", goal=("ratio", ">=", 0.98))
    bench.add("collector", "CPU to collect once", "ms", costs)
    bench.tidy()
