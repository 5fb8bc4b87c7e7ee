"""Agents that leave, drained, drained by force or removed: what they wait for, and what becomes of what they run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conftest import MakeApp
from tests.support.apps import HEALTH, Shop, manifest, service
from tests.support.commandline import failure, output, run
from tests.support.door import behind
from yoq_web.agents import liveness
from yoq_web.hooks.periodic import run_periodic_tasks

on_one_database = pytest.mark.parametrize("backend", ["sqlite"])

TRAIN = service("train", gpu_mesh={"world_size": 2, "gpus_per_rank": 1}, cpu_limit=100)


def drain(shop: Shop, agent: str, query: str = "") -> dict[str, Any]:
    """Drain an agent; returns the answer."""
    answer = shop.operator("POST", f"/v1/agents/{agent}/drain{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def remove(shop: Shop, agent: str, query: str = "", status: int = 200) -> dict[str, Any]:
    """Remove an agent; returns the answer, which has this status."""
    answer = shop.operator("DELETE", f"/v1/agents/{agent}{query}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def beat(shop: Shop, agent: str) -> str:
    """What yoq's agent is told in answer to a heartbeat."""
    answer = shop.agents("POST", f"/agents/{agent}/heartbeat", json={})
    status: str = answer.get_json()["status"]
    return status


def expire(shop: Shop, after: int) -> None:
    """Look for silent agents so many seconds from now, and do what is due."""
    with shop.app.app_context():
        liveness.expire_agents_at(int(time.time()) + after)
    shop.run_due_work()


