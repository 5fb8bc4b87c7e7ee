"""Agents over HTTP: registration, heartbeats, draining, labels, and who may do which."""

from __future__ import annotations

import json
import re
import threading
import time
from itertools import count
from typing import Any

import pytest

from tests.conftest import ADMIN, Api, MakeApp
from tests.core.operations.test_hot_path import statements
from tests.support.agents import JOIN, Cluster, registration
from tests.support.door import behind
from yoq_web.http.endpoints import find_declaration
from yoq_web.scopes import JOINING

on_one_database = pytest.mark.parametrize("backend", ["sqlite"])


def test_an_agent_registers_and_is_listed(make_app: MakeApp) -> None:
    """The whole document, in yoq's key order, with what was never set left out; the trail names the join token."""
    cluster = Cluster(make_app)
    before = int(time.time())
    bare = cluster.join()
    rich = cluster.join(
        address="10.0.0.6:7701",
        agent_api_port=7701,
        wg_public_key="k" * 44,
        wg_listen_port=5000,
        role="agent",
        region="fra",
        labels="ssd, eu",
        gpu_count=2,
        gpu_vram_mb=16_000,
        gpu_model="A100",
    )
    answer = cluster.operator("GET", "/v1/agents")
    first, second = answer.get_json()
    assert list(first) == [
        *("id", "address", "status", "cpu_cores", "memory_mb", "cpu_used", "memory_used_mb", "containers"),
        *("last_heartbeat", "role", "labels", "registered_at", "drained"),
    ]
    assert before <= first["last_heartbeat"] == first["registered_at"] <= time.time()
    del second["last_heartbeat"], second["registered_at"]
    assert second == {
        "id": rich,
        "address": "10.0.0.6:7701",
        "status": "active",
        "agent_api_port": 7701,
        "cpu_cores": 4,
        "memory_mb": 8192,
        "cpu_used": 0,
        "memory_used_mb": 0,
        "containers": 0,
        "node_id": 1,
        "wg_public_key": "k" * 44,
        "overlay_ip": "10.40.0.1",
        "role": "agent",
        "region": "fra",
        "labels": "ssd, eu",
        "gpu_count": 2,
        "gpu_model": "A100",
        "gpu_vram_mb": 16_000,
        "drained": False,
    }
    assert (first["id"], first["role"], first["labels"]) == (bare, "both", "")
    assert [
        (e["actor"], e["actor_kind"], e["action"], e["target"], e["details"]) for e in cluster.operator.entries()
    ] == [
        ("join-token", "join", "agent_register", "10.0.0.6:7701", {"agent": rich}),
        ("join-token", "join", "agent_register", "10.0.0.5", {"agent": bare}),
    ]


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"token": None, "address": None}, "missing token field"),
    ({"address": None, "cpu_cores": None}, "missing address field"),
    ({"cpu_cores": None, "memory_mb": None}, "missing cpu_cores field"),
    ({"cpu_cores": "4"}, "missing cpu_cores field"),
    ({"memory_mb": None, "cpu_cores": 0}, "missing memory_mb field"),
    ({"cpu_cores": 0, "memory_mb": 0}, "invalid cpu_cores"),
    ({"cpu_cores": 10_001}, "invalid cpu_cores"),
    ({"memory_mb": 10_000_001, "agent_api_port": 0}, "invalid memory_mb"),
    ({"agent_api_port": 65_536, "address": "a;b"}, "invalid agent_api_port"),
    ({"address": "it's", "token": "x"}, "invalid address"),
    ({"address": ""}, "invalid address"),
    ({"address": "a" * 257}, "invalid address"),
    ({"token": "x" * 32, "wg_public_key": ""}, "invalid token"),
    ({"wg_public_key": 'k"', "wg_listen_port": 0}, "invalid wg_public_key"),
    ({"wg_public_key": "k", "wg_listen_port": 65_536}, "invalid wg_listen_port"),
    ({"role": "r" * 33}, "invalid role"),
    ({"region": "r" * 129}, "invalid region"),
    ({"labels": "l" * 513}, "invalid labels"),
    ({"labels": "\0"}, "invalid labels"),
    ({"gpu_model": "m" * 129}, "invalid gpu_model"),
    ({"gpu_count": 2**32}, "gpu_count too large"),
]


