"""h2load: what a client costs that does nothing but send requests of a size and read answers."""

import re
import resource
import subprocess


def h2load_cpu_seconds(bench, url, body, requests, arguments):
    """CPU seconds of h2load for so many requests with the body in that file."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([bench.programs["h2load"], "-n", str(requests), "-d", body, *arguments, url],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    succeeded = re.search(r"(\d+) succeeded", done.stdout)
    if not succeeded or int(succeeded.group(1)) != requests:
        raise RuntimeError(f"h2load: {done.stdout}")
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