def told(shop: Shop, *actions: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(actor, action, target, details) of the entries with these actions, the oldest first."""
    return [
        (entry["actor"], entry["action"], entry["target"], entry["details"])
        for entry in reversed(shop.operator.entries())
        if entry["action"] in actions
    ]


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


def test_an_agent_is_removed(shop: Shop) -> None:
    """It goes with its number, and is told to end; the trail says what it was."""
    agent = shop.join(wg_public_key="k", labels="ssd", role="agent")
    assert remove(shop, agent)["status"] == "removed"
    assert shop.operator("GET", f"/v1/agents/{agent}").status_code == 404
    remove(shop, agent, status=404)
    drain_unknown = shop.operator("POST", f"/v1/agents/{agent}/drain")
    assert drain_unknown.status_code == 404
    assert beat(shop, agent) == "draining"
    answer = shop.agents("POST", f"/v1/agents/{agent}/heartbeat", json={})
    assert (answer.status_code, answer.get_json()["detail"]) == (404, f"the agent {agent!r} was removed or forgotten")
    assert beat(shop, "0123456789ab") == "ok"
    assert shop.assigned(agent) == []
    assert shop.agent(shop.join(wg_public_key="n"))["node_id"] == 1
    assert told(shop, "agent_remove") == [
        (
            "api-token",
            "agent_remove",
            agent,
            {"address": "10.0.0.5", "before": "active", "role": "agent", "labels": "ssd", "node_id": 1},
        )
    ]


def test_what_a_removed_agent_ran_is_placed_anew(shop: Shop) -> None:
    """Without force it is refused; with force its services move, or wait for a place, under their apps' names."""
    first, second = shop.join(), shop.join(cpu_cores=1)
    shop.apply(service("a"), service("b"))
    refused = remove(shop, first, status=409)
    assert refused["error"] == "the agent still runs something"
    assert "shop/a" in refused["detail"]
    assert told(shop, "agent_remove")[0][3]["before"] == "active"
    answer = remove(shop, first, "?force=1")
    assert ([x.split()[0] for x in answer["moved"]], [x.split()[0] for x in answer["waiting"]]) == (
        ["shop/a"],
        ["shop/b"],
    )
    entry = told(shop, "agent_remove")[1]
    assert (entry[2], entry[3]["force"]) == (first, True)
    move = told(shop, "app_move")[0]
    assert (move[2], move[3]["agent"], move[3]["agent_status"]) == ("shop", first, "removed")
    assert shop.running(second) == {"a": {"img:1"}}
    third = shop.join()
    shop.run_due_work()
    assert shop.running(third) == {"b": {"img:1"}}


@on_one_database
def test_gangs_leave_together(shop: Shop) -> None:
    """The parts of a gang that move know where the first one is, whether its agent was drained or removed."""
    first = shop.join(address="10.0.0.1:7000", gpu_count=2)
    shop.apply(TRAIN)
    second = shop.join(address="10.0.0.2:7000", gpu_count=2)
    drain(shop, first)
    assert [x["gang_master_addr"] for x in shop.assigned(second)] == ["10.0.0.2"] * 2
    third = shop.join(address="10.0.0.3:7000", gpu_count=1)
    answer = remove(shop, second, "?force=1")
    assert (len(answer["moved"]), len(answer["waiting"])) == (1, 1)
    assert [(x["gang_rank"], x["gang_master_addr"]) for x in shop.assigned(third)] == [(0, "10.0.0.3")]


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


@on_one_database
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


@on_one_database
def test_scopes(shop: Shop) -> None:
    """Both need agents:write; a denied one is recorded under the agent."""
    agent = shop.join()
    reader = shop.operator.token("agents:read", name="reader")
    assert reader("DELETE", f"/v1/agents/{agent}?force=1").status_code == 403
    assert reader("POST", f"/v1/agents/{agent}/drain?force=1").status_code == 403
    assert [(x["action"], x["target"], x["outcome"]) for x in shop.operator.entries(2)] == [
        ("agent_drain", agent, "denied"),
        ("agent_remove", agent, "denied"),
    ]
    paths = shop.operator("GET", "/openapi.json").get_json()["paths"]
    assert paths["/v1/agents/{agent}/drain"]["post"]["operationId"] == "agents_drain"
    assert paths["/v1/agents/{agent}"]["delete"]["operationId"] == "agents_remove"
    writer = shop.operator.token("agents:write", name="writer")
    assert writer("DELETE", f"/v1/agents/{agent}").status_code == 200
    assert shop.operator("POST", f"/v1/agents/{agent}/drain?force=2").status_code == 400


@on_one_database
def test_the_commands(make_app: MakeApp) -> None:
    """The command line says the same, and each state can be read from `agent list`, `agent show` and `app status`."""
    shop = Shop(make_app)
    app = shop.app
    agent = shop.join(wg_public_key="k")
    shop.apply(service("web"))
    [web] = shop.assigned(agent)
    assert f"  web ready, pending on {agent}\n" in output(app, "app", "status", "shop")
    shop.report("web", "img:1", agent)
    why = f"shop/web {web['id']}: there is no other agent"
    assert output(app, "agent", "drain", agent) == f"{agent}: draining\nwaits for a place: {why}\n"
    _, row, waits = output(app, "agent", "list").splitlines()
    assert (row.split()[:2], waits) == ([agent, "draining"], f"{agent} waits for a place: {why}")
    assert f"  web ready, running on {agent}, which is draining\n" in output(app, "app", "status", "shop")
    shown = output(app, "agent", "show", agent).splitlines()
    assert {"status: draining", "node_id: 1", f"waits_for: {why}"} < set(shown)
    assert shown[-1] == f"shop/web {web['id']}: running, img:1"
    refused = run(app, "agent", "rm", agent)
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (1, "the agent still runs something")
    assert output(app, "agent", "drain", "--force", agent) == f"{agent}: drained\nended: shop/web {web['id']}\n"
    run_periodic_tasks(app)
    assert output(app, "agent", "list").splitlines()[1].split()[1] == "drained"
    assert f"  web ready, stopped on {agent}, which is draining (drained)\n" in output(app, "app", "status", "shop")
    expire(shop, 100)
    assert output(app, "agent", "list").splitlines()[2] == f"{agent} was drained: nothing is left on it"
    assert output(app, "agent", "rm", agent) == f"{agent}: removed\n"
    assert output(app, "agent", "list") == "no agents\n"
    other = shop.join()
    shop.apply(service("web"))
    [web] = shop.assigned(other)
    assert (
        output(app, "agent", "rm", other, "--force") == f"{other}: removed\nwaits for a place: shop/web {web['id']}\n"
    )
    assert "  web ready, waits for a place: there are no agents\n" in output(app, "app", "status", "shop")
    for command in ("drain", "rm", "show"):
        assert failure(app, "agent", command, "x") == "agent not found: x\n"
