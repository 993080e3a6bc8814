"""The real Temporal with activities that wait for their completion, and River as the relay of an outbox."""

import json
import os
import subprocess
import time
import urllib.request

from .process import Child, cpu_seconds, wait_for

RESULT = '{"ok": true}'


class Temporal:
    """A Temporal server. Workflows wait for their activities; task tokens are in the table pending_activity."""

    def __init__(self, bench):
        self._bench = bench
        self._program = bench.programs["temporal_test"]
        ready = os.path.join(bench.work, "temporal.ready")
        self._server = bench.started(Child([self._program, "server", "-http-port", "-1", "-ready-file", ready],
                                           bench.log_file("temporal")))
        wait_for(lambda: os.path.exists(ready) and os.path.getsize(ready), "Temporal")
        with open(ready, encoding="utf-8") as file:
            told = json.load(file)
        self.address = told["address"]
        self._control = told["control"].removeprefix("http://")
        self._prefixes = 0

    def stop(self):
        self._bench.end(self._server)

    def start_activities(self, count, each=1):
        """Start so many activities, so many for each workflow; returns the prefix of their workflows' ids.

        Nothing runs for them afterwards.
        """
        self._prefixes += 1
        prefix = f"b{self._prefixes:03}"
        bench = self._bench
        ready = os.path.join(bench.work, f"{prefix}.ready")
        environment = bench.cluster.environment()
        worker = bench.started(Child([self._program, "worker", "-address", self.address, "-ready-file", ready],
                                     bench.log_file("temporal-worker"), env=environment))
        wait_for(lambda: os.path.exists(ready), "the workflows' worker")
        subprocess.run([self._program, "start-workflows", "-address", self.address, "-prefix", prefix, "-count",
                        str(count // each), "-activities", str(each), "-wait", "-timeout", "5m"], env=environment, stdout=subprocess.DEVNULL, check=True)
        bench.end(worker)
        bench.sql.run("ANALYZE pending_activity")
        return prefix

    def complete_directly(self, prefix, callers=64):
        """Completions a second by Temporal's Go SDK, with nothing else."""
        done = subprocess.run([self._program, "complete-directly", "-address", self.address, "-prefix", prefix + "-",
                               "-concurrency", str(callers)], env=self._bench.cluster.environment(),
                              capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        if told["failed"]:
            raise RuntimeError(f"sdk-go: {told}")
        return told["per_second"]

    def arrivals(self):
        """When the completions of the extension arrived, in microseconds since 1970, by the id of the request."""
        with urllib.request.urlopen(f"http://{self._control}/identities?prefix=postgresql:") as answer:
            told = [json.loads(line) for line in answer]
        return {int(t["identity"].split("/")[1].split("@")[0]): t["first_arrival"] for t in told}


class River:
    """The relay that River makes of a table of jobs."""

    # A job as River's own client inserts it, with its notification
    INSERT = """INSERT INTO river_job (args, kind, max_attempts, queue)
        SELECT jsonb_build_object('task_token', replace(encode({token}, 'base64'), E'\\n', ''), 'result', '{result}'::jsonb,
               'requested_at', (extract(epoch FROM clock_timestamp()) * 1e6)::bigint), 'complete_activity', 25, 'default'"""
    NOTIFY = """pg_notify('public.river_insert', '{"queue": "default"}')"""

    def __init__(self, bench, temporal):
        self._bench = bench
        self._temporal = temporal
        subprocess.run([bench.programs["river_relay"], "migrate"], env=bench.cluster.environment(), check=True)

    def relay(self):
        relay = self._bench.started(Child([self._bench.programs["river_relay"], "work", "-address",
                                           self._temporal.address], self._bench.log_file("river"),
                                          env=self._bench.cluster.environment()))
        if relay.line() != "ready":
            raise RuntimeError("River is not ready")
        return relay

    def end(self, relay):
        """Stop it; its report."""
        relay.say("stop")
        told = json.loads(relay.line())
        self._bench.end(relay)
        if told["failures"]:
            raise RuntimeError(f"River: {told['failures']} failures, such as {told['example']}")
        return told


def tokens(prefix):
    """FROM clause for the task tokens of started activities."""
    return f"FROM pending_activity WHERE workflow_id LIKE '{prefix}-%'"


def complete_by_extension(bench, prefix, count):
    """Seconds, and CPU seconds of all of PostgreSQL (requests included), for the completions of a prefix."""
    session = bench.sql
    session.run("TRUNCATE temporal_internal.delivery")
    watcher = bench.cluster.session()
    without = (watcher.pid,)
    cpu = bench.cluster.cpu_seconds(without)
    session.run("BEGIN")
    session.run(f"SELECT count(temporal.complete_activity(task_token, '{RESULT}')) {tokens(prefix)}")
    begin = time.monotonic()
    session.run("COMMIT")
    wait_for(lambda: int(watcher.value("SELECT count(*) FROM temporal_internal.delivery WHERE confirmed")) >= count,
             "deliveries", interval=0.02)
    seconds = time.monotonic() - begin
    return seconds, bench.cluster.cpu_seconds(without) - cpu


def complete_by_river(bench, river, prefix, count):
    """The same by River; the relay's CPU is counted too, but not that of its start."""
    session = bench.sql
    session.run("TRUNCATE river_job")
    relay = river.relay()
    watcher = bench.cluster.session()
    without = (watcher.pid,)
    cpu = bench.cluster.cpu_seconds(without) + cpu_seconds(relay.pid)
    session.run(river.INSERT.format(token="task_token", result=RESULT) + " " + tokens(prefix))
    begin = time.monotonic()
    relay.say("start")
    wait_for(lambda: int(watcher.value("SELECT count(*) FROM river_job WHERE state = 'completed'")) >= count,
             "River's jobs", interval=0.02)
    seconds = time.monotonic() - begin
    spent = bench.cluster.cpu_seconds(without) + cpu_seconds(relay.pid) - cpu
    river.end(relay)
    return seconds, spent
