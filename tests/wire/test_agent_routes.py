"""yoq's routes of agents: every answer and every refusal, in the order in which yoq looks."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import MakeApp
from tests.support.agents import Cluster
from tests.support.apps import Shop
from tests.wire.test_routes import AGENT, NOT_ALLOWED, NOT_FOUND, ONE, error, told

# The domains have tests on both databases; here the translation is looked at.
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def test_the_routes_of_agents(make_app: MakeApp) -> None:
    """Ids are looked at before methods and paths; unknown agents are answered like known ones."""
    cluster = Cluster(make_app)
    own, operator = cluster.agents, cluster.operator
    answers: list[tuple[TestResponse, tuple[int, str]]] = [
        (operator("GET", "/agents"), (200, "[]")),
        (operator("POST", "/agents"), NOT_FOUND),
        (operator("GET", "/agents/register"), error(400, "invalid agent id")),
        (operator("GET", f"/agents/{AGENT}"), NOT_FOUND),
        (operator("GET", "/agents/ABC"), error(400, "invalid agent id")),
        (operator("DELETE", "/agents/x/nothing"), error(400, "invalid agent id")),
        (operator("GET", f"/agents/{AGENT}/nothing"), NOT_FOUND),
        (operator("GET", f"/agents/{'a' * 65}/drain"), error(400, "invalid agent id")),
        (operator("GET", f"/agents/{AGENT}/drain"), NOT_ALLOWED),
        (operator("POST", f"/agents/{AGENT}/labels"), NOT_ALLOWED),
        (operator("GET", f"/agents/{AGENT}/heartbeat"), NOT_ALLOWED),
        (operator("POST", f"/agents/{AGENT}/assignments"), NOT_ALLOWED),
        (operator("GET", f"/agents/{AGENT}/assignments/1/status"), NOT_ALLOWED),
        (operator("POST", f"/agents/{AGENT}/drain"), (200, '{"status":"draining"}')),
        (operator("POST", "/agents/ABC/drain"), error(400, "invalid agent id")),
        (operator("PUT", f"/agents/{AGENT}/labels"), error(400, "missing request body")),
        (operator("PUT", f"/agents/{AGENT}/labels", json={"labels": 1}), error(400, "missing labels field")),
        (operator("PUT", f"/agents/{AGENT}/labels", json={"labels": "l" * 513}), error(400, "invalid labels")),
        (operator("PUT", f"/agents/{AGENT}/labels", json={"labels": "ssd"}), (200, '{"ok":true}')),
        (own("POST", f"/agents/{AGENT}/heartbeat"), error(400, "missing request body")),
        (own("POST", f"/agents/{AGENT}/heartbeat", json={}), (200, '{"status":"ok"}')),
        (own("POST", "/agents/ABC/heartbeat"), error(400, "invalid agent id")),
        (operator("PUT", "/agents/ABC/labels"), error(400, "invalid agent id")),
        (own("GET", f"/agents/{AGENT}/assignments"), (200, "[]")),
        (own("GET", "/agents/ABC/assignments"), error(400, "invalid agent id")),
        (own("POST", f"/agents/{AGENT}/assignments/1/status"), error(400, "missing request body")),
        (own("POST", f"/agents/{AGENT}/assignments/1/status", json={}), error(400, "missing status field")),
        (
            own("POST", f"/agents/{AGENT}/assignments/1/status", json={"status": "x"}),
            error(400, "invalid status value"),
        ),
        (
            own("POST", f"/agents/{AGENT}/assignments/1/status", json={"status": "running"}),
            (200, '{"ok":true,"status":"running"}'),
        ),
        (own("GET", "/wireguard/peers"), (200, "[]")),
        (operator("POST", "/wireguard/peers"), NOT_FOUND),
        (own("GET", "/agents"), error(401, "unauthorized")),
    ]
    for number, (answer, expected) in enumerate(answers):
        assert told(answer) == expected, number
    trail = [(entry["action"], entry["target"], entry["outcome"]) for entry in operator.entries()]
    assert [entry for entry in trail if entry[0] != "access_denied"] == [
        ("agent_label", AGENT, "ok"),
        ("agent_drain", AGENT, "ok"),
    ]


def test_an_agent_reports_on_its_own_assignments_only(make_app: MakeApp) -> None:
    """What one says of another's changes nothing; of its own it says the status and the reason, or takes it back."""
    cluster = Cluster(make_app)
    mine, other = cluster.join(), cluster.join(cpu_cores=1, memory_mb=1)
    cluster.operator("POST", "/apps/apply", json=ONE)

    def seen() -> dict[str, Any]:
        [assignment] = cluster.agents("GET", f"/agents/{mine}/assignments").get_json()
        found: dict[str, Any] = assignment
        return found

    identifier = seen()["id"]
    failed = {"status": "failed", "reason": "image_pull_failed"}
    assert told(cluster.agents("POST", f"/agents/{other}/assignments/{identifier}/status", json=failed))[0] == 200
    assert seen()["status"] == "pending"
    cluster.agents("POST", f"/agents/{mine}/assignments/{identifier}/status", json=failed)
    assert list(seen()) == [
        *("id", "agent_id", "image", "command", "status", "status_reason", "cpu_limit", "memory_limit_mb"),
        *("app_name", "workload_kind", "workload_name"),
    ]
    assert (seen()["status"], seen()["status_reason"]) == ("failed", "image_pull_failed")
    cluster.agents("POST", f"/agents/{mine}/assignments/{identifier}/status", json={"status": "running"})
    assert (seen()["status"], seen().get("status_reason")) == ("running", None)


def test_a_draining_agent_is_told_so_when_it_has_nothing_left(make_app: MakeApp) -> None:
    """An agent of yoq's ends at that word: it hears it once its services have a place elsewhere, not before."""
    shop = Shop(make_app)
    agent = shop.join()
    shop.operator("POST", "/apps/apply", json=ONE)
    shop.operator("POST", f"/agents/{agent}/drain")

    def beat() -> str:
        shop.run_due_work()
        return shop.agents("POST", f"/agents/{agent}/heartbeat", json={}).text

    assert [beat(), beat()] == ['{"status":"active","peers_count":0}'] * 2
    assert '"status":"draining"' in shop.operator("GET", "/agents").text
    assert shop.agents("POST", f"/v1/agents/{agent}/heartbeat", json={}).get_json()["status"] == "draining"
    assert list(shop.running(agent)) == ["web"]
    shop.join()
    assert [beat(), beat()] == ['{"status":"draining","peers_count":0}'] * 2
    assert shop.running(agent) == {}
