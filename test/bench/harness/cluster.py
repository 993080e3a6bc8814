"""A throw-away PostgreSQL with the extension, and psql sessions in it."""

import os
import subprocess

from .process import (as_postgres, children, cpu_seconds, ended_children_cpu_seconds, wait_for)

DATABASE = "bench"


class Session:
    """A psql that stays: one connection, statements one after the other."""

    _MARK = "==done=="

    def __init__(self, cluster, database):
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", cluster.directory, "-U", "postgres", "-d", database]
        command[0] = cluster.program("psql")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True)
        self.pid = int(self.value("SELECT pg_backend_pid()"))

    def send(self, sql):
        """Begin statements, without waiting for their end."""
        self._process.stdin.write(f"{sql.rstrip().rstrip(';')};\n\\echo {self._MARK}\n")
        self._process.stdin.flush()

    def receive(self):
        """Wait for the end of what was sent; the rows as lists of texts."""
        rows = []
        for line in self._process.stdout:
            line = line.rstrip("\n")
            if line == self._MARK:
                return [row.split("|") for row in rows]
            rows.append(line)
        raise RuntimeError("psql: " + "\n".join(rows))

    def run(self, sql):
        self.send(sql)
        return self.receive()

    def value(self, sql):
        rows = self.run(sql)
        return rows[0][0] if rows else None

    def close(self):
        """End it, also in the midst of a statement."""
        self._process.terminate()
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        self._process.stdout.close()
        self._process.wait()


class Cluster:
    """PostgreSQL in a directory of its own, reached by a socket there."""

    def __init__(self, work, name, staged, bindir, settings=None):
        self._bindir = bindir
        self.directory = os.path.join(work, name)
        self._data = os.path.join(self.directory, "data")
        self._sessions = []
        os.mkdir(self.directory)
        if os.geteuid() == 0:
            subprocess.run(["chown", "postgres:", self.directory], check=True)
        self._pg("initdb", "-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-D", self._data)
        with open(staged, encoding="utf-8") as file:
            lines = [file.read()]
        for name, value in {
            "listen_addresses": "", "unix_socket_directories": self.directory,
            "shared_preload_libraries": "temporal_complete", "shared_buffers": "512MB", "max_wal_size": "4GB",
            "checkpoint_timeout": "1h", "max_connections": "100", "log_min_messages": "warning",
            **(settings or {}),
        }.items():
            lines.append(f"{name} = '{value}'\n")
        with open(os.path.join(self._data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.writelines(lines)
        self._pg("pg_ctl", "-w", "-D", self._data, "-l", os.path.join(self.directory, "log"), "start")
        with open(os.path.join(self._data, "postmaster.pid"), encoding="ascii") as file:
            self.postmaster = int(file.readline())

    def program(self, name):
        return os.path.join(self._bindir, name)

    def _pg(self, name, *arguments):
        done = subprocess.run(as_postgres([self.program(name), *arguments]), cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stdout}")

    def session(self, database=DATABASE):
        session = Session(self, database)
        self._sessions.append(session)
        return session

    def restart_cold(self, database=DATABASE):
        """Restart it with nothing of its data in memory (unless its directory is there); a new session."""
        for session in self._sessions:
            session.close()
        self._sessions = []
        self._pg("pg_ctl", "-w", "-m", "fast", "-D", self._data, "stop")
        for directory, _, files in os.walk(self._data):
            for name in files:
                file = os.open(os.path.join(directory, name), os.O_RDONLY)
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)
        self._pg("pg_ctl", "-w", "-D", self._data, "-l", os.path.join(self.directory, "log"), "start")
        with open(os.path.join(self._data, "postmaster.pid"), encoding="ascii") as file:
            self.postmaster = int(file.readline())
        return self.session(database)

    def create_database(self, server_address, name=DATABASE):
        """A database with the extension, whose default connection is to that address."""
        with_postgres = self.session("postgres")
        with_postgres.run(f"CREATE DATABASE {name}")
        session = self.session(name)
        session.run(f"""CREATE EXTENSION temporal_complete;
            CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (address '{server_address}');
            CREATE USER MAPPING FOR CURRENT_USER SERVER temporal""")
        return session

    def reload(self, session, **settings):
        for name, value in settings.items():
            session.run(f"ALTER SYSTEM SET {name.replace('__', '.')} = '{value}'")
        session.run("SELECT pg_reload_conf()")

    def worker(self, session):
        """Pid of the worker of the session's database."""
        return int(wait_for(lambda: session.value(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type LIKE 'temporal_complete%worker%'"), "the worker"))

    def launcher(self, session):
        return int(session.value("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'temporal_complete%launcher%'"))

    def cpu_seconds(self, without=()):
        """CPU time of all processes of the cluster, but for some backends."""
        while True:
            pids = children(self.postmaster)
            total = (cpu_seconds(self.postmaster) + ended_children_cpu_seconds(self.postmaster) +
                     sum(cpu_seconds(pid) for pid in pids if pid not in without))
            # one that ends meanwhile would count twice, or not at all
            if children(self.postmaster) == pids:
                return total

    def environment(self, database=DATABASE):
        """What a libpq program needs to connect."""
        return {**os.environ, "PGHOST": self.directory, "PGUSER": "postgres", "PGDATABASE": database}

    def stop(self):
        for session in self._sessions:
            session.close()
        self._pg("pg_ctl", "-w", "-D", self._data, "-m", "immediate", "stop")
