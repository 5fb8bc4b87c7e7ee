"""A story from end to end: yoq's client and scripted agents against the served program, over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ADMIN
from tests.support.agents import JOIN
from tests.support.served import Served, serve
from tests.support.wire_agent import Agent, working
from tests.support.wire_client import Client, Reply

pytestmark = pytest.mark.program

TIMEOUT = "5"
"""Seconds of silence that make an agent offline."""


def manifest(version: int, **rollout: Any) -> str:
    """Three services of one version that roll out as canaries and have to become ready."""
    policy = {
        "strategy": "canary",
        "parallelism": 1,
        "failure_action": "rollback",
        "health_check_timeout": 300,
    } | rollout
    services: list[dict[str, Any]] = [
        {"name": name, "image": f"{name}:{version}", "command": [], "cpu_limit": 1000, "rollout": policy}
        for name in ("web", "api", "db")
    ]
    return json.dumps({"app_name": "shop", "services": services, "workers": []}, separators=(",", ":"))


def awaited(what: str, found: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)


class Shop:
    """The app of the story, as its operator and its agents see it."""

    def __init__(self, url: str) -> None:
        self.operator = Client(url, ADMIN)

    def status(self) -> Reply:
        """Its status document."""
        return self.operator.get("/apps/shop/status")

    def is_(self, release: str, status: str) -> Callable[[], bool]:
        """Whether a release is the newest and has this status."""
        return lambda: (self.status().text("release_id"), self.status().text("status")) == (release, status)

    def apply(self, body: str) -> Reply:
        """Apply a manifest."""
        answer = self.operator.send("/apps/apply", body)
        assert answer.status == 200, answer.body
        return answer

    def nodes(self) -> dict[str, str]:
        """The agents and their status, as `yoq nodes` shows them."""
        return {agent.text("id"): agent.text("status") for agent in self.operator.get("/agents").objects()}


def runs(*agents: Agent) -> dict[str, str]:
    """Which images run or are to run, and where."""
    return {
        assignment.text("image"): assignment.text("agent_id")
        for agent in agents
        for assignment in agent.assignments()
        if assignment.text("status") == "running"
    }


def test_the_story(database_url: str, tmp_path: Path) -> None:
    """Canary, failure, rollback, pause, restart, resume, drain, loss of an agent; the trail tells it in order."""
    settings = {
        "YOQ_DATABASE_URL": database_url,
        "YOQ_API_TOKEN": ADMIN,
        "YOQ_JOIN_TOKEN": JOIN,
        "YOQ_AGENT_TIMEOUT": TIMEOUT,
    }
    with serve(tmp_path, **settings) as server:
        shop = Shop(server.url)
        ann, bob = (Agent(server.url, JOIN, f"10.0.0.{number}", wg_public_key=f"key{number}") for number in (1, 2))
        assert bob.registered.number("node_id") == 2
        ann.held.add("db:3")
        bob.held.add("db:3")
        with working(ann, bob):
            releases = _roll_out_and_fail(shop, ann, bob)
            third = shop.apply(manifest(3)).text("release_id")
            awaited("two of three", lambda: shop.status().number("completed_targets") == 2)
            paused = shop.operator.send("/apps/shop/rollout/pause", "{}")
            assert paused.body == f'{{"app_name":"shop","release_id":"{third}","rollout_control_state":"paused"}}'
            assert shop.status().text("rollout_state") == "blocked"
            _stop(server)
            with serve(tmp_path, **settings) as again:
                for client in (shop.operator, ann.client, bob.client):
                    client.url = again.url
                assert shop.status().text("rollout_control_state") == "paused"
                _resume_drain_and_lose(shop, ann, bob, third)
                entries = again("GET", "/v1/audit?limit=500").json()
                assert again("GET", "/health").json() == {"status": "ok"}
    assert max(client.slowest for client in (shop.operator, ann.client, bob.client)) < 5
    _tell(entries, ann, bob, [*releases, third])


def _roll_out_and_fail(shop: Shop, ann: Agent, bob: Agent) -> list[str]:
    """Release 1 rolls out over both agents; of release 2 one service fails, and release 1 is back by itself."""
    answer = shop.apply(manifest(1))
    assert (answer.text("status"), answer.text("rollout_state")) == ("in_progress", "starting")
    assert shop.operator.send("/apps/apply", manifest(1)).body == '{"error":"apply already in progress"}'
    first = answer.text("release_id")
    awaited("release 1", shop.is_(first, "completed"))
    before = runs(ann, bob)
    assert set(before) == {"web:1", "api:1", "db:1"}
    assert set(before.values()) == {ann.id, bob.id}
    for agent in (ann, bob):
        agent.broken["api:2"] = "image_pull_failed"
    second = shop.apply(manifest(2)).text("release_id")
    awaited("the end of release 2", shop.is_(second, "failed"))
    status = shop.status()
    assert status.text("message") == "one or more rollout targets failed readiness checks"
    assert '"workload_name":"api","reason":"image_pull_failed"' in status.body
    assert status.text("previous_successful_release_id") == first
    awaited("release 1 again", lambda: runs(ann, bob) == before)
    for agent in (ann, bob):
        agent.broken.clear()
    return [first, second]


def _resume_drain_and_lose(shop: Shop, ann: Agent, bob: Agent, third: str) -> None:
    """Release 3 goes on where it was; one agent is drained, the last one vanishes, and a new one takes over."""
    shop.operator.send("/apps/shop/rollout/resume", "{}")
    assert shop.is_(third, "in_progress")()
    for agent in (ann, bob):
        agent.held.clear()
    awaited("release 3", shop.is_(third, "completed"))
    assert set(runs(ann, bob)) == {"web:3", "api:3", "db:3"}
    assert shop.operator.send(f"/agents/{bob.id}/drain").body == '{"status":"draining"}'
    awaited("bob's end", lambda: bob.stopped)
    awaited("bob's services elsewhere", lambda: runs(ann) == dict.fromkeys(("web:3", "api:3", "db:3"), ann.id))
    assert shop.nodes()[ann.id] == "active"
    assert shop.nodes()[bob.id] in ("draining", "offline")  # it has ended, and may have been silent for long
    cat = Agent(shop.operator.url, JOIN, "10.0.0.3")
    with working(cat):
        ann.vanish()
        awaited("ann offline", lambda: shop.nodes()[ann.id] == "offline")
        awaited("everything with cat", lambda: runs(cat) == dict.fromkeys(("web:3", "api:3", "db:3"), cat.id))
        assert shop.status().text("status") == "completed"


def _tell(entries: list[dict[str, Any]], ann: Agent, bob: Agent, releases: list[str]) -> None:
    """The trail from its beginning: each deed with who did it; what happened by itself is the system's."""
    told = [(entry["actor"], entry["action"], entry["target"], entry["outcome"]) for entry in reversed(entries)]
    told.remove(("system", "agent_offline", bob.id, "ok"))  # some time after it had ended
    assert told == [
        ("join-token", "agent_register", "10.0.0.1", "ok"),
        ("join-token", "agent_register", "10.0.0.2", "ok"),
        ("api-token", "app_apply", "shop", "ok"),
        ("api-token", "app_apply", "shop", "failed"),
        ("system", "app_rollout_end", "shop", "ok"),
        ("api-token", "app_apply", "shop", "ok"),
        ("system", "app_rollout_end", "shop", "failed"),
        ("api-token", "app_apply", "shop", "ok"),
        ("api-token", "app_pause", "shop", "ok"),
        ("api-token", "app_resume", "shop", "ok"),
        ("system", "app_rollout_end", "shop", "ok"),
        ("api-token", "agent_drain", bob.id, "ok"),
        ("system", "app_move", "shop", "ok"),
        ("system", "agent_drain_end", bob.id, "ok"),
        ("join-token", "agent_register", "10.0.0.3", "ok"),
        ("system", "agent_offline", ann.id, "ok"),
        ("system", "app_move", "shop", "ok"),
    ]
    ends = [entry["details"] for entry in reversed(entries) if entry["action"] == "app_rollout_end"]
    assert [(end["release_id"], end["status"]) for end in ends] == [
        (releases[0], "completed"),
        (releases[1], "failed"),
        (releases[2], "completed"),
    ]


def _stop(server: Served) -> None:
    """Stop the server as an operator does."""
    server.process.terminate()
    server.process.wait(30)
