"""Applying a part of an app: what is named rolls out, the rest stays as it is, and every document says so."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeApp
from tests.support.apps import HEALTH, Shop, manifest, service
from tests.support.commandline import output, run

on_one_database = pytest.mark.parametrize("backend", ["sqlite"])


def targets(found: dict[str, Any]) -> dict[str, str]:
    """The state of each of a release's targets."""
    return {target["workload_name"]: target["state"] for target in found["rollout_targets"]}


@pytest.mark.parametrize("path", ["/apps/apply", "/deploy"])
def test_yoqs_routes_end_nothing_that_is_not_named(make_app: MakeApp, path: str) -> None:
    """A part and a whole look the same as yoq's CLI sends them: what a document does not name stays, on its agent."""
    shop = Shop(make_app)
    agent = shop.join()
    assert shop.operator("POST", path, json=manifest(service("a"), service("b"))).status_code == 200
    [before] = [item for item in shop.assigned(agent) if item["workload_name"] == "b"]
    shop.report("b", "img:1", agent)
    dry = shop.operator("POST", "/apps/dry-run", json=manifest(service("a", "img:2"))).get_json()
    assert [(x["name"], x["change"]) for x in dry["changes"]] == [("a", "update"), ("b", "unchanged")]
    assert dry["summary"] == {"create": 0, "update": 1, "delete": 0, "unchanged": 1}
    assert shop.operator("POST", path, json=manifest(service("a", "img:2"))).status_code == 200
    assert shop.running(agent) == {"a": {"img:2"}, "b": {"img:1"}}
    assert [(x["id"], x["status"]) for x in shop.assigned(agent) if x["workload_name"] == "b"] == [
        (before["id"], "running")
    ]
    found = shop.app_status()
    assert found["manifest_hash"] == dry["proposed_manifest_hash"]
    assert (found["service_count"], found["completed_targets"], found["remaining_targets"]) == (2, 1, 0)
    assert targets(found) == {"a": "ready", "b": "kept"}
    entry = next(x for x in shop.operator.entries() if x["action"] == "app_apply")
    assert (entry["details"]["services"], entry["details"]["kept"]) == (["a"], ["b"])
    assert entry["details"]["manifest_hash"] == found["manifest_hash"]


def test_a_part_is_a_release_like_any_other(make_app: MakeApp) -> None:
    """Its document is the whole app as it is then: shown by print, hashed, gone back to, and compared with."""
    shop = Shop(make_app)
    agent = shop.join(cpu_cores=8)
    first = shop.apply(service("a"), service("b"), service("c"))["release_id"]
    whole = manifest(service("a", "img:2"), service("b", "img:2", depends_on=["c", "w"]), service("c", "img:2"))
    whole |= {"workers": [{"name": "w", "image": "job"}]}
    part = shop.post("?service=b", whole)
    assert (part["status"], targets(part)) == ("completed", {"b": "ready", "c": "ready", "a": "kept"})
    assert shop.running(agent) == {"a": {"img:1"}, "b": {"img:2"}, "c": {"img:2"}}
    answer = shop.operator("POST", "/apps/shop/rollback", json={"release_id": part["release_id"], "print": True})
    document = json.loads(answer.data)
    assert {x["name"]: x["image"] for x in document["services"]} == {"a": "img:1", "b": "img:2", "c": "img:2"}
    assert [x["name"] for x in document["workers"]] == ["w"]
    assert shop.app_status()["manifest_hash"] == f"sha256:{hashlib.sha256(answer.data).hexdigest()}"
    changes = shop.post("/diff", document)["changes"]
    assert {x["change"] for x in changes} == {"unchanged"}
    history = shop.operator("GET", "/v1/apps/shop/history").get_json()
    assert [(x["id"], x["service_count"], x["remaining_targets"]) for x in history] == [
        (part["release_id"], 3, 0),
        (first, 3, 0),
    ]
    shop.apply(service("d"))
    assert shop.running(agent) == {"d": {"img:1"}}  # a whole manifest ends what it does not name, as ever
    back = shop.post("/shop/rollback", {"release_id": part["release_id"]})
    assert targets(back) == dict.fromkeys("abc", "ready")
    assert shop.running(agent) == {"a": {"img:1"}, "b": {"img:2"}, "c": {"img:2"}}


def test_what_stays_is_what_is_there(make_app: MakeApp) -> None:
    """After a release that was undone, what stays is what was there before it and not what it wanted."""
    shop = Shop(make_app)
    agent = shop.join(cpu_cores=8)
    shop.apply(service("a"), service("b"))
    shop.apply(service("x"), service("b", "img:2"), rollout=HEALTH)
    shop.report("x", "img:1", agent, word="failed")
    assert shop.app_status()["status"] == "failed"
    assert shop.running(agent) == {"a": {"img:1"}, "b": {"img:1"}}
    changes = shop.post("/diff?service=a", manifest(service("a", "img:3")))["changes"]
    assert [(x["name"], x["change"]) for x in changes] == [("a", "update"), ("b", "unchanged")]
    part = shop.post("?service=a", manifest(service("a", "img:3")))
    assert targets(part) == {"a": "ready", "b": "kept"}
    assert shop.running(agent) == {"a": {"img:3"}, "b": {"img:1"}}
    shop.post("?service=a", manifest(service("a", "img:4")))
    back = shop.post("/shop/rollback", {})
    assert (back["source_release_id"], shop.running(agent)) == (part["release_id"], {"a": {"img:3"}, "b": {"img:1"}})


