"""drain: a large backlog to the stub: completions a second of one worker, and where its CPU time goes."""

from harness.profile import profile


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
    if shares is None:
        bench.say("drain: no split of the CPU time, because perf cannot be used here")
        return
    cost = sorted(costs)[len(costs) // 2]
    for part, share in sorted(shares.items(), key=lambda item: -item[1]):
        bench.add("drain", f"of that: {part}", "us", [share * cost])
