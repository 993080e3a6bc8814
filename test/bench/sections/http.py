"""http: CPU of the worker for a completion over HTTP/1.1, beside h2load's for a request of the same size to the same nginx."""

import os
import shutil
import socket
import subprocess

from harness.h2load import h2load_cpu_seconds
from harness.process import cpu_seconds, wait_for

CONFIGURATION = """
daemon off;
master_process off;
pid {work}/nginx.pid;
error_log {work}/nginx.error;
events {{ worker_connections 1024; }}
http {{
    log_format size '$request_length $connection';
    access_log {work}/nginx.sizes size buffer=64k flush=1s;
    client_body_temp_path {work};
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        location / {{ return 200 '{{"serverVersion": "1.32.0"}}'; }}
    }}
}}
"""


class Nginx:
    """A server that answers every request at once."""

    def __init__(self, bench):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self._sizes = os.path.join(bench.work, "nginx.sizes")
        path = os.path.join(bench.work, "nginx.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(work=bench.work, port=self.port))
        self._process = subprocess.Popen(["nginx", "-p", bench.work, "-c", path, "-e", os.path.join(bench.work, "nginx.error")],
                                         stdin=subprocess.DEVNULL)
        wait_for(self._is_there, "nginx")

    def _is_there(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def seen(self):
        """Bytes of the last request as they arrived, head and body; how many connections there were."""
        wait_for(lambda: os.path.getsize(self._sizes) > 0, "nginx's log")
        with open(self._sizes, encoding="ascii") as file:
            fields = file.read().split()
        return int(fields[-2]), len(set(fields[1::2]))

    def stop(self):
        self._process.terminate()
        self._process.wait()


def h2load(bench, port, connections, requests, body):
    """CPU seconds for so many requests over HTTP/1.1."""
    return h2load_cpu_seconds(bench, f"http://127.0.0.1:{port}/namespaces/default/activities/complete-by-id", body, requests,
                              ["--h1", "-c", str(connections), "-m", "1", "-H", "content-type: application/json"])


def drain(bench, server, count):
    """CPU seconds of the worker for so many completions that are committed at once."""
    session = bench.sql
    worker = bench.cluster.worker(session)
    session.run("BEGIN")
    bench.enqueue(session, count, server)
    cpu = cpu_seconds(worker)
    session.run("COMMIT")
    bench.await_empty(session)
    return cpu_seconds(worker) - cpu


def measure(bench):
    if shutil.which("nginx") is None:
        bench.say("http: not measured, nginx is missing; on Debian it is in the package nginx-light")
        return
    nginx = bench.started(Nginx(bench))
    bench.sql.run(f"""CREATE SERVER http FOREIGN DATA WRAPPER temporal_complete
        OPTIONS (address '127.0.0.1:{nginx.port}', transport 'http')""")
    count = bench.pick(30_000, 200_000)
    drain(bench, "http", 2_000)
    size, connections = nginx.seen()
    # h2load's head is about 150 bytes
    body = os.path.join(bench.work, "http_body")
    with open(body, "wb") as file:
        file.write(b" " * (size - 150))
    ours, theirs, grpc = [], [], []
    for _ in range(bench.pick(3, 5)):
        ours.append(drain(bench, "http", count) / count * 1e6)
        theirs.append(h2load(bench, nginx.port, connections, count, body) / count * 1e6)
        grpc.append(drain(bench, "temporal", count) / count * 1e6)
        bench.tidy()
    bench.add("http", f"CPU of the worker for a completion of {size} bytes over HTTP/1.1", "us", ours, theirs, "h2load, a request",
              goal=("ratio", "<=", 2))
    bench.add("http", "the same", "us", ours, grpc, "over gRPC")
    bench.sql.run("DROP SERVER http")
    bench.end(nginx)
