"""Agents that leave: removed, in gangs, by the commands; and who may have them do so."""

from __future__ import annotations

import pytest

from tests.conftest import MakeApp
from tests.support.apps import Shop, service
from tests.support.commandline import failure, output, run
from tests.support.departures import beat, drain, expire, remove, told
from yoq_web.hooks.periodic import run_periodic_tasks

on_one_database = pytest.mark.parametrize("backend", ["sqlite"])

TRAIN = service("train", gpu_mesh={"world_size": 2, "gpus_per_rank": 1}, cpu_limit=100)


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
