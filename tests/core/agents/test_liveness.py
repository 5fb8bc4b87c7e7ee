"""Liveness: who is silent for too long is offline, and forgotten after an hour; the clock is the test's."""

from __future__ import annotations

import time

import pytest

from tests.conftest import MakeApp
from tests.support.agents import Cluster
from tests.support.clocks import YEAR
from yoq_web.agents import liveness


def look(cluster: Cluster, after: int = 0) -> None:
    """Do what is due so many seconds from now."""
    with cluster.app.app_context():
        liveness.expire_agents_at(int(time.time()) + after)


def test_a_silent_agent_goes_offline_and_comes_back(make_app: MakeApp) -> None:
    """After thirty seconds it is offline, which the system records once; its next beat makes it active again."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    look(cluster, 29)
    assert cluster.agent(agent)["status"] == "active"
    look(cluster, 35)
    look(cluster, 36)
    assert cluster.agent(agent)["status"] == "offline"
    assert [(e["actor"], e["actor_kind"], e["action"], e["target"]) for e in cluster.operator.entries(2)] == [
        ("system", "system", "agent_offline", agent),
        ("join-token", "join", "agent_register", "10.0.0.5"),
    ]
    assert cluster.agents("POST", f"/v1/agents/{agent}/heartbeat", json={}).get_json()["status"] == "offline"
    assert cluster.agent(agent)["status"] == "active"


def test_a_silent_agent_is_forgotten_after_an_hour(make_app: MakeApp) -> None:
    """Its row and its place in the overlay network go, and the number is free again; the system records it."""
    cluster = Cluster(make_app)
    agent = cluster.join(wg_public_key="k")
    look(cluster, 60)
    look(cluster, 3595)
    assert cluster.agent(agent)["status"] == "offline"
    look(cluster, 3605)
    assert cluster.operator("GET", "/v1/agents").get_json() == []
    assert cluster.operator.entries(1)[0]["action"] == "agent_forget"
    assert cluster.agent(cluster.join(wg_public_key="k"))["node_id"] == 1


@pytest.mark.parametrize("backend", ["sqlite"])
def test_silence_counts_from_when_somebody_listens(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start agents have as long as one may be silent: nobody could beat while nobody served."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    cluster.age(agent, 500)
    now, monotonic = time.time(), time.monotonic()
    for passed, status in ((0, "active"), (29, "active"), (31, "offline")):
        monkeypatch.setattr(time, "time", lambda passed=passed: now + passed)
        monkeypatch.setattr(time, "monotonic", lambda passed=passed: monotonic + passed)
        with cluster.app.app_context():
            liveness.expire_agents()
        assert cluster.agent(agent)["status"] == status


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_a_clock_that_jumps_silences_nobody(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    """Who beats on stays active, wherever the clock goes; who is silent goes offline, and is no sooner forgotten."""
    cluster = Cluster(make_app)
    living, silent = cluster.join(), cluster.join()
    now, monotonic = time.time(), time.monotonic()

    def look_at(passed: int, moved: int) -> None:
        monkeypatch.setattr(time, "time", lambda: now + passed + moved)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic + passed)
        with cluster.app.app_context():
            liveness.expire_agents()

    look_at(0, 0)
    look_at(40, 0)
    for agent in (living, silent):
        cluster.agents("POST", f"/v1/agents/{agent}/heartbeat", json={})
    look_at(41, jump)
    assert [cluster.agent(one)["status"] for one in (living, silent)] == ["active", "active"]
    for passed in (42, 70, 72, 74):
        cluster.agents("POST", f"/v1/agents/{living}/heartbeat", json={})
        look_at(passed, jump)
    assert cluster.agent(living)["status"] == "active"
    assert cluster.agent(silent)["status"] == "offline"
