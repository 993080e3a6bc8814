"""latency: from the request, just before its COMMIT, to its arrival at the frontend of the real server.

Ours ends when the frontend's interceptor sees the call. River's ends a little earlier, when its worker calls the SDK:
the SDK has no identity for each call by which arrivals could be told apart.
"""

from harness.process import wait_for
from harness.temporal import RESULT, tokens
from sections import real_server

LOOP = """DO $$
DECLARE
    token bytea;
BEGIN
    FOR token IN SELECT task_token {tokens} LOOP
        {request};
        COMMIT;
        PERFORM pg_sleep({pause});
    END LOOP;
END $$"""


def percentile(samples, share):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ours(bench, prefix, count, pause):
    """Milliseconds of each completion."""
    session = bench.sql
    session.run("TRUNCATE temporal_internal.delivery")
    session.run(LOOP.format(tokens=tokens(prefix), pause=pause,
                            request=f"PERFORM temporal.complete_activity(token, '{RESULT}')"))
    wait_for(lambda: int(session.value("SELECT count(*) FROM temporal_internal.delivery")) >= count, "deliveries", interval=0.05)
    arrived = bench.temporal.arrivals()
    requested = session.run("SELECT id, (extract(epoch FROM requested_at) * 1e6)::bigint FROM temporal_internal.delivery")
    return [(arrived[int(id)] - int(at)) / 1000 for id, at in requested]


def rivers(bench, prefix, count, pause):
    session = bench.sql
    session.run("TRUNCATE river_job")
    relay = bench.river.relay()
    relay.say("start")
    wait_for(lambda: session.value("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query ILIKE 'LISTEN%')") == "t",
             "River to listen")
    session.run(LOOP.format(tokens=tokens(prefix), pause=pause,
                            request=bench.river.INSERT.format(token="token", result=RESULT) +
                            "; PERFORM " + bench.river.NOTIFY))
    wait_for(lambda: int(session.value("SELECT count(*) FROM river_job WHERE state = 'completed'")) >= count,
             "River's jobs", interval=0.05)
    return [latency / 1000 for latency in bench.river.end(relay)["latency"]]


def measure(bench):
    real_server.begin(bench)
    rate = getattr(bench, "measured_rate", 800)
    loads = [
        ("idle", bench.pick(60, 300), "0.01 + random() * 0.02"),
        ("50 % load", bench.pick(150, 1_000), f"-ln(1 - random()) / {rate * 0.5}"),
        ("saturation", bench.pick(150, 1_000), f"-ln(1 - random()) / {rate}"),
    ]
    for load, count, pause in loads:
        prefixes = [bench.temporal.start_activities(count, each=10) for _ in range(2)]
        mine = ours(bench, prefixes[0], count, pause)
        theirs = rivers(bench, prefixes[1], count, pause)
        for name, share, goal in (("p50", 0.5, 1), ("p99", 0.99, 5), ("p99.9", 0.999, None)):
            bench.add("latency", f"commit to frontend, {load}, {name}", "ms", [percentile(mine, share)],
                      [percentile(theirs, share)], "River",
                      goal=("ours", "<=", goal) if goal and load == "idle" else None)


def end(bench):
    """Stop the Temporal server; later sections use the stub again."""
    if hasattr(bench, "temporal"):
        bench.sql.run(f"ALTER SERVER temporal OPTIONS (SET address '127.0.0.1:{bench.stub.port}')")
        bench.temporal.stop()
        del bench.temporal
