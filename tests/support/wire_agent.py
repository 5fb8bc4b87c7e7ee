"""A scripted agent: registers, beats, takes up its assignments and reports on them over HTTP, as yoq's agent does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.wire_client import Client, Reply

PERIOD = 0.2
"""Seconds between two heartbeats; yoq's agent has 5."""


class Agent:
    """An agent that runs whatever it is told to, but for the images in `broken`, and not yet those in `held`.

    It starts nothing: an image that works is `running` at once. Like yoq's it acts on each assignment once, stops when
    it is told that it is draining, and goes on when the server is away.
    """

    def __init__(self, url: str, token: str, address: str, **fields: Any) -> None:
        self.client = Client(url, token)
        self.broken: dict[str, str] = {}
        self.held: set[str] = set()
        self.done: list[tuple[str, str]] = []
        """What it did, as (image, status)."""
        self._seen: set[str] = set()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        body = {"token": token, "address": address, "agent_api_port": 7701, "cpu_cores": 4, "memory_mb": 8192}
        answer = self.client.send("/agents/register", json.dumps(body | fields, separators=(",", ":")))
        assert answer.status == 200, answer.body
        self.id = answer.text("id")
        assert len(self.id) == 12
        self.registered = answer
        self._thread = threading.Thread(target=self._run, name=f"agent {address}", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def vanish(self) -> None:
        """Stop without a word, as a machine does that loses its power."""
        self._stop.set()
        self._thread.join(10)

    @property
    def stopped(self) -> bool:
        """Whether it has ended, by itself or not."""
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what went wrong in its thread, if anything did."""
        if self._error is not None:
            raise self._error

    def beat(self) -> Reply:
        """One heartbeat, with what yoq's agent says in each."""
        body = '{"cpu_cores":4,"memory_mb":8192,"cpu_used":0,"memory_used_mb":0,"containers":%d,"gpu_health":"healthy"}'
        return self.client.send(f"/agents/{self.id}/heartbeat", body % len(self._seen))

    def assignments(self) -> list[Reply]:
        """What it is to run."""
        return self.client.get(f"/agents/{self.id}/assignments").objects()

    def work(self) -> None:
        """Take up what is pending and new."""
        for assignment in self.assignments():
            identifier, image = assignment.text("id"), assignment.text("image")
            if assignment.text("status") != "pending" or identifier in self._seen or image in self.held:
                continue
            self._seen.add(identifier)
            reason = self.broken.get(image)
            self.report(identifier, "failed" if reason else "running", reason)
            self.done.append((image, "failed" if reason else "running"))

    def report(self, assignment: str, status: str, reason: str | None = None) -> Reply:
        """Say how an assignment fares."""
        said = f',"reason":"{reason}"' if reason else ""
        return self.client.send(f"/agents/{self.id}/assignments/{assignment}/status", f'{{"status":"{status}"{said}}}')

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    beat = self.beat()
                    if beat.status == 200 and beat.text("status") == "draining":
                        return
                    self.work()
                except OSError:
                    pass  # the server is away; yoq's agent works on from its cache
                self._stop.wait(PERIOD)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            self._error = error


@contextmanager
def working(*agents: Agent) -> Iterator[None]:
    """Let agents beat for a while; whatever went wrong with one of them is raised at the end."""
    for agent in agents:
        agent.start()
    try:
        yield
    finally:
        for agent in agents:
            agent.vanish()
    for agent in agents:
        agent.check()
