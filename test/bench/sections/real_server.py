"""real server: completions a second and CPU time outside Temporal, beside sdk-go alone and beside River."""

from harness.temporal import River, Temporal, complete_by_extension, complete_by_river


def begin(bench):
    """The Temporal server and River, shared with the section latency."""
    if not hasattr(bench, "temporal"):
        bench.temporal = Temporal(bench)
        bench.river = River(bench, bench.temporal)
        bench.sql.run(f"ALTER SERVER temporal OPTIONS (SET address '{bench.temporal.address}')")


def measure(bench):
    begin(bench)
    count = bench.pick(200, 500)
    by = {"ours": [], "sdk": [], "river": []}
    cpu = {"ours": [], "river": []}
    peers = ["ours", "sdk", "river"]
    complete_by_extension(bench, bench.temporal.start_activities(50), 50)   # connects
    for turn in range(bench.pick(3, 6)):
        prefixes = {peer: bench.temporal.start_activities(count) for peer in peers}
        # Temporal slows down as its database grows: everybody is first in turn
        for peer in peers[turn % 3:] + peers[:turn % 3]:
            if peer == "sdk":
                by[peer].append(bench.temporal.complete_directly(prefixes[peer]))
                continue
            if peer == "ours":
                seconds, spent = complete_by_extension(bench, prefixes[peer], count)
            else:
                seconds, spent = complete_by_river(bench, bench.river, prefixes[peer], count)
            by[peer].append(count / seconds)
            cpu[peer].append(count / spent)
    bench.measured_rate = sorted(by["ours"])[len(by["ours"]) // 2]
    bench.add("real server", f"completions, {count:,} at once", "1/s", by["ours"], by["sdk"], "sdk-go alone",
              goal=("ratio", ">=", 0.95))
    bench.add("real server", "completions", "1/s", by["ours"], by["river"], "River")
    bench.add("real server", "completions for each CPU second outside Temporal", "1/s", cpu["ours"], cpu["river"],
              "River", goal=("ratio", ">=", 2))
