"""Answers that yoq's programs can take: with a byte over 64 KiB its agents and its command line abort."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from tests.conftest import MakeApp
from tests.support.agents import Cluster, registration
from yoq_web import find_answer_limit
from yoq_web.agents.models import Agent, WireguardPeer
from yoq_web.apps.models import AssignmentRow
from yoq_web.database.session import unit_of_work

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

TAKEN = 63 * 1024
"""Bytes of a body for which there is room beside the head."""

KEY = "k" * 43 + "="


@contextmanager
def behind(cluster: Cluster) -> Iterator[Session]:
    """A transaction on the database of a cluster."""
    with cluster.app.app_context(), unit_of_work() as session:
        yield session


def fill(cluster: Cluster, numbers: range, role: str) -> None:
    """Let there be members of the overlay network with these numbers, without a registration of each."""
    with behind(cluster) as session:
        like = dict(session.execute(Agent.__table__.select().limit(1)).mappings().one())
        session.execute(insert(Agent), [like | {"id": f"{number:012x}", "role": role} for number in numbers])
        session.execute(
            insert(WireguardPeer),
            [
                {"node_id": number, "agent_id": f"{number:012x}", "public_key": KEY, "endpoint": "10.0.0.100:51820"}
                for number in numbers
            ],
        )


def objects(answer: TestResponse) -> list[dict[str, Any]]:
    """The objects of an array that yoq's client can take."""
    assert answer.status_code == 200, answer.text
    assert len(answer.get_data()) <= TAKEN
    found: list[dict[str, Any]] = answer.get_json()
    return found


def test_a_network_of_many_members(make_app: MakeApp) -> None:
    """All that an agent reads of its peers while that fits, then as many of them as fit; who joins learns its place."""
    cluster = Cluster(make_app)
    cluster.join()
    fill(cluster, range(10, 410), "both")
    first = objects(cluster.agents("GET", "/wireguard/peers"))
    assert [peer["node_id"] for peer in first] == list(range(10, 410))
    assert list(first[0]) == ["node_id", "public_key", "endpoint", "overlay_ip"]
    fill(cluster, range(410, 710), "server")
    for path in ("/wireguard/peers", "/wireguard/peers?servers_only=1"):
        numbers = [peer["node_id"] for peer in objects(cluster.agents("GET", path))]
        assert 400 < len(numbers) < 600
        assert numbers == sorted(numbers)
    for role in ("agent", "both"):
        answer = cluster.agents("POST", "/agents/register", json=registration(wg_public_key=KEY, role=role))
        assert len(answer.get_data()) <= TAKEN
        assert re.match(rb'\{"id":"[0-9a-f]{12}","node_id":\d,"overlay_ip":"10.40.0.\d","peers":\[', answer.get_data())
    assert len(cluster.agents("GET", "/v1/agents/peers").get_json()) == 702


def test_an_agent_with_many_assignments(make_app: MakeApp) -> None:
    """What it has to start comes first, then what runs; what is over is left out where there is no room for it."""
    cluster = Cluster(make_app)
    agent = cluster.join(cpu_cores=100)
    check = json.dumps({"kind": "http", "path": "/" + "p" * 200, "port": 80}, separators=(",", ":"))
    with behind(cluster) as session:
        session.execute(
            insert(AssignmentRow),
            [
                {
                    "id": f"{number:012x}",
                    "agent_id": agent,
                    "app": "shop",
                    "kind": "service",
                    "workload": f"s{number}",
                    "image": "registry.example.com/some/image:1",
                    "command": "",
                    "status": ("failed", "running", "pending", "stopped")[number % 4],
                    "cpu": 10,
                    "memory_mb": 1,
                    "labels": "",
                    "health_check": check,
                    "gpus": 0,
                    "gpu_vram_mb": 0,
                    "created_at": 1,
                }
                for number in range(320)
            ],
        )
    found = objects(cluster.agents("GET", f"/agents/{agent}/assignments"))
    statuses = [item["status"] for item in found]
    assert statuses[:80] == ["pending"] * 80
    assert statuses.count("running") > 30
    assert set(statuses[80:]) == {"running"}
    assert [item["id"] for item in found[:80]] == sorted(item["id"] for item in found[:80])
    assert found[0]["health_check"] == json.loads(check)
    assert len(cluster.agents("GET", f"/v1/agents/{agent}/assignments").get_json()) == 320


