"""Logs: one line for each request, as JSON for programs, and harmless to the terminal of whoever reads them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN
from tests.support.served import Served, command, serve

pytestmark = pytest.mark.program

PROGRAM = """
from structlog.stdlib import get_logger
from yoq_web import logs
from yoq_web.settings import Settings
logs.configure(Settings.load({}))
get_logger("yoq_web").error("request", path="/v1/\\x1b[31mred\\x9b\\x07")
"""


def test_a_path_cannot_draw_on_the_terminal() -> None:
    """Control characters that a stranger puts into a path reach an operator's terminal escaped."""
    reading, writing = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=writing, check=True)
        shown = os.read(reading, 100_000).decode()
    finally:
        os.close(writing)
        os.close(reading)
    assert r"/v1/\x1b[31mred\x9b\x07" in shown
    assert "\x1b[31mred" not in shown


def test_every_request_is_one_line(served: Served) -> None:
    """The served program writes a JSON line for each request: who, what, how it ended, and the id to find it by."""
    sent = served("GET", "/v1/audit?limit=1", headers={"X-Request-Id": "mine-1"})
    denied = served("GET", "/v1/\x1b[31m", headers={"Authorization": "Bearer none"})
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    by_id = {line["request_id"]: line for line in lines if line["event"] == "request"}
    line = by_id["mine-1"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/audit", 200)
    assert (line["actor"], line["peer"]) == ("api-token", "127.0.0.1")
    assert sent.headers["X-Request-Id"] == "mine-1"
    line = by_id[denied.headers["X-Request-Id"]]
    assert (line["actor"], line["status"]) == ("unauthenticated", 401)


def requests_in(log: Path) -> list[str]:
    """The paths of the requests that are in a log, of whatever form."""
    return re.findall(r"""path["']?[=:] ?["'](/[^"']*)["']""", log.read_text())


def test_what_monitoring_asks_is_no_line(tmp_path: Path) -> None:
    """Every few seconds the same would bury the rest; unless it fails, or all is asked for."""
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN) as program:
        for path in ("/health", "/metrics", "/version"):
            assert program("GET", path).status_code == 200
        assert requests.get(f"{program.url}/metrics", timeout=10).status_code == 401
    assert [path for path in requests_in(program.log) if path != "/version"] == ["/metrics"]
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN, YOQ_LOG_LEVEL="debug") as program:
        program("GET", "/metrics")
    assert "/metrics" in requests_in(program.log)
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN, YOQ_LOG_LEVEL="error") as program:
        program("GET", "/v1/secrets")
    assert requests_in(program.log) == []


def test_the_form_is_chosen(tmp_path: Path) -> None:
    """Text where it is asked for, without colours where nobody looks, and JSON otherwise."""
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN, YOQ_LOG_FORMAT="text") as program:
        program("GET", "/v1/secrets")
    (line,) = [line for line in program.log.read_text().splitlines() if "/v1/secrets" in line]
    assert not line.startswith("{")
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("variable", "said"),
    [("YOQ_LOG_LEVEL", "must be debug, info, warning or error"), ("YOQ_LOG_FORMAT", "must be json or text")],
)
def test_what_is_of_no_use_is_one_line(tmp_path: Path, variable: str, said: str) -> None:
    """A mistyped level does not log everything, or nothing."""
    made = command(tmp_path, "secret", "list", **{variable: "loud"})
    assert (made.returncode, made.stdout, made.stderr) == (1, "", f"{variable} {said}\n")
