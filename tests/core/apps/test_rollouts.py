"""Rollouts as they happen: reports, deadlines, commands, restarts, and what the trail tells of it."""

from __future__ import annotations

from tests.conftest import ADMIN, Api, MakeApp
from tests.support.apps import CANARY, HEALTH, NEW, THREE, Shop, service


def test_a_failing_target_rolls_back_by_itself(shop: Shop) -> None:
    """A canary is ready, another target fails: all is as before, and the trail says that it was the system."""
    agents = [shop.join(), shop.join()]
    shop.apply(*THREE)
    answer = shop.apply(*NEW, rollout=CANARY)
    assert (answer["status"], answer["rollout_state"]) == ("in_progress", "starting")
    assert answer["rollout_checkpoint"]["batch_end"] == 1
    shop.report("a", "img:2", *agents)
    found = shop.app_status()
    assert (found["rollout_state"], found["completed_targets"], found["message"]) == ("rolling", 1, "apply in progress")
    assert [target["state"] for target in found["rollout_targets"]] == ["ready", "starting", "starting"]
    assert shop.running(*agents) == {"a": {"img:2"}, "b": {"img:1", "img:2"}, "c": {"img:1", "img:2"}}
    shop.report("c", "img:2", *agents, word="failed", reason="image_pull_failed")
    assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}, "c": {"img:1"}}
    found = shop.app_status()
    assert (found["status"], found["rollout_state"], found["failed_targets"]) == ("failed", "failed", 2)
    assert found["failure_details"][0]["reason"] == "image_pull_failed"
    assert shop.trail() == [
        ("api-token", "app_apply", "shop", "ok"),
        ("system", "app_rollout_end", "shop", "ok"),
        ("api-token", "app_apply", "shop", "ok"),
        ("system", "app_rollout_end", "shop", "failed"),
    ]
    entry = shop.operator.entries(1)[0]
    assert entry["actor_kind"] == "system"
    assert entry["details"] == {
        "release_id": answer["release_id"],
        "status": "failed",
        "rollout_state": "failed",
        "reverted": True,
        "message": "one or more rollout targets failed readiness checks",
    }


def test_commands_and_restarts(shop: Shop, make_app: MakeApp) -> None:
    """Pause, a new process, resume by another node, and the end; cancel at any step; nothing to command is a 404."""
    agents = [shop.join(), shop.join()]
    shop.apply(*THREE)
    shop.post("/shop/pause", status=404)
    release = shop.apply(*NEW, rollout=CANARY)["release_id"]
    assert shop.post("/shop/pause") == {
        "app_name": "shop",
        "release_id": release,
        "rollout_control_state": "paused",
    }
    shop.report("a", "img:2", *agents)
    shop.run_due_work(10_000)
    found = shop.app_status()
    assert (found["rollout_state"], found["rollout_control_state"], found["completed_targets"]) == (
        "blocked",
        "paused",
        1,
    )
    another = Api(make_app(YOQ_JOIN_TOKEN="j" * 32, YOQ_NODE="node-2"), ADMIN)
    assert shop.post("/shop/resume", api=another)["rollout_control_state"] == "active"
    shop.report("b", "img:2", *agents)
    shop.report("c", "img:2", *agents)
    assert shop.app_status()["status"] == "completed"
    assert shop.running(*agents) == {"a": {"img:2"}, "b": {"img:2"}, "c": {"img:2"}}
    shop.apply(*THREE, rollout=CANARY)
    assert shop.post("/shop/cancel")["rollout_control_state"] == "cancel_requested"
    found = shop.app_status()
    assert (found["status"], found["message"], found["rollout_control_state"]) == (
        "failed",
        "rollout canceled by operator",
        "active",
    )
    assert shop.running(*agents) == {"a": {"img:2"}, "b": {"img:2"}, "c": {"img:2"}}
    shop.post("/shop/resume", status=404)
    assert [entry[:2] for entry in shop.trail()[2:]] == [
        ("api-token", "app_apply"),
        ("api-token", "app_pause"),
        ("api-token", "app_resume"),
        ("system", "app_rollout_end"),
        ("api-token", "app_apply"),
        ("api-token", "app_cancel"),
        ("system", "app_rollout_end"),
    ]


def test_time_moves_rollouts_on(shop: Shop) -> None:
    """A delay ends and a deadline passes without anybody asking, and nothing happens before."""
    agent = shop.join(cpu_cores=8)
    shop.apply(*NEW[:2], rollout={"delay_between_batches": 60})
    assert shop.running(agent) == {"a": {"img:2"}}
    shop.run_due_work(50)
    assert shop.running(agent) == {"a": {"img:2"}}
    shop.run_due_work(61)
    assert shop.app_status()["status"] == "completed"
    assert shop.trail()[-1][:2] == ("system", "app_rollout_end")
    shop.apply(service("a", "img:3"), rollout=HEALTH | {"failure_action": "pause"})
    shop.run_due_work(15)
    assert shop.app_status()["status"] == "in_progress"
    shop.run_due_work(31)
    assert shop.app_status()["failure_details"][0]["reason"] == "readiness_timeout"
    assert shop.running(agent) == {"a": {"img:2"}, "b": {"img:2"}}


def test_an_agent_speaks_for_itself_alone(shop: Shop) -> None:
    """A report on another's assignment, or on none, is a 404 and changes nothing; a bad one is a 400."""
    mine, other = shop.join(), shop.join(cpu_cores=1)
    shop.apply(service("a"), rollout=HEALTH)
    assignment = shop.assigned(mine)[0]["id"]
    path = f"/v1/agents/{other}/assignments/{assignment}/status"
    assert shop.agents("POST", path, json={"status": "running"}).status_code == 404
    assert shop.assigned(mine)[0]["status"] == "pending"
    path = f"/v1/agents/{mine}/assignments/{assignment}/status"
    for bad in (
        {"status": "done"},
        {"status": "failed", "reason": "a\0"},
        {"status": "failed", "reason": "\u00e4" * 65},
    ):
        assert shop.agents("POST", path, json=bad).status_code == 400
    assert shop.agents("POST", path, json={"status": "running"}).get_json() == {"ok": True, "status": "running"}
    assert shop.app_status()["status"] == "completed"
    assert shop.operator("POST", path, json={"status": "failed"}).status_code == 401
