"""Two hundred agents that beat every five seconds, beside a long history: what share of the server they take."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from benchmarks import plugin
from benchmarks.over_http import TOKEN, served
from benchmarks.rows import Row
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade

JOIN = "j" * 32
AGENTS = 200
RELEASES = 500
PERIOD = 5
"""Seconds between two heartbeats of an agent."""
CLIENTS = 8
SECONDS = 5

_used = itertools.count()


def measure(folder: Path) -> list[Row]:
    """The heartbeats that there are in a second / those that the server can take, each with its own connection."""
    settings = {"YOQ_DATA_DIR": str(folder), "YOQ_API_TOKEN": TOKEN, "YOQ_JOIN_TOKEN": JOIN}
    ids = _filled(settings)
    with served(os.environ | settings) as port:
        _beats(port, ids, 1)
        beats = _beats(port, ids, SECONDS)
        polls = _rate(port, [("GET", f"/agents/{agent}/assignments", JOIN) for agent in ids], SECONDS)
        print(
            f"  {beats:.0f} heartbeats a second: {1000 / beats:.2f} ms each, {100 / PERIOD / beats:.3f} % for an agent"
        )
        print(f"  {polls:.0f} looks at one's assignments a second")
        for path in ("/agents", "/apps", "/apps/shop/status", "/apps/shop/history", "/v1/apps/shop/history"):
            print(f"  GET {path}: {_milliseconds(port, path):.1f} ms")
    ratio = AGENTS / PERIOD / beats
    return [Row("200 agents beating every 5 s: their heartbeats / those that the server can take", [ratio], "<= 0.25")]


def _filled(settings: dict[str, str]) -> list[str]:
    """A database with agents and a history; returns the agents' ids."""
    app = create_app(settings, plugins=(plugin,))
    with app.app_context():
        upgrade()
    client = app.test_client()
    joining = {"token": JOIN, "cpu_cores": 64, "memory_mb": 262_144}
    ids = [
        _posted(client, "/agents/register", JOIN, joining | {"address": f"10.0.0.{number}", "wg_public_key": "k" * 44})[
            "id"
        ]
        for number in range(AGENTS)
    ]
    services = [{"name": name, "image": f"{name}:1"} for name in ("web", "api", "db")]
    for _ in range(RELEASES):
        _posted(client, "/apps/apply", TOKEN, {"app_name": "shop", "services": services})
    with app.app_context():
        db.engine.dispose()
    return ids


def _posted(client: FlaskClient, path: str, token: str, body: dict[str, Any]) -> Any:
    answer = client.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        raise SystemExit(f"{path} was answered {answer.status_code}")
    return answer.get_json()


def _beats(port: int, ids: list[str], seconds: float) -> float:
    return _rate(port, [("POST", f"/agents/{agent}/heartbeat", JOIN) for agent in ids], seconds)


def _rate(port: int, requests: list[tuple[str, str, str]], seconds: float) -> float:
    """How many of the requests are answered in a second while several clients send them round and round."""
    end = time.perf_counter() + seconds
    done = [0] * CLIENTS

    def send(number: int) -> None:
        while time.perf_counter() < end:
            _answered(port, *requests[(number + done[number] * CLIENTS) % len(requests)])
            done[number] += 1

    threads = [threading.Thread(target=send, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def _milliseconds(port: int, path: str) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        _answered(port, "GET", path, TOKEN)
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def _answered(port: int, method: str, path: str, token: str) -> None:
    """One request with its own connection, as yoq's clients send it."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    # What an agent uses changes: a heartbeat that says what the last one said in the same second writes nothing.
    beat = {"cpu_cores": 4, "memory_mb": 8192, "cpu_used": 0, "memory_used_mb": next(_used) % 8192, "containers": 2}
    body = json.dumps(beat) if method == "POST" else None
    connection.request(method, path, body, {"Authorization": f"Bearer {token}", "Connection": "close"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path} was answered {answer.status}")
