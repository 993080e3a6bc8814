"""Processes: started here and only here, ended here; what they cost, from /proc."""

import json
import os
import shutil
import signal
import subprocess
import time


def as_postgres(command):
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return command
    if shutil.which("runuser"):
        return ["runuser", "-u", "postgres", "--", *command]
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]


def wait_for(condition, what, timeout=120.0, interval=0.005):
    """Return the first true value of condition()."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s for {what}")
        time.sleep(interval)


def cpu_seconds(pid):
    """CPU time of all threads of a process so far, in seconds; 0 if it is gone."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return total / 1e9


def children(pid):
    """Pids of the children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def ended_children_cpu_seconds(pid):
    """CPU time of the children that a process has waited for."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def status(pid, *names):
    """Numbers from /proc/PID/status; sizes are in kB."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        values = dict(line.split(":", 1) for line in file)
    return [int(values[name].split()[0]) for name in names]


class Child:
    """A program that runs until it is told to end."""

    def __init__(self, command, log, **options):
        with open(log, "ab") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=file, text=True, bufsize=1, **options)
        self.log = log

    @property
    def pid(self):
        return self.process.pid

    def line(self):
        """Next line that it prints."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended, see {self.log}")
        return line.rstrip("\n")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Stub(Child):
    """The gRPC server that answers at once."""

    def __init__(self, programs, log, *arguments):
        super().__init__([programs["grpc_stub"], "--port", "0", *arguments], log)
        self.port = int("".join(c for c in self.line() if c.isdigit()))

    def counts(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.line())

    def await_answers(self, number, timeout=300.0):
        """Wait until so many calls were answered since the stub began."""
        wait_for(lambda: self.counts()["answered"] >= number, f"{number} answers", timeout, interval=0.01)
