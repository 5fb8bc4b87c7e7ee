"""What becomes of a rollout and of services when their agents go: offline, drained, lost or forgotten."""

from __future__ import annotations

from tests.support.apps import HEALTH, THREE, Shop, service
from tests.support.door import behind


def test_an_agent_that_goes_offline_loses_its_work(shop: Shop) -> None:
    """Its services are placed anew where the labels allow it, or wait; they do not come back with it."""
    first = shop.join(cpu_cores=8, labels="zone=a,gpu")
    shop.apply(service("a", required_labels="gpu"), service("b"))
    second = shop.join(labels="zone=a")
    shop.lose(first)
    assert shop.running(first, second) == {"b": {"img:1"}}
    entry = shop.operator.entries(1)[0]
    assert (entry["actor"], entry["action"], entry["target"]) == ("system", "app_move", "shop")
    assert entry["details"]["agent"] == first
    assert entry["details"]["agent_status"] == "offline"
    assert [text.split()[0] for text in entry["details"]["moved"]] == ["shop/b"]
    assert [text.split()[0] for text in entry["details"]["waiting"]] == ["shop/a"]
    shop.run_due_work()
    third = shop.join(labels=" gpu , zone=b")
    shop.run_due_work()
    assert (shop.running(third), shop.running(second)) == ({"a": {"img:1"}}, {"b": {"img:1"}})
    shop.agents("POST", f"/v1/agents/{first}/heartbeat", json={})
    shop.run_due_work()
    assert shop.running(first) == {}
    assert [entry[1] for entry in shop.trail()] == ["app_apply", "app_rollout_end", "app_move", "app_move"]


def test_a_draining_agent_gives_its_services_away(shop: Shop) -> None:
    """They move to others first; only then does it count as drained, and nothing new comes to it."""
    first = shop.join(cpu_cores=4)
    shop.apply(*THREE)
    shop.operator("POST", f"/v1/agents/{first}/drain")
    shop.run_due_work()
    assert len(shop.assigned(first)) == 3  # there is nowhere to go
    assert drained(shop) == [None]
    second = shop.join(cpu_cores=4)
    shop.run_due_work()
    assert (len(shop.assigned(first)), len(shop.assigned(second))) == (0, 3)
    assert drained(shop)[0] is not None
    assert shop.apply(service("d"), service("e"), app="other")["placed"] == 1
    moves = [entry for entry in shop.operator.entries() if entry["action"] == "app_move"]
    assert [(entry["details"]["agent"], len(entry["details"]["moved"])) for entry in moves] == [(first, 3)]


def test_each_app_is_told_of_what_moved(shop: Shop) -> None:
    """One entry for each app and agent, under the app; also of what had no place until then."""
    first = shop.join(cpu_cores=4)
    for app in ("shop", "blog"):
        shop.apply(service("a"), service("b"), app=app)
    shop.lose(first)
    second = shop.join(cpu_cores=4)
    shop.run_due_work()
    moves = [entry for entry in reversed(shop.operator.entries()) if entry["action"] == "app_move"]
    assert [
        (entry["target"], entry["details"]["agent"], len(entry["details"]["moved"]), len(entry["details"]["waiting"]))
        for entry in moves
    ] == [("shop", first, 0, 2), ("blog", first, 0, 2), ("shop", None, 2, 0), ("blog", None, 2, 0)]
    assert len(shop.assigned(second)) == 4


def drained(shop: Shop) -> list[int | None]:
    """When each draining agent had nothing left."""
    return [row["drained_at"] for row in behind(shop.url, "SELECT drained_at FROM agents WHERE status = 'draining'")]


def test_a_lost_agent_does_not_end_a_rollout(shop: Shop) -> None:
    """A target whose agent is lost starts anew elsewhere, under the same deadline."""
    first = shop.join(cpu_cores=8)
    second = shop.join()
    shop.apply(service("a"), rollout=HEALTH)
    assignment = shop.assigned(first)[0]["id"]
    shop.lose(first)
    assert [item["id"] for item in shop.assigned(second)] == [assignment]
    path = f"/v1/agents/{first}/assignments/{assignment}/status"
    assert shop.agents("POST", path, json={"status": "failed"}).status_code == 404
    shop.report("a", "img:1", second)
    assert shop.app_status()["status"] == "completed"


def test_a_forgotten_agent_takes_nothing_with_it(shop: Shop) -> None:
    """When its row is removed before its services were moved, they are placed anew all the same."""
    first = shop.join(cpu_cores=8)
    shop.apply(service("a"))
    second = shop.join()
    behind(
        shop.url,
        "PRAGMA foreign_keys = ON" if shop.url.startswith("sqlite") else "SELECT 1",
        "DELETE FROM agents WHERE id = '" + first + "'",
    )
    shop.run_due_work()
    assert shop.running(second) == {"a": {"img:1"}}
