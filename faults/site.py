"""A site: a data directory, its database and the program that serves it, which can be killed and started again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import psycopg
import requests

from tests.support.postgres import Postgres, programs_first
from tests.support.served import PROGRAM, environment

Database = Literal["sqlite", "postgresql"]

TOKEN = "f" * 64
"""The admin token of every site."""

STARTING_SECONDS = 90
"""How long the program may take to answer after its start: the machine may be busy with others."""

COMMAND_SECONDS = 120

ANSWER_SECONDS = 60
"""How long a request waits for its answer."""


class Broken(Exception):
    """The program does not do what it must where nothing is wrong any more."""


class Site:
    """One site. `url` is where it serves, `database_url` what it serves; `settings` go to every process of it."""

    def __init__(self, folder: Path, database_url: str | None, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        self.database_url = database_url or f"sqlite:///{self.data / 'yoq.db'}"
        self.database: Database = "postgresql" if database_url else "sqlite"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "serve.log"
        own = {"PATH": programs_first()} if database_url else {}
        self.environment = environment(
            self.data, YOQ_DATABASE_URL=self.database_url, YOQ_API_TOKEN=TOKEN, **own, **settings
        )
        self._server: subprocess.Popen[bytes] | None = None

    def launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `yoq-web ARGUMENTS` in a group of its own, and return at once; what it says goes to the log."""
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [PROGRAM, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def prepare(self) -> None:
        """Make the database ready, which on PostgreSQL the server does not do. Raises Broken if that fails."""
        if self.database == "postgresql" and (done := self.command("db", "upgrade")).returncode:
            raise Broken(f"the database cannot be migrated: {done.stderr}")

    def launch_server(self) -> subprocess.Popen[bytes]:
        """Start to serve, and return at once."""
        self._server = self.launch("serve", "--port", str(self.port))
        return self._server

    def start(self) -> None:
        """Serve, and return when it answers; one that ends is started again, as by a supervisor. Raises Broken."""
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline:
            if self._server is None or self._server.poll() is not None:
                self.kill()  # of one that ended by itself, workers may be left
                self.launch_server()
            with suppress(requests.RequestException):
                requests.get(f"{self.url}/version", timeout=5)
                return
            time.sleep(0.1)
        raise Broken(f"the server did not come up: {self.read_last_lines()}")

    def stop(self) -> int:
        """End the server as an operator does; returns its exit code."""
        server, self._server = self._server, None
        if server is None:
            return 0
        server.terminate()
        try:
            return server.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            kill_group(server)
            raise Broken("the server does not end after SIGTERM") from None

    def kill(self) -> None:
        """End all of the server at once, as a power cut would."""
        if self._server is not None:
            kill_group(self._server)
            self._server = None

    def workers(self) -> list[int]:
        """Return the serving processes, without the one that was started."""
        if self._server is None:
            return []
        parent = self._server.pid
        with suppress(OSError):
            return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        return []

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `yoq-web ARGUMENTS` to its end."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def get(self, path: str) -> requests.Response:
        """Ask for a path as the administrator."""
        return requests.get(
            self.url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=ANSWER_SECONDS, allow_redirects=False
        )

    def list_all(self, path: str) -> list[Any]:
        """Return a whole list, page by page. Raises Broken where it is refused."""
        found: list[Any] = []
        next_page: str | None = path
        while next_page:
            answer = self.get(next_page)
            if answer.status_code != 200:
                raise Broken(f"GET {next_page} answers {answer.status_code}: {answer.text[:200]}")
            found += answer.json()
            following = answer.links.get("next", {}).get("url")
            next_page = urljoin(path, following) if following else None
        return found

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """Open a connection of our own to the site's PostgreSQL database."""
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            yield connection

    def read_last_lines(self) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process and all of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def make_template(postgres: Postgres, folder: Path) -> str:
    """Make a migrated PostgreSQL database to be copied; returns its name."""
    name = postgres.create()
    Site(folder, postgres.url(name), {}).prepare()
    return name


def _free_port() -> int:
    # Below those that the system gives out, and away from those of the tests: servers share a port silently.
    for _ in range(1000):
        port = random.randrange(12_000, 19_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Broken("no port is free")
