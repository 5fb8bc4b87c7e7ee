"""The program itself, started as an operator starts it, and its command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import requests

PROGRAM = Path(sys.executable).with_name("yoq-web")
STARTING_SECONDS = 30

allowed = False
"""Whether the running test is marked as one that starts the program."""


@dataclass
class Served:
    """A serving process: where it answers, its log file and the environment it runs in."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: dict[str, str]

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request, with the admin token from the environment."""
        headers = {"Authorization": f"Bearer {self.environment['YOQ_API_TOKEN']}", **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)


def check_marker() -> None:
    """Fail a test that starts the program and is not marked so."""
    assert allowed, "a test that starts the program bears @pytest.mark.program"


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """An environment with these settings and none of the surrounding ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("YOQ_")}
    return kept | {"YOQ_DATA_DIR": str(data_dir), "YOQ_NODE": "node-1"} | settings


def command(
    data_dir: Path, *arguments: str, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `yoq-web ARGUMENTS` to its end."""
    check_marker()
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment(data_dir, **settings),
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# Each test process begins elsewhere, below the ports that the system gives out.
_PORTS = count(20_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))


def free_port() -> int:
    """A port of the loopback address that nobody listens on and no other test uses, of whichever process.

    Servers share a port silently if they bind it at the same moment, and one test's requests would reach another's.
    """
    for port in _PORTS:
        mark = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                mark.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        mark.detach()  # open as long as this process: the UDP port of the same number says that this one is taken
        return port
    raise AssertionError("unreachable: the ports are endless")


@contextmanager
def serve(
    data_dir: Path, host: str | None = None, open_files: str | None = None, user: str | None = None, **settings: str
) -> Iterator[Served]:
    """`yoq-web serve` on a free port, answering, with at most so many open files; stopped when the block ends.

    As root, it can be another `user` who serves.
    """
    check_marker()
    port = free_port()
    arguments = [str(PROGRAM), "serve", "--port", str(port), *(["--host", host] if host else [])]
    if open_files is not None:
        arguments = ["/bin/sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh", *arguments]
    if user is not None:
        arguments = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *arguments]
    log = data_dir / f"serve-{port}.log"
    chosen = environment(data_dir, **settings)
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, env=chosen, stdout=output, stderr=output)
    address = f"[{host}]" if host and ":" in host else "127.0.0.1"
    program = Served(f"http://{address}:{port}", process, log, chosen)
    try:
        _await_answer(program)
        yield program
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _await_answer(program: Served) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and program.process.poll() is None:
        try:
            requests.get(program.url + "/version", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the server did not start:\n{program.log.read_text()}")
