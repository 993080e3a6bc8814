"""wire: CPU of the worker for a completion, beside h2load's for a request of the same size to the same stub."""

import os

from harness.h2load import h2load_cpu_seconds
from harness.profile import profile

PATH = "/temporal.api.workflowservice.v1.WorkflowService/RespondActivityTaskCompletedById"


def h2load(bench, requests, body):
    """CPU seconds for so many requests, over one connection, as many at once as our worker has."""
    return h2load_cpu_seconds(bench, f"http://127.0.0.1:{bench.stub.port}{PATH}", body, requests,
                              ["-c", "1", "-m", "500", "-H", "content-type: application/grpc", "-H", "te: trailers"])


def measure(bench):
    count = bench.pick(50_000, 200_000)
    bench.drain(5_000)      # connects, fills caches
    counts = bench.stub.counts()
    bench.drain(1_000)
    size = (bench.stub.counts()["bytes"] - counts["bytes"]) // 1_000
    body = os.path.join(bench.work, "body")
    with open(body, "wb") as file:
        file.write(b"\0" + size.to_bytes(4, "big") + bytes(size))

    ours, theirs = [], []
    for _ in range(bench.pick(3, 5)):
        ours.append(bench.drain(count)[1] / count * 1e6)
        theirs.append(h2load(bench, count, body) / count * 1e6)
        bench.tidy()
    shares = profile(bench, count)
    if shares is None:
        bench.say("wire: perf cannot be used here, so the wire cannot be told from the rest of the worker")
    else:
        bench.add("wire", f"CPU of the wire for a completion of {size} bytes", "us",
                  [shares["wire"] * cost for cost in ours], theirs, "h2load, a request", goal=("ratio", "<=", 1.5))
    bench.add("wire", "CPU of the worker for a completion, database and all", "us", ours, theirs, "h2load, a request")
