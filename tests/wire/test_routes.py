"""yoq's routes, one by one: every answer and every refusal, in the order in which yoq looks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import MakeApp
from tests.support.agents import Cluster

# The domains have tests on both databases; here the translation is looked at.
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

AGENT = "0123456789ab"
ONE = {"app_name": "shop", "services": [{"name": "web", "image": "web:1"}], "workers": [{"name": "mail", "image": "m"}]}


def told(answer: TestResponse) -> tuple[int, str]:
    """Status and body; every answer is JSON and ends its connection."""
    assert answer.headers["Connection"] == "close"
    assert answer.content_type == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.get_data()) or answer.request.method == "HEAD"
    return answer.status_code, answer.text


def error(status: int, text: str) -> tuple[int, str]:
    """A refusal as yoq words it: one member and nothing else."""
    return status, f'{{"error":"{text}"}}'


NOT_FOUND = error(404, "not found")
NOT_ALLOWED = error(405, "method not allowed")


def test_the_routes_of_apps(make_app: MakeApp) -> None:
    """Each with its answers and its refusals in yoq's order, and what the trail has of it."""
    cluster = Cluster(make_app)
    operator = cluster.operator

    def post(path: str, body: Any = None) -> TestResponse:
        if body is None or isinstance(body, bytes):
            return operator("POST", path, data=body or b"")
        return operator("POST", path, json=body)

    bad = {"services": [{"name": "web", "image": "i", "rollout": {"strategy": "sideways"}}]}
    refusals = [
        (None, error(400, "missing request body")),
        (b"nonsense", error(400, "missing app_name")),
        (bad, error(400, "missing app_name")),
        (bad | {"app_name": "shop"}, error(400, "invalid rollout config")),
        ({"app_name": "shop", "services": []}, error(400, "no services to deploy")),
    ]
    for path in ("/apps/apply", "/apps/dry-run"):
        for body, expected in refusals:
            assert told(post(path, body)) == expected, (path, body)
    assert told(post("/apps/apply", ONE)) == error(400, "no agents available")
    assert [(e["action"], e["target"], e["outcome"]) for e in reversed(operator.entries())] == [
        *[("app_apply", "", "failed")] * 3,
        *[("app_apply", "shop", "failed")] * 3,
    ]
    agent = cluster.join()
    before = len(operator.entries())
    answers: list[tuple[TestResponse, Any]] = [
        (operator("GET", "/apps"), (200, "[]")),
        (operator("GET", "/apps/shop/status"), NOT_FOUND),
        (operator("GET", "/apps/shop/history"), (200, "[]")),
        (post("/apps/shop/rollback"), NOT_FOUND),
        (post("/apps/shop/rollback", {"release_id": "XYZ"}), error(400, "invalid release_id")),
        (post("/apps/shop/rollout/pause", {}), NOT_FOUND),
        (post("/apps/shop/rollout/stop", {}), NOT_FOUND),
        (post("/apps/shop/workers/mail/run", {}), NOT_FOUND),
        (post("/apps/shop/training/job/start", {}), NOT_FOUND),
        (operator("GET", "/apps/shop/training/job/status"), NOT_FOUND),
        (operator("GET", "/apps/shop/training/job/start"), NOT_ALLOWED),
        (operator("GET", "/apps/shop/rollback"), NOT_ALLOWED),
        (operator("DELETE", "/apps/shop/status"), NOT_ALLOWED),
        (post("/apps/shop/history"), NOT_ALLOWED),
        (operator("GET", "/apps/shop/rollout/pause"), NOT_ALLOWED),
        (operator("GET", "/apps/a'b/status"), error(400, "invalid app name")),
        (post("/apps/a'b/status"), error(400, "invalid app name")),
        (post("/apps/a;b/rollback"), error(400, "invalid app name")),
        (post("/apps/a;b/rollout/resume"), error(400, "invalid app name")),
        (operator("GET", "/apps/apply"), NOT_FOUND),
        (operator("GET", "/apps/shop"), NOT_FOUND),
        (post("/apps", ONE), NOT_FOUND),
        (operator("GET", "/deploy"), NOT_FOUND),
        (post("/deploy", {"services": [{"image": "i"}]}), (200, '{"placed":1,"failed":0}')),
    ]
    for number, (answer, expected) in enumerate(answers):
        assert told(answer) == expected, number
    assert len(operator.entries()) == before + 1  # the last one
    assert told(post("/apps/apply", ONE))[0] == 200
    ran = '{"app_name":"shop","worker":"mail","placed":1,"failed":0,"message":"worker scheduled"}'
    assert told(post("/apps/shop/workers/mail/run", {})) == (200, ran)
    assert len(cluster.agents("GET", f"/agents/{agent}/assignments").get_json()) == 3


