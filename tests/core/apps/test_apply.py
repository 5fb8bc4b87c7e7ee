"""Applying manifests: what is refused and how it is recorded, what a release does, and that two never mix."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Signal

import pytest

from tests.conftest import ADMIN, Api, MakeApp
from tests.support.apps import HEALTH, Shop, manifest, service
from yoq_web import Event, hookimpl
from yoq_web.apps.locks import lock_app_file

BAD = [
    (b"", "missing request body", ""),
    (b"{", "missing app_name", ""),
    (b'{"app_name":""}', "missing app_name", ""),
    (b'{"app_name":7}', "missing app_name", ""),
    (b'{"app_name":"shop"}', "no services to deploy", "shop"),
    (b'{"app_name":"shop","services":["x"]}', "no services to deploy", "shop"),
    (b'{"app_name":"shop","services":[{"image":"i","rollout":{"strategy":"x"}}]}', "invalid rollout config", "shop"),
    (b'{"app_name":"shop","services":[{"image":"i","rollout":{"parallelism":0}}]}', "invalid rollout config", "shop"),
    (b'{"volume_app":"shop","services":[{"image":"i"}]}', "no agents available", "shop"),
    (b'{"app_name":"a\\u0000b","services":[{"image":"i"}]}', "invalid app name", "a\N{REPLACEMENT CHARACTER}b"),
]


def test_what_is_refused_is_recorded(make_app: MakeApp) -> None:
    """Every refusal is a 400 with yoq's text and a failed entry about the app that was named."""
    shop = Shop(make_app)
    for body, error, target in BAD:
        answer = shop.operator("POST", "/v1/apps", data=body)
        assert (answer.status_code, answer.get_json()["error"]) == (400, error)
        assert shop.trail()[-1] == ("api-token", "app_apply", target, "failed")
    assert len(shop.trail()) == len(BAD)
    assert shop.operator("GET", "/v1/apps").get_json() == []
    answer = shop.operator("POST", "/v1/apps/diff", data=BAD[4][0])
    assert (answer.status_code, answer.get_json()["error"]) == (400, "no services to deploy")
    assert len(shop.trail()) == len(BAD)


