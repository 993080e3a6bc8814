#!/usr/bin/env python3
"""Measure the extension and the peers beside it. Started by the script "run", which builds what is needed.

usage: bench.py WORK_DIRECTORY STAGED_SETTINGS BINDIR PROGRAMS RESULTS [SECTION...]
"""

import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from harness.bench import Bench, load_programs
from harness.figures import table, write_json
from sections import collector, drain, enqueue, growth, heartbeats, http, idle, keys, latency, lookups, real_server, wire

SECTIONS = {
    "wire": wire, "http": http, "drain": drain, "real_server": real_server, "latency": latency, "enqueue": enqueue, "keys": keys,
    "collector": collector,
    "growth": growth, "heartbeats": heartbeats, "idle": idle, "lookups": lookups,
}


def main(work, staged, bindir, programs, results, *names):
    unknown = set(names) - set(SECTIONS)
    if unknown:
        sys.exit(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    scale = "quick" if os.environ.get("QUICK") else "full" if os.environ.get("FULL") else "usual"
    # so that what was started is ended
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench(work, load_programs(programs), staged, bindir, scale)
    try:
        for name in SECTIONS:
            if not names or name in names:
                if name not in ("real_server", "latency"):
                    latency.end(bench)
                bench.say(name)
                SECTIONS[name].measure(bench)
    finally:
        bench.stop()
        print(table(bench.figures))
        write_json(bench.figures, results)
    missed = sum(figure.met() is False for figure in bench.figures)
    bench.say(f"done; {missed} goals missed" if missed else "done; all goals met")


if __name__ == "__main__":
    main(*sys.argv[1:])
