"""Our requests against those of django-auditlog and SQLAlchemy-Continuum, each over HTTP on its usual server, in turn.

Each peer is served by gunicorn with one worker of eight threads, on SQLite with the same rules as ours.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, divide_p99s, divide_rates, make_request, send, take_turns
from benchmarks.over_http import NAMES, READS, TOKEN, WRITES, Ours, run_server, served
from benchmarks.over_sqlite import make_database
from benchmarks.rows import Row

PROGRAMS = Path(__file__).parent.parent.parent / ".venv-peers" / "bin"
CLIENTS = (8, 1, 32)
ROUNDS = 7


def measure(folder: Path) -> list[Row]:
    """An audited write and a page of the trail, ours against theirs."""
    if not PROGRAMS.exists():
        raise SystemExit("the peers are not installed: ./run bench peers")
    make_database(folder)
    with ExitStack() as stack:
        ours = Ours(
            stack.enter_context(served(os.environ | {"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN})), folder
        )
        ours.prepare()
        peers = [Peer(0, folder / f"{name}.db", name, table) for name, table in PEERS]
        for peer in peers:
            peer.port = stack.enter_context(peer.serve())
        sides: dict[str, Callable[[int], Load]] = {
            "ours": ours.set_secrets,
            **{peer.name: peer.write for peer in peers},
            "our page": functools.partial(ours.read, "/v1/audit?limit=50", 0),
            "Django's page": peers[0].read,
        }
        loads = take_turns(
            ROUNDS,
            {
                f"{name}, {clients}": functools.partial(side, clients)
                for clients in CLIENTS
                for name, side in sides.items()
            },
        )
    rates = [
        Row(
            f"{what}, {clients} client{'s' * (clients > 1)}",
            divide_rates(loads[f"{a}, {clients}"], loads[f"{b}, {clients}"]),
            goal,
        )
        for what, a, b, clients, goal in (
            ("POST /v1/secrets / django-auditlog's write", "ours", "auditlog", 8, ">= 2.5"),
            ("POST /v1/secrets / django-auditlog's write", "ours", "auditlog", 1, ">= 2"),
            ("POST /v1/secrets / SQLAlchemy-Continuum's write", "ours", "continuum", 8, ">= 4"),
            ("POST /v1/secrets / SQLAlchemy-Continuum's write", "ours", "continuum", 1, ">= 4"),
            ("GET /v1/audit?limit=50 / Django's list of 50 entries", "our page", "Django's page", 8, ">= 1.3"),
            ("GET /v1/audit?limit=50 / Django's list of 50 entries", "our page", "Django's page", 1, ">= 1.6"),
        )
    ]
    slow = [
        Row(
            f"p99 of POST /v1/secrets / of django-auditlog's write, {clients} clients",
            divide_p99s(loads[f"ours, {clients}"], loads[f"auditlog, {clients}"]),
            "<= 0.1",
        )
        for clients in (8, 32)
    ]
    return rates + slow


PEERS = (("auditlog", "auditlog_logentry"), ("continuum", "peer_values_version"))
"""The peers, and where each leaves its entries."""

_numbers = itertools.count()


@dataclass
class Peer:
    """A peer, and the loads that it is put under. Each looks afterwards whether it did what it says."""

    port: int
    database: Path
    name: str
    table: str

    def serve(self) -> AbstractContextManager[int]:
        """Serve it as it usually is."""
        command = [
            "-m",
            "gunicorn",
            "--workers",
            "1",
            "--threads",
            "8",
            "--bind",
            "127.0.0.1:{port}",
            "--no-control-socket",
        ]
        module = f"with_{self.name}:application"
        environment = os.environ | {
            "PEER_DATABASE": str(self.database),
            "PYTHONWARNINGS": "ignore",
            "PEER_TOKEN": TOKEN,
        }
        return run_server(
            [str(PROGRAMS / "python"), *command, "--chdir", str(Path(__file__).parent), module], environment
        )

    def write(self, clients: int) -> Load:
        """Set values, each time to another one."""
        mark = f"of round {next(_numbers)},"
        bodies = ({"name": f"n{n % NAMES}", "text": f"a value {mark} {n}"} for n in range(WRITES))
        before = self._count(self.table)
        load = send(
            self.port, (make_request("POST", "/set", TOKEN, json.dumps(body).encode()) for body in bodies), clients
        )
        if self._count(self.table) - before != WRITES:
            raise SystemExit(f"{self.name}: not every change was recorded")
        if self._count("peer_values", f"instr(text, '{mark}')") != NAMES:
            raise SystemExit(f"{self.name}: not every value was written")
        return load

    def read(self, clients: int) -> Load:
        """Read the newest fifty entries again and again."""
        return send(self.port, itertools.repeat(make_request("GET", "/entries", TOKEN), READS // 2), clients)

    def _count(self, table: str, where: str = "1") -> int:
        with closing(sqlite3.connect(self.database)) as bare:
            return int(bare.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])  # noqa: S608 - our own
