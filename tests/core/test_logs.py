"""Logs: one line for each request, as JSON for programs, and harmless to the terminal of whoever reads them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.support.served import Served

pytestmark = pytest.mark.program

PROGRAM = """
from structlog.stdlib import get_logger
from yoq_web import logs
logs.configure()
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
