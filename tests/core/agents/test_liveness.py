"""Liveness: who is silent for too long is offline, and forgotten after an hour; the clock is the test's."""

from __future__ import annotations

import time

import pytest

from tests.conftest import MakeApp
from tests.support.agents import Cluster
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
    now = time.time()
    for passed, status in ((0, "active"), (29, "active"), (31, "offline")):
        monkeypatch.setattr(time, "time", lambda passed=passed: now + passed)
        with cluster.app.app_context():
            liveness.expire_agents()
        assert cluster.agent(agent)["status"] == status