@on_one_database
def test_what_is_wrong_with_a_registration_is_said_in_yoqs_order(make_app: MakeApp) -> None:
    """Missing fields come before invalid ones; nothing is stored or recorded. On yoq's route odd types are absent."""
    cluster = Cluster(make_app)
    for path in ("/v1/agents", "/agents/register"):
        for fields, text in FIELDS:
            answer = cluster.agents("POST", path, json=registration(**fields))
            assert (answer.status_code, answer.get_json()["error"]) == (400, text), fields
        for body, text in (
            (b"", "missing request body"),
            (b"nonsense", "missing token field"),
            (b"[]", "missing token field"),
        ):
            assert cluster.agents("POST", path, data=body).get_json()["error"] == text
    assert cluster.operator("GET", "/v1/agents").get_json() == []
    assert cluster.operator.entries() == []
    odd = registration(cpu_cores=2.9, agent_api_port="x", wg_listen_port=-1, role=5, gpu_count=-3, gpu_vram_mb=-1)
    assert cluster.agents("POST", "/v1/agents", json=odd).status_code == 400
    found = cluster.agent(cluster.agents("POST", "/agents/register", json=odd).get_json()["id"])
    assert (found["cpu_cores"], found["role"], found["gpu_vram_mb"]) == (2, "both", 0)
    assert "agent_api_port" not in found


def test_numbers_of_the_overlay_network_are_the_smallest_free_ones(make_app: MakeApp) -> None:
    """A number that became free is given again; who is an agent and no server learns of servers only."""
    cluster = Cluster(make_app)
    ids = [cluster.join(wg_public_key="k", role=role) for role in ("server", "agent", "both")]
    behind(cluster.url, f"DELETE FROM wireguard_peers WHERE agent_id = '{ids[1]}'")
    answer = cluster.agents("POST", "/v1/agents", json=registration(wg_public_key="n", role="agent"))
    assert list(answer.get_json()) == ["id", "node_id", "overlay_ip", "peers"]
    assert (answer.get_json()["node_id"], answer.get_json()["overlay_ip"]) == (2, "10.40.0.2")
    assert [peer["node_id"] for peer in answer.get_json()["peers"]] == [1, 3]
    last = cluster.agents("POST", "/v1/agents", json=registration(wg_public_key="m")).get_json()
    assert [peer["node_id"] for peer in last["peers"]] == [1, 2, 3]
    numbers = {
        query: [peer["node_id"] for peer in cluster.agents("GET", f"/wireguard/peers{query}").get_json()]
        for query in ("", "?servers_only=1", "?servers_only=2", "?x=1&servers_only=1")
    }
    assert numbers == {
        "": [1, 2, 3, 4],
        "?servers_only=1": [1, 3, 4],
        "?servers_only=2": [1, 2, 3, 4],
        "?x=1&servers_only=1": [1, 3, 4],
    }


def test_registrations_at_once_get_numbers_of_their_own(make_app: MakeApp) -> None:
    """Twelve agents that register at the same moment get the numbers 1 to 12, each one of them."""
    cluster = Cluster(make_app)
    start = threading.Barrier(12)
    statuses: list[int] = []

    def join() -> None:
        client = cluster.app.test_client()
        start.wait(10)
        headers = {"Authorization": f"Bearer {JOIN}"}
        statuses.append(client.post("/v1/agents", json=registration(wg_public_key="k"), headers=headers).status_code)

    threads = [threading.Thread(target=join) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [201] * 12
    found = [peer["node_id"] for peer in cluster.agents("GET", "/v1/agents/peers").get_json()]
    assert found == list(range(1, 13))


def test_a_heartbeat_is_one_statement(make_app: MakeApp) -> None:
    """It costs one UPDATE and nothing else, and is not recorded."""
    cluster = Cluster(make_app)
    agent = cluster.join(wg_public_key="k")
    with statements(cluster.app) as heard:
        answer = cluster.agents("POST", f"/v1/agents/{agent}/heartbeat", json={"cpu_used": 5, "gpu_used": 1})
    assert (answer.status_code, answer.text) == (200, '{"status":"active","peers_count":1}')
    kinds = [statement.split()[0] for statement in heard]
    assert kinds == ["BEGIN", "UPDATE", "COMMIT"], heard
    assert "Audit-Id" not in answer.headers
    assert [entry["action"] for entry in cluster.operator.entries()] == ["agent_register"]


def test_a_heartbeat_reports_and_answers_how_the_agent_stood_before(make_app: MakeApp) -> None:
    """What it says is stored; an offline agent is told so once, a draining one always."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    said = {"cpu_used": 1500, "memory_used_mb": 4, "containers": 3, "gpu_used": 1, "gpu_health": "x" * 20}

    def beat() -> str:
        answer = cluster.agents("POST", f"/v1/agents/{agent}/heartbeat", json=said)
        status: str = answer.get_json()["status"]
        return status

    cluster.age(agent, 100)
    behind(cluster.url, "UPDATE agents SET status = 'offline'")
    assert [beat(), beat()] == ["offline", "active"]
    found = cluster.agent(agent)
    assert (found["status"], found["cpu_used"], found["memory_used_mb"], found["containers"]) == ("active", 1500, 4, 3)
    assert found["last_heartbeat"] >= time.time() - 60
    [row] = behind(cluster.url, "SELECT gpu_health FROM agents")
    assert row["gpu_health"] == "x" * 16
    cluster.operator("POST", f"/v1/agents/{agent}/drain")
    assert [beat(), beat()] == ["draining", "draining"]
    cluster.operator("POST", f"/v1/agents/{agent}/undrain")
    assert beat() == "active"
    assert cluster.agents("POST", "/v1/agents/0123456789ab/heartbeat", json={}).status_code == 404
    assert (
        cluster.agents("POST", f"/v1/agents/{agent}/heartbeat", data=b"").get_json()["error"] == "missing request body"
    )


def test_operators_drain_and_label(make_app: MakeApp) -> None:
    """Each deed is recorded with the agent as its target; an agent that is not there is 404 and no deed."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    for method, action, body in (
        ("POST", "drain", None),
        ("POST", "drain", None),
        ("POST", "undrain", None),
        ("PUT", "labels", {"labels": "ssd,eu"}),
    ):
        answer = cluster.operator(method, f"/v1/agents/{agent}/{action}", json=body)
        assert answer.status_code == 200
        assert cluster.operator(method, f"/v1/agents/0123456789ab/{action}", json=body).status_code == 404
    assert (cluster.agent(agent)["status"], cluster.agent(agent)["labels"]) == ("active", "ssd,eu")
    assert cluster.operator("PUT", f"/v1/agents/{agent}/labels", json={"labels": "é" * 257}).status_code == 400
    address = {"address": "10.0.0.5"}
    assert [(e["actor"], e["action"], e["target"], e["details"]) for e in cluster.operator.entries(5)] == [
        ("api-token", "agent_label", agent, {"labels": "ssd,eu", "before": ""} | address),
        ("api-token", "agent_undrain", agent, {"before": "draining"} | address),
        ("api-token", "agent_drain", agent, {"before": "draining"} | address),
        ("system", "agent_drain_end", agent, address),
        ("api-token", "agent_drain", agent, {"before": "active"} | address),
    ]
    assert cluster.operator("GET", "/v1/agents/0123456789ab").status_code == 404


