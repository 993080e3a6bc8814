"""What all sections share: programs, the cluster, the stub, and how much is measured."""

import json
import os
import sys
import time

from .cluster import Cluster
from .figures import Figure
from .process import Stub, cpu_seconds, wait_for

# What a completion carries: an object of some fields, about 100 bytes
RESULT = '{"approved": true, "by": "somebody", "amount": 12345.67, "note": "as long as people write notes"}'

# The encoded task token of an activity of a workflow, as long as real ones
_BEFORE = "0a24" + b"32049b68-7872-4094-8e63-d0dd59896a83".hex() + "120d"
_AFTER = "1a24" + b"0190a3c2-7c1e-7b52-9d4f-1f6a2b3c4d5e".hex() + "2005" + "2801" + "3201" + b"5".hex()
TASK_TOKEN = bytes.fromhex(_BEFORE + b"order-1234567".hex() + _AFTER)

# The arguments of a completion; in a script of pgbench, of a different activity each time: what is about one is
# sent one after the other
ARGUMENTS = rf"'\x{TASK_TOKEN.hex()}', '{RESULT}'"
SCRIPT_ARGUMENTS = (rf"'\x{_BEFORE}'::bytea || convert_to('order-' || (:i)::text, 'UTF8') || '\x{_AFTER}'::bytea, "
                    f"'{RESULT}'")
SCRIPT_BEGIN = r"\set i random(1000000, 9999999)"


class Bench:
    def __init__(self, work, programs, staged, bindir, scale):
        self.work = work
        self.programs = programs
        self.scale = scale          # "quick", "usual" or "full"
        self.figures = []
        self._staged = staged
        self._bindir = bindir
        self._started = time.monotonic()
        self._running = []          # what stop() ends, in the order of starting
        self.stub = self.started(Stub(programs, self.log_file("stub")))
        self.cluster = self.new_cluster("main")
        self.sql = self.cluster.create_database(f"127.0.0.1:{self.stub.port}")
        self.answered = 0           # by the stub, to our worker and to others

    def pick(self, quick, usual, full=None):
        """A number by how much is to be measured."""
        return {"quick": quick, "usual": usual, "full": usual if full is None else full}[self.scale]

    def say(self, text):
        print(f"{time.monotonic() - self._started:6.0f} s  {text}", file=sys.stderr, flush=True)

    def add(self, *arguments, **named):
        self.figures.append(Figure(*arguments, **named))

    def log_file(self, name):
        return os.path.join(self.work, f"{name}.log")

    def started(self, thing):
        self._running.append(thing)
        return thing

    def new_cluster(self, name, settings=None):
        return self.started(Cluster(self.work, name, self._staged, self._bindir, settings))

    def end(self, thing):
        self._running.remove(thing)
        thing.stop()

    def stop(self):
        for thing in reversed(self._running):
            thing.stop()

    # ---- requests to the stub ----

    def enqueue(self, session, count, server=None):
        """Record so many completions of different activities, within the open transaction."""
        session.run(f"""SELECT count(temporal.complete_activity_by_id('order-' || i, 'approval', '{RESULT}'{
            f", server => '{server}'" if server else ''})) FROM generate_series(1, {count}) i""")

    def await_empty(self, session, timeout=300.0):
        """Wait until all outcomes are recorded."""
        wait_for(lambda: session.value("SELECT EXISTS (SELECT FROM temporal_internal.outbox)") == "f",
                 "the outbox to be empty", timeout)

    def drain(self, count, session=None, server=None):
        """Commit so many completions at once; the worker's seconds and CPU seconds until all are answered and recorded."""
        session = session or self.sql
        worker = self.cluster.worker(session)
        answered = self.stub.counts()["answered"]
        session.run("BEGIN")
        self.enqueue(session, count, server)
        cpu = cpu_seconds(worker)
        begin = time.monotonic()
        session.run("COMMIT")
        self.stub.await_answers(answered + count)
        seconds = time.monotonic() - begin
        self.await_empty(session)
        return seconds, cpu_seconds(worker) - cpu

    def tidy(self, session=None):
        """Forget what was delivered, so that one measure does not burden the next."""
        (session or self.sql).run("""TRUNCATE temporal_internal.delivery;
            VACUUM temporal_internal.outbox;
            CHECKPOINT""")


def load_programs(text):
    """Programs by name, as the script that builds them passes them."""
    return json.loads(text)