def test_a_release(make_app: MakeApp) -> None:
    """Services spread over the agents, the documents say so, and the body is kept as it was sent."""
    shop = Shop(make_app)
    agents = [shop.join(), shop.join()]
    body = json.dumps(manifest(service("a"), service("b", command=["x", "y"]), service("c", "it's")), indent=1).encode()
    answer = shop.operator("POST", "/v1/apps", data=body).get_json()
    assert (answer["status"], answer["rollout_state"], answer["placed"], answer["service_count"]) == (
        "completed",
        "stable",
        2,
        3,
    )
    assert answer["message"] == "all placements succeeded"
    assert answer["remaining_targets"] == 0
    assert [[item["workload_name"] for item in shop.assigned(agent)] for agent in agents] == [["a"], ["b"]]
    assert shop.assigned(agents[1])[0]["command"] == "x y"
    found = shop.app_status()
    assert found["release_id"] == answer["release_id"]
    assert found["manifest_hash"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert found["remaining_targets"] == 1  # the service that was skipped, as yoq counts
    end, entry = shop.operator.entries(2)
    assert (end["action"], end["details"]["release_id"]) == ("app_rollout_end", answer["release_id"])
    assert (entry["action"], entry["outcome"]) == ("app_apply", "ok")
    assert entry["details"] == {
        "release_id": answer["release_id"],
        "manifest_hash": found["manifest_hash"],
        "before": None,
        "status": "completed",
    }


def test_a_failed_release_is_answered_with_200(make_app: MakeApp) -> None:
    """What finds no place is in the document, not in the status; the entry says that it failed."""
    shop = Shop(make_app)
    shop.join(cpu_cores=1)
    answer = shop.apply(service("a"), service("big", cpu_limit=5000))
    assert (answer["status"], answer["rollout_state"]) == ("partially_failed", "degraded")
    assert answer["failure_details"] == [
        {"workload_kind": "service", "workload_name": "big", "reason": "placement_failed"}
    ]
    assert [entry[1:] for entry in shop.trail()] == [
        ("app_apply", "shop", "failed"),
        ("app_rollout_end", "shop", "failed"),
    ]


def test_releases_follow_each_other(make_app: MakeApp) -> None:
    """History, the previous success, rollback with and without an id, and dropped services."""
    shop = Shop(make_app)
    agents = [shop.join(), shop.join()]
    first = shop.apply(service("a", "img:1"), service("b", "img:1"))["release_id"]
    second = shop.apply(service("a", "img:2"))["release_id"]
    assert shop.running(*agents) == {"a": {"img:2"}}
    stopped = [item for agent in agents for item in shop.assigned(agent) if item["workload_name"] == "b"]
    assert [(item["status"], item["status_reason"]) for item in stopped] == [("stopped", "dropped")]
    third = shop.apply(service("big", cpu_limit=50_000))["release_id"]
    found = shop.app_status()
    assert (found["release_id"], found["status"]) == (third, "failed")
    assert (found["previous_successful_release_id"], found["previous_successful_release"]["id"]) == (second, second)
    history = shop.operator("GET", "/v1/apps/shop/history").get_json()
    assert [(x["id"], x["is_current"], x["is_previous_successful"]) for x in history] == [
        (third, True, False),
        (second, False, True),
        (first, False, False),
    ]
    assert [x["id"] for x in shop.operator("GET", f"/v1/apps/shop/history?before={third}&limit=1").get_json()] == [
        second
    ]
    back = shop.post("/shop/rollback", {})
    assert (back["trigger"], back["source_release_id"], back["status"]) == ("rollback", second, "completed")
    assert back["message"] == f"rollback to {second} completed: all placements succeeded"
    back = shop.post("/shop/rollback", {"release_id": first})
    assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}}
    before = len(shop.trail())
    for body, status, error in (
        ({"release_id": "XYZ"}, 400, "invalid release_id"),
        ({"release_id": "abc"}, 404, "not found"),
    ):
        assert shop.post("/shop/rollback", body, status)["error"] == error
    assert shop.post("/other/rollback", {"release_id": first}, 404)
    assert len(shop.trail()) == before
    back_and_end = [("api-token", "app_rollback", "shop", "ok"), ("system", "app_rollout_end", "shop", "ok")]
    assert shop.trail()[-4:] == back_and_end * 2


def test_a_rollout_in_progress_excludes_others(make_app: MakeApp) -> None:
    """While a release rolls out another apply or rollback of the app is a 409, recorded; of another app it is not."""
    shop = Shop(make_app)
    agent = shop.join(cpu_cores=8)
    shop.apply(service("a", "img:1"))
    shop.apply(service("a", "img:2"), rollout=HEALTH)
    assert shop.apply(service("a", "img:3"), status=409)["error"] == "apply already in progress"
    assert shop.post("/shop/rollback", {}, 409)["error"] == "apply already in progress"
    assert shop.trail()[-2:] == [
        ("api-token", "app_apply", "shop", "failed"),
        ("api-token", "app_rollback", "shop", "failed"),
    ]
    assert shop.apply(service("a"), app="other")["status"] == "completed"
    shop.report("a", "img:2", agent)
    assert shop.apply(service("a", "img:3"))["status"] == "completed"


class Slow:
    """Holds an apply inside its transaction until told."""

    def __init__(self) -> None:
        self.held = Signal()
        self.go = Signal()

    @hookimpl
    def yoq_record_operation(self, event: Event) -> None:
        """Wait, the first time."""
        if event.operation.name == "app_apply" and not self.held.is_set():
            self.held.set()
            assert self.go.wait(30)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_two_applies_at_once(make_app: MakeApp) -> None:
    """The second of two applies of an app that run at once gets 409, also on another node; another app's does not."""
    slow = Slow()
    shop = Shop(lambda **settings: make_app(slow, **settings))
    shop.join(cpu_cores=8)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(shop.operator, "POST", "/v1/apps", json=manifest(service("a")))
        assert slow.held.wait(30)
        try:
            for other in (shop.operator, Api(make_app(YOQ_NODE="node-2"))):
                answer = other("POST", "/v1/apps", json=manifest(service("a", "img:2")))
                assert (answer.status_code, answer.get_json()["error"]) == (409, "apply already in progress")
        finally:
            slow.go.set()
        assert first.result(30).status_code == 200
    assert [outcome for _, _, _, outcome in shop.trail()].count("failed") == 2
    assert shop.app_status()["status"] == "completed"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_two_applies_at_once_on_one_machine(make_app: MakeApp) -> None:
    """With a database that takes one writer after the other it is the same: whoever applies holds the app's file."""
    shop = Shop(make_app)
    shop.join()
    with shop.app.app_context(), lock_app_file("shop") as first:
        assert first
        assert shop.apply(service("a"), status=409)["error"] == "apply already in progress"
        assert shop.apply(service("a"), app="other")["status"] == "completed"
    assert shop.apply(service("a"))["status"] == "completed"
    assert shop.trail()[0] == ("api-token", "app_apply", "shop", "failed")