def test_a_command_as_nginx_has_it(make_app: MakeApp) -> None:
    """A service whose command has quotes and a semicolon is placed, and its agent reads the command as it was sent."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    body = b'{"app_name":"shop","services":[{"name":"web","image":"nginx:1","command":["nginx","-g","daemon off;"]}]}'
    applied = cluster.operator("POST", "/apps/apply", data=body)
    assert (applied.get_json()["completed_targets"], applied.get_json()["service_count"]) == (1, 1)
    assert '"remaining_targets":0' in cluster.operator("GET", "/apps/shop/status").text
    assigned = cluster.agents("GET", f"/agents/{agent}/assignments").text
    assert ',"image":"nginx:1","command":"nginx -g daemon off;","status":"pending",' in assigned


def test_rolling_back(make_app: MakeApp) -> None:
    """To the last good release or a named one; `print` shows the bytes that were sent and records nothing."""
    cluster = Cluster(make_app)
    operator = cluster.operator
    cluster.join()
    first = b'{ "app_name":"shop", "services":[{"name":"web","image":"web:1"}] }'
    second = first.replace(b"web:1", b"web:2")
    ids = [operator("POST", "/apps/apply", data=body).get_json()["release_id"] for body in (first, second)]
    recorded = len(operator.entries())
    assert told(operator("POST", "/apps/shop/rollback", json={"print": True})) == (200, first.decode())
    named = {"release_id": ids[1], "print": True}
    assert told(operator("POST", "/apps/shop/rollback", json=named)) == (200, second.decode())
    assert told(operator("POST", "/apps/shop/rollback", json={"release_id": "0" * 12})) == NOT_FOUND
    assert len(operator.entries()) == recorded
    answer = operator("POST", "/apps/shop/rollback", json={"print": False}).get_json()
    assert (answer["trigger"], answer["source_release_id"], answer["status"]) == ("rollback", ids[0], "completed")
    assert answer["message"] == f"rollback to {ids[0]} completed: all placements succeeded"
    entry = operator.entries(2)[1]
    assert (entry["action"], entry["target"], entry["outcome"]) == ("app_rollback", "shop", "ok")


def test_the_routes_of_the_cluster_and_of_status(make_app: MakeApp) -> None:
    """Whoever serves is the leader of a cluster; a control plane has no traffic and no kernel maps of its own."""
    cluster = Cluster(make_app)
    operator = cluster.operator
    assert re.fullmatch(
        r'\{"cluster":true,"id":1,"role":"leader","term":1,"peers":0,"leader_id":1\}',
        told(operator("GET", "/cluster/status"))[1],
    )
    assert re.fullmatch(
        r'\{"protocol_version":1,"software_version":"[\d.]+"\}', told(operator("GET", "/cluster/version"))[1]
    )
    member = r'\{"id":1,"unix_ms":\d{13},"software_version":"[\d.]+"\}'
    assert re.fullmatch(member, told(operator("GET", "/cluster/node-info"))[1])
    members = r'\[\{"id":1,"software_version":"[\d.]+","unix_ms":\d{13},"reachable":1\}\]'
    assert re.fullmatch(members, told(operator("GET", "/cluster/peers/info"))[1])
    for path in ("/v1/status", "/v1/status/bpf", "/v1/metrics", "/v1/metrics?mode=pairs", "/v1/metrics?service=web"):
        assert told(operator("GET", path)) == (200, "[]")
    for method, path in (
        ("GET", "/cluster/ca"),
        ("POST", "/cluster/propose"),
        ("GET", "/cluster/x"),
        ("POST", "/v1/status"),
        ("DELETE", "/v1/metrics"),
    ):
        assert told(operator(method, path)) == NOT_FOUND, path
    agent = cluster.join()
    operator("POST", "/apps/apply", json=ONE | {"services": [{"name": name, "image": "i"} for name in ("web", "db")]})
    web = cluster.agents("GET", f"/agents/{agent}/assignments").get_json()[0]["id"]
    cluster.agents("POST", f"/agents/{agent}/assignments/{web}/status", json={"status": "running"})
    status = told(operator("GET", "/v1/status"))[1]
    expected = (
        r'\[\{"name":"db","status":"stopped","health":null,"cpu_pct":0.0,"memory_bytes":0,"running":0,"desired":1,'
        r'"uptime_secs":0\},\{"name":"web","status":"running","health":null,"cpu_pct":0.0,"memory_bytes":0,"running":1,'
        r'"desired":1,"uptime_secs":\d+\}\]'
    )
    assert re.fullmatch(expected, status), status


def test_scopes_and_methods_come_in_yoqs_order(make_app: MakeApp) -> None:
    """401 before 403 before 400, 404 and 405, for paths that are and that are not; HEAD is no GET."""
    cluster = Cluster(make_app)
    nobody = cluster.operator.with_token(None)
    tokens = {
        scope: cluster.operator.token(scope, name=f"t{number}")
        for number, scope in enumerate(("apps:read", "apps:write", "agents:read", "agents:write", "cluster:read"))
    }
    cases = [
        ("GET", "/apps", "apps:read", "agents:write", 200),
        ("GET", "/apps/x/nothing", "apps:read", "agents:write", 404),
        ("POST", "/apps/dry-run", "apps:read", "agents:write", 400),
        ("POST", "/apps/apply", "apps:write", "apps:read", 400),
        ("DELETE", "/apps/x/nothing", "apps:write", "apps:read", 404),
        ("GET", "/apps/x/rollback", "apps:read", "agents:read", 405),
        ("POST", "/deploy", "apps:write", "apps:read", 400),
        ("GET", "/agents", "agents:read", "apps:write", 200),
        ("GET", "/agents/X/drain", "agents:read", "apps:write", 400),
        ("POST", f"/agents/{AGENT}/drain", "agents:write", "agents:read", 200),
        ("GET", "/wireguard/x", "agents:read", "apps:read", 404),
        ("GET", "/cluster/status", "cluster:read", "apps:read", 200),
    ]
    for method, path, enough, lacking, status in cases:
        assert tokens[enough](method, path).status_code == status, path
        assert told(tokens[lacking](method, path)) == error(403, "forbidden: insufficient scope"), path
    for method, path, *_ in cases[:8]:
        assert told(nobody(method, path)) == error(401, "unauthorized"), path
    assert tokens["cluster:read"]("POST", "/cluster/x").status_code == 403
    for path, status in (
        ("/apps", 404),
        ("/apps/x/status", 405),
        ("/apps/x/y", 404),
        ("/agents", 404),
        ("/agents/X/drain", 400),
        (f"/agents/{AGENT}/drain", 405),
    ):
        answer = cluster.operator("HEAD", path)
        assert (answer.status_code, answer.get_data()) == (status, b""), path


def test_the_plugin_can_be_blocked(make_app: MakeApp) -> None:
    """Without it yoq's paths do not exist, and the canonical ones work as before."""
    cluster = Cluster(make_app, YOQ_BLOCKED_PLUGINS="wire")
    for path in ("/apps", "/agents", "/cluster/status", "/v1/metrics"):
        assert cluster.operator("GET", path).status_code == 404
    assert cluster.agents("POST", "/agents/register", json={}).status_code == 401
    assert cluster.operator("GET", f"/v1/agents/{cluster.join()}").status_code == 200
