"""What a client sees: our requests against each other on the production server, with all that works beside them."""

from __future__ import annotations

import functools
import itertools
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from flask import Flask

from benchmarks import plugin
from benchmarks.load import Load, divide_rates, make_request, send, take_turns
from benchmarks.over_sqlite import make_database
from benchmarks.rows import Row
from yoq_web import create_app, wsgi

TOKEN = "b" * 64
WRITES = 480
"""Requests of a round, all clients together."""
READS = 960
NAMES = 80
"""So many values are written again and again; each time another one."""
ROUNDS = 9

_numbers = itertools.count()


def application() -> Flask:
    """The application with the measuring plugin and all that works beside requests, for the server."""
    wsgi.create_app = functools.partial(create_app, plugins=(plugin,))  # type: ignore[attr-defined]  # as it is served
    return wsgi.application()


def serve() -> None:
    """Serve `application` as `yoq-web serve` does; run in a process of its own."""
    from granian import Granian  # noqa: PLC0415 - only the serving process needs it
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    from yoq_web.http.capacity import MOST  # noqa: PLC0415

    Granian(
        "benchmarks.over_http:application",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        backpressure=MOST,
        blocking_threads=MOST,
        websockets=False,
        log_level=LogLevels.error,
        factory=True,
    ).serve()


def measure(folder: Path) -> list[Row]:
    """Audited against un-audited writes, and each kind of request against the cheapest one."""
    environment = os.environ | {"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN}
    make_database(folder)
    with served(environment) as port:
        ours = Ours(port, folder)
        ours.prepare()
        sides = {
            f"{name}, {clients} client{'s' * (clients > 1)}": functools.partial(side, clients)
            for clients in (8, 1)
            for name, side in ours.sides.items()
        }
        loads = take_turns(ROUNDS, sides)
    return [
        Row(
            f"{above} / {below}, {clients}",
            divide_rates(loads[f"{above}, {clients}"], loads[f"{below}, {clients}"]),
            goal,
        )
        for above, below, clients, goal in RATIOS
    ]


class Ours:
    """The served program, and the loads that it is put under. Each looks afterwards whether it did what it says."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port, self._database = port, folder / "yoq.db"
        self.sides: dict[str, Callable[[int], Load]] = {
            "audited write": functools.partial(self.write, "/v1/bench/audited", "bench_values", 1),
            "un-audited write": functools.partial(self.write, "/v1/bench/plain", "bench_values", 0),
            "POST /v1/secrets": self.set_secrets,
            "GET /v1/secrets": functools.partial(self.read, "/v1/secrets", 1),
            "GET /v1/audit?limit=50": functools.partial(self.read, "/v1/audit?limit=50", 0),
            "GET /v1/policies": functools.partial(self.read, "/v1/policies", 0),
            "GET /health": functools.partial(self.read, "/health", 0),
            "GET /version": functools.partial(self.read, "/version", 0),
        }

    def prepare(self) -> None:
        """Have a hundred secrets there, and so as many entries as a page has."""
        bodies = ({"name": f"secret-{number}", "value": "a value"} for number in range(100))
        send(self._port, self._posts("/v1/secrets", bodies), 1)

    def write(self, path: str, table: str, entries: int, clients: int) -> Load:
        """Set values, each time to another one."""
        mark = f"of round {next(_numbers)},"
        bodies = ({"name": f"n{n % NAMES}", "text": f"a value {mark} {n}"} for n in range(WRITES))
        load = self._counted(self._posts(path, bodies), clients, WRITES * entries)
        with closing(sqlite3.connect(self._database)) as bare:
            query = f"SELECT count(*) FROM {table} WHERE instr(text, ?)"  # noqa: S608 - our own names
            if bare.execute(query, (mark,)).fetchone()[0] != NAMES:
                raise SystemExit("not every value was written")
        return load

    def set_secrets(self, clients: int) -> Load:
        """Set secrets, each time to another value."""
        mark = next(_numbers)
        bodies = ({"name": f"secret-{n % NAMES}", "value": f"a value {mark} {n}"} for n in range(WRITES))
        return self._counted(self._posts("/v1/secrets", bodies), clients, WRITES)

    def read(self, path: str, entries: int, clients: int) -> Load:
        """Read one path again and again."""
        count = READS if clients > 1 else WRITES
        return self._counted(itertools.repeat(make_request("GET", path, TOKEN), count), clients, count * entries)

    def _posts(self, path: str, bodies: Iterator[dict[str, str]]) -> Iterator[bytes]:
        return (make_request("POST", path, TOKEN, json.dumps(body).encode()) for body in bodies)

    def _counted(self, requests: Iterator[bytes], clients: int, entries: int) -> Load:
        """Send the requests, and see that they left so many entries."""
        before = self._count()
        load = send(self._port, requests, clients)
        if self._count() - before != entries:
            raise SystemExit(f"{self._count() - before} entries were left, and not {entries}")
        return load

    def _count(self) -> int:
        with closing(sqlite3.connect(self._database)) as bare:
            return int(bare.execute("SELECT count(*) FROM audit_log").fetchone()[0])


RATIOS = (
    ("audited write", "un-audited write", "8 clients", ">= 0.93"),
    ("audited write", "un-audited write", "1 client", ""),
    ("POST /v1/secrets", "GET /version", "8 clients", ">= 0.45"),
    ("GET /v1/secrets", "GET /version", "8 clients", ">= 0.45"),
    ("GET /v1/audit?limit=50", "GET /version", "8 clients", ">= 0.3"),
    ("GET /v1/audit?limit=50", "GET /version", "1 client", ">= 0.45"),
    ("GET /v1/policies", "GET /version", "8 clients", ">= 0.6"),
    ("GET /health", "GET /version", "8 clients", ">= 0.6"),
)
"""What is divided by what, and what should come out."""


@contextmanager
def served(environment: dict[str, str]) -> Iterator[int]:
    """Our server in a process of its own, answering at the port that this yields."""
    with run_server([sys.executable, "-m", "benchmarks.over_http", "{port}"], environment) as port:
        yield port


@contextmanager
def run_server(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """Any server that is told its port where `{port}` stands; yields that when it answers. Its log goes to a file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        words = [word.replace("{port}", str(port)) for word in command]
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        try:
            _wait(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"the server does not answer: {process.args!r}")


if __name__ == "__main__":
    serve()
