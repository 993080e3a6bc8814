"""Where the worker's CPU time goes: a profile by perf, told apart by the rooms of the source."""

import os
import shutil
import subprocess

from .process import Child

# Which part of the work a sample belongs to: the first match up its stack, by the beginnings of functions' names
PARTS = (
    ("wire", ("nghttp2_", "tc_http2_", "tc_channel_", "tc_connection_", "curl_", "Curl_", "SSL_")),
    ("read", ("tc_reading_turn", "read_work", "tc_outbox_read", "consume_row", "flush_wal")),
    ("record outcomes", ("tc_outbox_record", "tc_recording_turn", "record_work")),
    ("wait for events", ("tc_event_loop_wait",)),
    ("dispatch", ("tc_dispatch_turn", "tc_worker_main")),
)


def _part(stack):
    for line in stack.splitlines():
        fields = line.split(None, 1)
        name = fields[1] if len(fields) == 2 else ""
        for part, beginnings in PARTS:
            if name.startswith(beginnings):
                return part
    return "other"


def profile(bench, count):
    """Share of the worker's CPU samples by part while it drains; None if perf is not there or not allowed."""
    if not shutil.which("perf"):
        return None
    data = os.path.join(bench.work, "perf.data")
    perf = Child(["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,8192", "-o", data,
                  "-p", str(bench.cluster.worker(bench.sql))], bench.log_file("perf"))
    bench.drain(count)
    perf.stop()
    bench.tidy()
    script = subprocess.run(["perf", "script", "-i", data, "--no-inline", "-F", "ip,sym"],
                            capture_output=True, text=True, check=False)
    if script.returncode != 0 or not script.stdout.strip():
        return None
    samples = {}
    for stack in script.stdout.strip().split("\n\n"):
        part = _part(stack)
        samples[part] = samples.get(part, 0) + 1
    total = sum(samples.values())
    return {part: number / total for part, number in samples.items()}