def test_many_applies_lose_nothing(make_app: MakeApp) -> None:
    """Applies of many apps at once, from two nodes, never give an agent more than it has."""
    shop = Shop(make_app)
    agents = [shop.join(cpu_cores=2), shop.join(cpu_cores=3)]
    clients = [shop.operator, Api(make_app(YOQ_NODE="node-2"))]
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(
                lambda number: clients[number % 2]("POST", "/v1/apps", json=manifest(service("a"), app=f"app{number}")),
                range(8),
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.get_json()["placed"] for answer in answers) == [0] * 3 + [1] * 5
    assert [len(shop.assigned(agent)) for agent in agents] == [2, 3]


def test_scopes(make_app: MakeApp) -> None:
    """Reading needs apps:read, everything else apps:write, and the agents' routes the join token."""
    shop = Shop(make_app)
    agent = shop.join()
    shop.apply(service("a"))
    reader = shop.operator.token("apps:read", name="reader")
    assert reader("GET", "/v1/apps/shop").status_code == 200
    assert reader("POST", "/v1/apps/diff", json=manifest(service("a"))).status_code == 200
    for path in ("", "/shop/rollback", "/shop/pause", "/shop/resume", "/shop/cancel", "/shop/workers/w/run"):
        assert reader("POST", f"/v1/apps{path}", json={}).status_code == 403
    assert [entry[3] for entry in shop.trail()[-6:]] == ["denied"] * 6
    assert shop.operator("GET", f"/v1/agents/{agent}/assignments").status_code == 401
    assert shop.agents("GET", "/v1/apps").status_code == 401
    assert shop.operator.with_token(ADMIN)("GET", "/v1/apps/other").status_code == 404


NASTY = [
    b'{"app_name":"\\ud800","services":[{"image":"i"}]}',
    b'{"app_name":"shop","services":[{"name":"\\ud800","image":"i"},{"name":"a\\u0000","image":"i"}],"workers":[{"name":"\\ud800"}]}',
    b'{"app_name":"shop","services":[{"name":"a","image":"i","required_labels":"\\ud800","gpu_model":"\\u0000"}]}',
    b'{"app_name":"shop","services":[{"name":"a","image":"i","cpu_limit":1e999,"health_check":{"x":1e999}}]}',
    b'{"app_name":"shop","services":[{"name":"a","image":"i","cpu_limit":NaN}]}',
    b'{"app_name":"shop","services":[{"name":"b","image":"i","health_check":{"x":"\\ud800"},"gang_world_size":99999999999}]}',
    b"[" * 100_000,
    b'\xff{"app_name":"shop"}',
]


def test_nothing_breaks_it(make_app: MakeApp) -> None:
    """Whatever a manifest holds is applied, skipped or refused, never a 5xx, by an apply and by a diff."""
    shop = Shop(make_app)
    shop.join()
    for body in NASTY:
        for path in ("/v1/apps/diff", "/v1/apps"):
            answer = shop.operator("POST", path, data=body)
            assert answer.status_code in (200, 400), (path, body[:80], answer.text)
            assert answer.get_json() is not None
    assert shop.operator("GET", "/v1/apps").status_code == 200
    assert shop.operator("POST", "/v1/apps/shop/rollback", json={"release_id": "f" * 65}).status_code == 400