def test_an_app_of_many_releases(make_app: MakeApp) -> None:
    """Few are shown whole, many without what only repeats."""
    cluster = Cluster(make_app)
    cluster.join()
    body = {"app_name": "busy", "services": [{"name": name, "image": "i", "cpu_limit": 1} for name in "abc"]}

    def apply(times: int) -> list[dict[str, Any]]:
        """Apply so many times; returns the whole history and the client's."""
        for _ in range(times):
            assert cluster.operator("POST", "/apps/apply", json=body).status_code == 200
        whole: list[dict[str, Any]] = cluster.operator("GET", "/v1/apps/busy/history?limit=500").get_json()
        return whole

    assert apply(2) == objects(cluster.operator("GET", "/apps/busy/history"))
    whole = apply(58)
    found = objects(cluster.operator("GET", "/apps/busy/history"))
    assert [item["id"] for item in found] == [item["id"] for item in whole]
    assert len(found) == 60
    assert whole[0].keys() - found[0].keys() == {"rollout", "release"}


def test_failures_of_long_names(make_app: MakeApp) -> None:
    """Where the details of failures would be too long there are none; the answer says how many there were."""
    cluster = Cluster(make_app)
    cluster.join(cpu_cores=1)
    services = [{"name": f"{number}{'x' * 5_000}", "image": "i", "cpu_limit": 5_000} for number in range(20)]
    rollout = {"parallelism": 20, "failure_action": "pause"}
    body = {"app_name": "long", "services": [service | {"rollout": rollout} for service in services]}
    answer = cluster.operator("POST", "/apps/apply", json=body)
    shown = [answer.get_json(), *objects(cluster.operator("GET", "/apps"))]
    shown += objects(cluster.operator("GET", "/apps/long/history"))
    assert [(found["status"], found["failed_targets"], found["failure_details"]) for found in shown] == [
        ("failed", 20, None)
    ] * 3
    assert len(cluster.operator("GET", "/v1/apps/long").get_json()["failure_details"]) == 20


def test_who_has_a_limit(make_app: MakeApp) -> None:
    """Yoq's programs send no User-Agent, and nobody else leaves it out: all others get answers of any length."""
    app = make_app()
    for headers, limit in (({}, TAKEN), ({"User-Agent": "curl/8.5.0"}, None), ({"User-Agent": ""}, None)):
        with app.test_request_context(headers=headers):
            assert find_answer_limit() == limit


def test_an_app_of_many_services(make_app: MakeApp) -> None:
    """Its documents lose what repeats, then the list of services; a release that is too long to print is refused."""
    cluster = Cluster(make_app)
    cluster.join(cpu_cores=1000, memory_mb=1_000_000)
    releases = []
    for count in (150, 700):
        services = [{"name": f"service-{number}-{'x' * 60}", "image": "i", "cpu_limit": 1} for number in range(count)]
        body = {"app_name": "big", "services": services, "crons": []}
        answer = cluster.operator("POST", "/apps/apply", json=body)
        assert (answer.status_code, answer.get_json()["status"]) == (200, "completed")
        assert len(answer.get_data()) <= TAKEN
        assert answer.get_json()["completed_targets"] == count
        releases.append(answer.get_json()["release_id"])
        status = cluster.operator("GET", "/apps/big/status")
        assert len(status.get_data()) <= TAKEN
        assert status.get_json()["app_name"] == "big"
        assert objects(cluster.operator("GET", "/apps"))[0]["release_id"] == status.get_json()["release_id"]
        assert objects(cluster.operator("GET", "/apps/big/history"))[0]["id"] == status.get_json()["release_id"]
        assert objects(cluster.operator("GET", "/v1/status"))
    printed = cluster.operator("POST", "/apps/big/rollback", json={"print": True, "release_id": releases[0]})
    assert printed.status_code == 200
    assert printed.get_json()["app_name"] == "big"
    refused = cluster.operator("POST", "/apps/big/rollback", json={"print": True, "release_id": releases[1]})
    assert (refused.status_code, refused.text) == (500, '{"error":"the answer is too long for this client"}')
