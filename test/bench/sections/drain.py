"""drain: a large backlog to the stub: completions a second of one worker, and where its CPU time goes."""

import os
import shutil
import subprocess

from harness.process import Child

# Which part of the work a sample of the profile belongs to: by the first of these functions up its stack
PARTS = {
    "read_work": "read", "consume_row": "read", "tc_outbox_read": "read",
    "record": "record outcomes", "record_work": "record outcomes", "tc_outbox_record": "record outcomes",
    "tc_channel_call": "frame and send", "tc_channel_flush": "frame and send", "send_request": "frame and send",
    "tc_event_loop_wait": "receive", "process_answers": "answers", "tc_dispatch_turn": "dispatch",
}


def profile(bench, count):
    """Share of the worker's CPU samples by part, or None if perf is not there or not allowed."""
    if not shutil.which("perf"):
        return None
    data = os.path.join(bench.work, "perf.data")
    perf = Child(["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,4096", "-o", data,
                  "-p", str(bench.cluster.worker(bench.sql))], bench.log_file("perf"))
    bench.drain(count)
    perf.stop()
    script = subprocess.run(["perf", "script", "-i", data, "--no-inline", "-F", "ip,sym"],
                            capture_output=True, text=True, check=False)
    if script.returncode != 0 or not script.stdout.strip():
        return None
    samples = {}
    for stack in script.stdout.strip().split("\n\n"):
        functions = [line.split(None, 1)[1].split("+")[0] if " " in line.strip() else "" for line in stack.splitlines()]
        part = next((PARTS[name] for name in functions if name in PARTS), "other")
        samples[part] = samples.get(part, 0) + 1
    total = sum(samples.values())
    return {part: number / total for part, number in samples.items()}


def measure(bench):
    count = bench.pick(100_000, 1_000_000)
    rates, costs = [], []
    for _ in range(bench.pick(2, 3)):
        seconds, cpu = bench.drain(count)
        rates.append(count / seconds)
        costs.append(cpu / count * 1e6)
        bench.tidy()
    bench.add("drain", f"backlog of {count:,} to the stub, one worker", "1/s", rates, goal=("ours", ">=", 50_000))
    bench.add("drain", "the same for each second of the worker's CPU", "1/s", [1e6 / cost for cost in costs])
    bench.add("drain", "CPU for a completion", "us", costs)
    shares = profile(bench, bench.pick(100_000, 300_000))
    bench.tidy()
    if shares is None:
        bench.say("drain: no split of the CPU time, because perf cannot be used here")
        return
    cost = sorted(costs)[len(costs) // 2]
    for part, share in sorted(shares.items(), key=lambda item: -item[1]):
        bench.add("drain", f"of that: {part}", "us", [share * cost])