@on_one_database
def test_the_join_token_opens_the_agents_routes_and_no_others(make_app: MakeApp) -> None:
    """On the agents' own routes every other token is refused, the administrator's too; elsewhere the join token is."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    own = [
        ("POST", "/v1/agents"),
        ("GET", "/v1/agents/peers"),
        ("POST", f"/v1/agents/{agent}/heartbeat"),
        ("GET", f"/v1/agents/{agent}/assignments"),
        ("POST", f"/v1/agents/{agent}/assignments/1/status"),
        ("POST", "/agents/register"),
        ("GET", "/wireguard/peers"),
        ("POST", f"/agents/{agent}/heartbeat"),
        ("GET", f"/agents/{agent}/assignments"),
        ("POST", f"/agents/{agent}/assignments/1/status"),
    ]
    named = cluster.operator.token("*")
    addresses = (f"10.9.{number // 250}.{number % 250}" for number in count())  # none fails often

    def status(client: Api, method: str, path: str) -> int:
        return client(method, path, json={}, environ_overrides={"REMOTE_ADDR": next(addresses)}).status_code

    for method, path in own:
        for client in (cluster.operator, named, cluster.operator.with_token(None)):
            assert status(client, method, path) == 401, path
        assert status(cluster.agents, method, path) != 401, path
    for rule in cluster.app.url_map.iter_rules():
        declaration = find_declaration(cluster.app.view_functions[rule.endpoint])
        path = re.sub("<.*?>", "1", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if declaration is not None and not (declaration.public or declaration.scope == JOINING):
                assert status(cluster.agents, method, path) in (401, 429), f"{method} {path}"


@on_one_database
def test_without_a_join_token_no_agent_can_join(make_app: MakeApp) -> None:
    """Nothing opens the agents' routes then, an empty token neither; and no token can be given their scope."""
    app = make_app()
    client = app.test_client()
    for value in ("Bearer ", "Bearer None", f"Bearer {ADMIN}", "Bearer \N{GRINNING FACE}".encode().decode("latin-1")):
        assert client.post("/v1/agents", json=registration(), headers={"Authorization": value}).status_code == 401
    wanted = {"name": "sly", "scopes": ["agents:join"]}
    answer = client.post("/v1/tokens", json=wanted, headers={"Authorization": f"Bearer {ADMIN}"})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid scope: agents:join")


@on_one_database
def test_the_join_token_stays_out_of_the_trail_and_the_answers(make_app: MakeApp) -> None:
    """Neither an entry nor an answer to a registration, good or bad, holds it."""
    cluster = Cluster(make_app)
    answers = [
        cluster.agents("POST", "/v1/agents", json=registration(**fields)).text
        for fields in ({}, {"cpu_cores": 0}, {"cpu_cores": JOIN}, {"address": "'" + JOIN})
    ]
    assert JOIN not in json.dumps([answers, cluster.operator.entries(), cluster.operator("GET", "/v1/agents").text])
