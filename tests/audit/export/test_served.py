"""Exports and streams of the program itself, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import ADMIN
from tests.support.export import verify
from tests.support.raw_http import connect, head
from tests.support.served import Served

pytestmark = pytest.mark.program


def events(
    program: Served, token: str = ADMIN, query: str = "", **headers: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and entry of each event of a stream, until it ends."""
    answer = requests.get(
        f"{program.url}/v1/audit/stream?{query}",
        headers={"Authorization": f"Bearer {token}", **headers},
        stream=True,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Audit-Id"]
    last = ""
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"id: "):
            last = line.removeprefix(b"id: ").decode()
        elif line.startswith(b"data: "):
            yield last, json.loads(line.removeprefix(b"data: "))


def test_follow_export_verify_and_stop(served: Served) -> None:
    """A stream shows operations, resumes and ends with its token; an export verifies; SIGTERM ends them all."""

    def act(name: str) -> None:
        assert served("POST", "/v1/secrets", json={"name": name, "value": "x"}).status_code == 200

    token = served("POST", "/v1/tokens", json={"name": "ci", "scopes": ["audit:read"]}).json()["token"]
    stream = events(served, token, "action=secret_set&start=0")
    act("a")
    last, entry = next(stream)
    assert (entry["action"], entry["target"]) == ("secret_set", "a")
    act("b")
    act("c")
    resumed = events(served, token, "action=secret_set", **{"Last-Event-ID": last})
    for each in (stream, resumed):
        assert [next(each)[1]["target"], next(each)[1]["target"]] == ["b", "c"]
    assert served("DELETE", "/v1/tokens/ci").status_code == 200
    assert [list(each) for each in (stream, resumed)] == [[], []]

    exported = served("GET", "/v1/audit/export?with_proofs=true")
    key = served("GET", "/v1/audit/log/key").text.strip()
    found = verify(exported.content, key)
    assert (found.entries, found.gaps) == (found.head.size, [])

    # Streams are far fewer than the server's threads: whoever opens more is told to wait, everybody else is served.
    opened = [connect(served.url) for _ in range(16)]
    for connection in opened:
        connection.sendall(head("GET", "/v1/audit/stream", ADMIN))
        assert b"200 OK" in connection.recv(4096)
    refused = served("GET", "/v1/audit/stream")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert served("GET", "/v1/secrets").json() == ["a", "b", "c"]
    served.process.terminate()
    assert served.process.wait(15) == 0
    for connection in opened:
        content = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))  # type: ignore[misc]
        assert content.endswith(b"0\r\n\r\n")  # a whole answer, to be asked for again from where it ended
        assert b": the server ends" in content
        connection.close()