@on_one_database
def test_a_part_that_waits_or_fails(make_app: MakeApp) -> None:
    """How a part rolls out is for its services to say; undone, canceled or failed, it touches nothing else."""
    shop = Shop(make_app)
    agent = shop.join(cpu_cores=8)
    shop.apply(service("b", rollout={"strategy": "blue_green", "failure_action": "pause"}), service("a"))
    part = shop.post("?service=a", manifest(service("a", "img:2"), rollout=HEALTH))
    assert (part["status"], part["rollout_checkpoint"]["total_targets"]) == ("in_progress", 1)
    shop.report("a", "img:2", agent, word="failed")
    found = shop.app_status()
    assert (found["status"], found["failed_targets"], found["remaining_targets"]) == ("failed", 1, 0)
    assert targets(found) == {"a": "failed", "b": "kept"}
    assert shop.running(agent) == {"a": {"img:1"}, "b": {"img:1"}}
    shop.post("?service=a", manifest(service("a", "img:3"), rollout=HEALTH))
    shop.post("/shop/cancel")
    assert shop.running(agent) == {"a": {"img:1"}, "b": {"img:1"}}
    [end] = [x for x in shop.operator.entries(1) if x["action"] == "app_rollout_end"]
    assert end["details"]["status"] == "failed"


@on_one_database
def test_what_is_refused(make_app: MakeApp) -> None:
    """A service that the manifest does not have is a 400, which is recorded with what was named; so is a denial."""
    shop = Shop(make_app)
    shop.join()
    for path in ("", "/diff"):
        answer = shop.post(f"{path}?service=a&service=wbe", manifest(service("a"), service("web")), 400)
        assert answer["error"] == "unknown service: wbe"
    [entry] = shop.operator.entries(1)
    assert (entry["outcome"], entry["details"]["services"]) == ("failed", ["a", "wbe"])
    reader = shop.operator.token("apps:read", name="reader")
    assert reader("POST", "/v1/apps?service=a", json=manifest(service("a"))).status_code == 403
    [entry] = shop.operator.entries(1)
    assert (entry["target"], entry["outcome"], entry["details"]["services"]) == ("shop", "denied", ["a"])


NASTY: list[dict[str, Any]] = [
    {"name": "a", "image": "i", "env": ["\ud800"], "weight": 1.5},
    {"name": "a", "image": "i", "health_check": {"x": 10**400}},
    {"name": "b", "image": "ä"},
    {"image": "i"},
]


def test_nothing_breaks_it(make_app: MakeApp) -> None:
    """Whatever a service is made of, it stays when another is applied, and the stored document can be read."""
    shop = Shop(make_app)
    shop.join(cpu_cores=16)
    for number, found in enumerate(NASTY):
        app = f"app{number}"
        body = json.dumps({"app_name": app, "services": [found, service("z")]})
        assert shop.operator("POST", "/v1/apps", data=body).status_code == 200
        part = shop.post("?service=z", {"app_name": app, "services": [service("z", "img:2")]})
        assert targets(part) == {"z": "ready", found.get("name", ""): "kept"}
        assert shop.post(f"/{app}/rollback", {"release_id": part["release_id"]})["status"] == "completed"
    infinite = b'{"app_name":"shop","services":[{"name":"a","image":"i","weight":1e999},{"name":"b","image":"i"}]}'
    shop.operator("POST", "/v1/apps", data=infinite)
    part = shop.post("?service=b", manifest(service("b")))
    assert shop.post("/shop/rollback", {"release_id": part["release_id"]})["status"] == "completed"


@on_one_database
def test_the_command_line(make_app: MakeApp, tmp_path: Path) -> None:
    """`app apply FILE SERVICE` and `app diff FILE SERVICE` do the same, and `app status` shows what stayed."""
    shop = Shop(make_app)
    agent = shop.join()
    file = tmp_path / "manifest.toml"
    file.write_text('[service.web]\nimage = "web:1"\n[service.db]\nimage = "db:1"\n')
    output(shop.app, "app", "apply", str(file), "--app", "shop")
    file.write_text('[service.web]\nimage = "web:2"\n[service.db]\nimage = "db:2"\n')
    told = output(shop.app, "app", "diff", str(file), "web", "--app", "shop")
    assert "0 create, 1 update, 0 delete, 1 unchanged" in told
    assert "targets: 1 ok" in output(shop.app, "app", "apply", str(file), "web", "--app", "shop").splitlines()
    assert shop.running(agent) == {"web": {"web:2"}, "db": {"db:1"}}
    told = output(shop.app, "app", "status", "shop")
    assert ("  web ready" in told, "  db kept" in told) == (True, True)
    for command in ("apply", "diff"):
        refused = run(shop.app, "app", command, str(file), "webb", "--app", "shop")
        assert (refused.exit_code, refused.stderr) == (1, "unknown service: webb\ndid you mean web?\n")
