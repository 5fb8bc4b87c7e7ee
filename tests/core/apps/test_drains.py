"""Agents that are drained: what a drain waits for and moves, and what a forced one ends."""

from __future__ import annotations

import pytest

from tests.conftest import MakeApp
from tests.support.apps import HEALTH, Shop, manifest, service
from tests.support.departures import beat, drain, expire, told
from tests.support.door import behind


def test_a_drain_says_what_it_waits_for(shop: Shop) -> None:
    """At once in its answer, then wherever the agent is shown, until there is a place; then it is drained."""
    agent = shop.join()
    shop.apply(service("a"), service("b", required_labels="ssd"))
    shop.apply(service("a"), app="blog")
    answer = drain(shop, agent)
    assert (answer["status"], answer["drained"], answer["moved"]) == ("draining", False, [])
    assert len(answer["waiting"]) == 2
    assert answer["waiting"][0].startswith("shop/a ")
    assert answer["waiting"][0].endswith(": there is no other agent")
    shop.run_due_work()
    found = shop.agent(agent)
    assert (found["status"], found["drained"]) == ("draining", False)
    assert found["waits_for"] == "; ".join(answer["waiting"])
    assert told(shop, "app_move") == []
    second = shop.join(cpu_cores=1)
    shop.run_due_work()
    assert shop.agent(agent)["waits_for"].startswith("blog/a ")
    assert f"{second} has 0 of 1000 thousandths of a core free" in shop.agent(agent)["waits_for"]
    shop.join()
    shop.run_due_work()
    found = shop.agent(agent)
    assert (found["drained"], "waits_for" in found) == (True, False)
    assert told(shop, "agent_drain_end") == [("system", "agent_drain_end", agent, {"address": "10.0.0.5"})]


def test_a_drain_moves_at_once_what_it_can(shop: Shop) -> None:
    """What has a place elsewhere moves with the drain, in its transaction; each app's trail says so."""
    first, second = shop.join(), shop.join(cpu_cores=1)
    shop.apply(service("a"), service("b"))
    assert len(shop.assigned(first)) == 2
    answer = drain(shop, first)
    assert [text.split()[0] for text in answer["moved"]] == ["shop/a"]
    assert [text.split()[0] for text in answer["waiting"]] == ["shop/b"]
    assert shop.running(second) == {"a": {"img:1"}}
    [drained, moved] = told(shop, "agent_drain", "app_move")
    assert drained == ("api-token", "agent_drain", first, {"address": "10.0.0.5", "before": "active"})
    assert moved[:3] == ("system", "app_move", "shop")
    assert (moved[3]["agent"], moved[3]["agent_status"], len(moved[3]["moved"])) == (first, "draining", 1)
    assert drain(shop, second)["waiting"] != []  # two drains: neither takes what the other has
    assert shop.running(first) == {"b": {"img:1"}}


@pytest.mark.parametrize("waited", [False, True])
def test_a_forced_drain_ends_what_has_no_place(shop: Shop, waited: bool) -> None:
    """What fits elsewhere moves, the rest is stopped, and the agent is told to end; the apps' trails say so."""
    first, second = shop.join(), shop.join(cpu_cores=1)
    shop.apply(service("a"), service("b"))
    shop.apply(service("c"), app="blog")
    assert shop.running(second) == {}
    if waited:
        assert drain(shop, first)["ended"] == []
    answer = drain(shop, first, "?force=1")
    assert (answer["drained"], answer["waiting"], shop.running(second)) == (True, [], {"a": {"img:1"}})
    ended = [text.split()[0] for text in answer["ended"]]
    assert ended == ["shop/b", "blog/c"]
    assert [(x["workload_name"], x["status"], x["status_reason"]) for x in shop.assigned(first)] == [
        ("b", "stopped", "drained"),
        ("c", "stopped", "drained"),
    ]
    assert beat(shop, first) == "draining"
    assert told(shop, "agent_drain")[-1][3]["force"] is True
    moves = [(target, details["ended"]) for _, _, target, details in told(shop, "app_move") if details["ended"]]
    assert moves == [("shop", answer["ended"][:1]), ("blog", answer["ended"][1:])]
    third = shop.join()
    shop.run_due_work()
    assert shop.running(third) == {}  # it stays ended until it is applied again
    part = shop.post("?service=b", manifest(service("b", "img:2")))
    assert (part["status"], shop.running(third)) == ("completed", {"b": {"img:2"}})


def test_a_silent_draining_agent_is_offline_and_forgotten(shop: Shop) -> None:
    """Its services wait or move as any silent agent's; when it beats again it is still draining."""
    agent = shop.join(wg_public_key="k")
    shop.apply(service("a"))
    drain(shop, agent)
    expire(shop, 100)
    found = shop.agent(agent)
    assert (found["status"], found["drained"]) == ("offline", True)
    assert told(shop, "agent_offline")[0][3]["address"] == "10.0.0.5"
    assert [len(details["waiting"]) for *_, details in told(shop, "app_move")] == [1]
    expire(shop, 101)
    assert len(told(shop, "agent_offline")) == 1
    assert (drain(shop, agent)["status"], shop.agent(agent)["status"]) == ("draining", "offline")
    assert [beat(shop, agent), shop.agent(agent)["status"]] == ["offline", "draining"]
    shop.run_due_work()
    assert shop.running(agent) == {}
    assert beat(shop, agent) == "draining"
    expire(shop, 100)
    assert shop.operator("POST", f"/v1/agents/{agent}/undrain").status_code == 200
    assert shop.agent(agent)["status"] == "offline"
    assert [beat(shop, agent), shop.agent(agent)["status"]] == ["offline", "active"]
    drain(shop, agent)
    expire(shop, 100)
    expire(shop, 3700)
    assert shop.operator("GET", "/v1/agents").get_json() == []
    assert beat(shop, agent) == "draining"  # forgotten: nobody would give it anything any more
    assert shop.agent(shop.join(wg_public_key="n"))["node_id"] == 1


@pytest.mark.parametrize("paused", [False, True])
def test_a_drain_during_a_rollout(shop: Shop, paused: bool) -> None:
    """A rollout goes on where its parts went; a part that is ended fails it, and what it replaced comes back."""
    first = shop.join(cpu_cores=8)
    shop.apply(service("a"))
    shop.report("a", "img:1", first)
    shop.apply(service("a", "img:2"), rollout=HEALTH)
    if paused:
        shop.post("/shop/pause")
    second = shop.join(cpu_cores=8)
    drain(shop, first)
    assert shop.running(first, second) == {"a": {"img:1", "img:2"}}
    assert shop.app_status()["status"] == "in_progress"
    drain(shop, second, "?force=1")
    shop.run_due_work()
    found = shop.app_status()
    assert (found["status"], found["failure_details"][0]["reason"]) == ("failed", "assignment_failed")
    assert shop.running(first, second) == {}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_drain_that_lasts(make_app: MakeApp) -> None:
    """A drain that waits for long is told by /health, until it is over or was taken back."""
    shop = Shop(make_app)
    agent = shop.join()
    shop.apply(service("a"))
    drain(shop, agent)
    shop.run_due_work()
    assert shop.operator("GET", "/health").get_json() == {"status": "ok"}
    behind(shop.url, "UPDATE agents SET draining_since = draining_since - 400")
    assert shop.operator("GET", "/health").get_json() == {"status": "degraded", "drains_waiting": [agent]}
    shop.operator("POST", f"/v1/agents/{agent}/undrain")
    assert "waits_for" not in shop.agent(agent)
    assert shop.operator("GET", "/health").get_json() == {"status": "ok"}
