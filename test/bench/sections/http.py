"""http: CPU of the worker for a completion over HTTP/1.1 in cleartext, and over HTTP/2 by TLS, beside h2load's for a request of
the same size over HTTP/1.1 to the same port of the same nginx."""

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
        listen 127.0.0.1:{tls_port} ssl http2;
        ssl_protocols TLSv1.3;
        ssl_certificate {work}/nginx.crt;
        ssl_certificate_key {work}/nginx.key;
        http2_max_concurrent_streams 500;
        default_type application/json;
        location / {{ return 200 '{{"serverVersion": "1.32.0"}}'; }}
    }}
}}
"""


class Nginx:
    """A server that answers every request at once."""

    def __init__(self, bench):
        with socket.socket() as sock, socket.socket() as tls_sock:
            sock.bind(("127.0.0.1", 0))
            tls_sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
            self.tls_port = tls_sock.getsockname()[1]
        self.certificate = os.path.join(bench.work, "nginx.crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=nginx", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", os.path.join(bench.work, "nginx.key"), "-out", self.certificate],
                       check=True, stderr=subprocess.DEVNULL)
        os.chmod(self.certificate, 0o644)
        self._sizes = os.path.join(bench.work, "nginx.sizes")
        path = os.path.join(bench.work, "nginx.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(work=bench.work, port=self.port, tls_port=self.tls_port))
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


def h2load(bench, origin, connections, requests, body):
    """CPU seconds for so many requests over HTTP/1.1."""
    return h2load_cpu_seconds(bench, f"{origin}/namespaces/default/activities/complete-by-id", body, requests,
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
    bench.sql.run(f"""CREATE SERVER http2 FOREIGN DATA WRAPPER temporal_complete
        OPTIONS (address '127.0.0.1:{nginx.tls_port}', transport 'http', tls_server_ca_cert_path '{nginx.certificate}')""")
    count = bench.pick(30_000, 200_000)
    drain(bench, "http", 2_000)
    size, connections = nginx.seen()
    drain(bench, "http2", 2_000)
    # h2load's head is about 150 bytes
    body = os.path.join(bench.work, "http_body")
    with open(body, "wb") as file:
        file.write(b" " * (size - 150))
    http1, clear, http2, tls, grpc = [], [], [], [], []
    for _ in range(bench.pick(3, 5)):
        http1.append(drain(bench, "http", count) / count * 1e6)
        clear.append(h2load(bench, f"http://127.0.0.1:{nginx.port}", connections, count, body) / count * 1e6)
        http2.append(drain(bench, "http2", count) / count * 1e6)
        tls.append(h2load(bench, f"https://127.0.0.1:{nginx.tls_port}", connections, count, body) / count * 1e6)
        grpc.append(drain(bench, "temporal", count) / count * 1e6)
        bench.tidy()
    bench.add("http", f"CPU of the worker for a completion of {size} bytes over HTTP/1.1", "us", http1, clear, "h2load --h1, a request",
              goal=("ratio", "<=", 2))
    bench.add("http", "the same over HTTP/2 by TLS", "us", http2, tls, "h2load --h1 by TLS", goal=("ratio", "<=", 2))
    bench.add("http", "over HTTP/1.1", "us", http1, grpc, "over gRPC")
    bench.add("http", "over HTTP/2 by TLS", "us", http2, grpc, "over gRPC")
    bench.sql.run("DROP SERVER http")
    bench.sql.run("DROP SERVER http2")
    bench.end(nginx)
