"""`app apply`, `app diff` and what else is said of releases at the command line and in differences."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import MakeApp
from tests.support.apps import HEALTH, Shop, manifest, service
from tests.support.commandline import failure, output, run


def test_diff_and_workers(make_app: MakeApp) -> None:
    """A diff names what would change in yoq's order; a worker of the newest release runs when it is told to."""
    shop = Shop(make_app)
    body = {"app_name": "shop", "services": [service("a"), service("b")], "workers": [{"name": "w", "image": "job"}]}
    agent = shop.join()
    shop.post("", body)
    body["services"] = [service("c"), service("b"), service("a", "img:2")]
    body["workers"] = []
    found = shop.post("/diff", body)
    assert found["summary"] == {"create": 1, "update": 1, "delete": 1, "unchanged": 1}
    assert [(x["name"], x["change"]) for x in found["changes"]] == [
        ("c", "create"),
        ("b", "unchanged"),
        ("a", "update"),
        ("w", "delete"),
    ]
    assert shop.post("/shop/workers/w/run")["message"] == "worker scheduled"
    job = shop.assigned(agent)[-1]
    assert (job["workload_kind"], job["workload_name"], job["image"]) == ("worker", "w", "job")
    shop.report("w", "job", agent, word="stopped")
    shop.post("/shop/workers/w/run")
    assert [item["status"] for item in shop.assigned(agent) if item["workload_kind"] == "worker"] == ["pending"]
    shop.post("/shop/workers/other/run", status=404)
    assert shop.trail()[-2:] == [("api-token", "app_run", "shop", "ok")] * 2


def test_commands(make_app: MakeApp, tmp_path: Path) -> None:
    """The command line does all that the API does, from a manifest in TOML or JSON, with tables and JSON."""
    shop = Shop(make_app)
    shop.join()
    folder = tmp_path / "shop"
    folder.mkdir()
    file = folder / "manifest.toml"
    file.write_text('[service.web]\nimage = "nginx:${TAG:-1}"\n[worker.w]\nimage = "job"\n')
    assert output(shop.app, "app", "list") == "no app releases found\n"
    assert "1 create" not in output(shop.app, "app", "diff", str(file)).splitlines()[1]
    applied = json.loads(output(shop.app, "app", "apply", str(file), "--json"))
    assert (applied["app_name"], applied["status"]) == ("shop", "completed")
    assert "completed" in output(shop.app, "app", "list")
    assert "web ready" in output(shop.app, "app", "status", "shop")
    document = json.loads(output(shop.app, "app", "rollback", "shop", "--release", applied["release_id"], "--print"))
    assert document["services"][0]["image"] == "nginx:1"
    body = tmp_path / "body.json"
    body.write_text(json.dumps(manifest(service("web", "nginx:2"), rollout=HEALTH)))
    assert "status: in_progress" in output(shop.app, "app", "apply", str(body))
    for word, control in (("pause", "paused"), ("resume", "-"), ("cancel", "cancel")):
        assert output(shop.app, "app", word, "shop").split()[2] == control
    assert failure(shop.app, "app", "pause", "shop") == "no rollout in progress for app shop\n"
    assert "canceled by operator" in output(shop.app, "app", "history", "shop")
    body.write_text(json.dumps(manifest(service("big", cpu_limit=90_000))))
    assert run(shop.app, "app", "apply", str(body)).exit_code == 1
    assert "completed" in output(shop.app, "app", "rollback", "shop")
    assert output(shop.app, "app", "run", "shop", "w") == "worker scheduled: 1 placed, 0 failed\n"
    file.write_text("[service.web]\n")
    assert failure(shop.app, "app", "apply", str(file)) == "manifest: service 'web' is missing required field 'image'\n"
    assert failure(shop.app, "app", "status", "other") == "no releases found for app other\n"
