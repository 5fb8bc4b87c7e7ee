"""How releases end: each end is an entry, also one at once, and what failed says so, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.apps import HEALTH, Shop, service

BIG = service("big", cpu_limit=5000)
REVERTING = HEALTH | {"failure_action": "rollback"}


def complete_at_once(shop: Shop, agent: str) -> None:
    """Everything is placed, and nothing waits for readiness."""
    shop.apply(service("a"))


def complete_without_services(shop: Shop, agent: str) -> None:
    """There is nothing to place."""
    shop.post("", {"app_name": "shop", "services": [], "workers": [{"name": "w", "image": "w:1"}]})


def fail_at_once(shop: Shop, agent: str) -> None:
    """Nothing is placed."""
    shop.apply(BIG)


def fail_in_part_at_once(shop: Shop, agent: str) -> None:
    """One of two is placed."""
    shop.apply(service("a"), BIG)


def fail_on_a_drained_agent(shop: Shop, agent: str) -> None:
    """The only agent takes nothing new."""
    shop.operator("POST", f"/v1/agents/{agent}/drain")
    shop.apply(service("a"))


def complete_later(shop: Shop, agent: str) -> None:
    """The agent says that it runs."""
    shop.apply(service("a"), rollout=HEALTH)
    shop.report("a", "img:1", agent)


def fail_later(shop: Shop, agent: str) -> None:
    """The agent says that it does not start."""
    shop.apply(service("a"), rollout=HEALTH)
    shop.report("a", "img:1", agent, word="failed", reason="image_pull_failed")


def fail_in_time(shop: Shop, agent: str) -> None:
    """The agent says nothing."""
    shop.apply(service("a"), rollout=HEALTH)
    shop.run_due_work(60)


def fail_and_undo(shop: Shop, agent: str) -> None:
    """What the release brought is undone."""
    shop.apply(service("a"), service("b"), rollout=REVERTING | {"parallelism": 2})
    shop.report("b", "img:1", agent, word="failed", reason="start_failed")


def fail_in_part_and_wait(shop: Shop, agent: str) -> None:
    """What was not placed is known at once, and told when the other has come up."""
    shop.apply(BIG, service("a"), rollout=HEALTH | {"strategy": "blue_green", "failure_action": "pause"})
    shop.report("a", "img:1", agent)


def cancel(shop: Shop, agent: str) -> None:
    """The operator has enough of it."""
    shop.apply(service("a"), rollout=HEALTH)
    shop.post("/shop/cancel")


def fail_to_roll_back(shop: Shop, agent: str) -> None:
    """The agents that the earlier release ran on are gone."""
    shop.apply(service("a"))
    shop.apply(service("a", "img:2"))
    shop.operator("POST", f"/v1/agents/{agent}/drain")
    shop.post("/shop/rollback", {})


NO_ROOM = "big: no agent can take it: {agent} has 4000 of 5000 thousandths of a core free"
DRAINING = "a: no agent can take it: {agent} is draining"
NOT_PLACED = "one or more placements failed"
NOT_READY = "one or more rollout targets failed readiness checks"

ENDINGS: dict[Callable[[Shop, str], None], tuple[str, str | None]] = {
    complete_at_once: ("completed", None),
    complete_without_services: ("completed", None),
    complete_later: ("completed", None),
    fail_at_once: ("failed", f"{NOT_PLACED}: {NO_ROOM}"),
    fail_in_part_at_once: ("partially_failed", f"{NOT_PLACED}: {NO_ROOM.replace('4000', '3000')}"),
    fail_on_a_drained_agent: ("failed", f"{NOT_PLACED}: {DRAINING}"),
    fail_later: ("failed", f"{NOT_READY}: a: image_pull_failed: {{part}} image_pull_failed on {{agent}}"),
    fail_in_time: ("failed", f"{NOT_READY}: a: readiness_timeout: {{part}} pending on {{agent}}"),
    fail_and_undo: ("failed", f"{NOT_READY}: b: start_failed: {{part}} start_failed on {{agent}}"),
    fail_in_part_and_wait: ("partially_failed", f"{NOT_PLACED}: {NO_ROOM}"),
    cancel: ("failed", "rollout canceled by operator"),
    fail_to_roll_back: ("failed", f"{NOT_PLACED}: {DRAINING}"),
}


@pytest.mark.parametrize("end", ENDINGS)
def test_every_end_is_an_entry(shop: Shop, end: Callable[[Shop, str], None]) -> None:
    """One for each release, by the system, with how it ended; what failed is `failed`, with a reason that helps."""
    agent = shop.join(cpu_cores=4)
    end(shop, agent)
    status, reason = ENDINGS[end]
    entries: list[dict[str, Any]] = list(reversed(shop.operator.entries()))
    ends = [entry for entry in entries if entry["action"] == "app_rollout_end"]
    releases = [entry for entry in entries if entry["action"] in ("app_apply", "app_rollback")]
    assert [entry["details"]["release_id"] for entry in ends] == [entry["details"]["release_id"] for entry in releases]
    last = ends[-1]
    assert (last["actor"], last["target"], last["details"]["status"]) == ("system", "shop", status)
    assert last["outcome"] == ("ok" if reason is None else "failed")
    assert last["reason"] == fill(reason, agent, last["reason"])
    # Who applied it is told the same where it ended at once, and else that it went on.
    made = releases[-1]
    at_once = entries.index(last) == entries.index(made) + 1 and made["details"]["status"] != "in_progress"
    assert made["details"]["status"] == (status if at_once else "in_progress")
    assert (made["outcome"], made["reason"]) == ((last["outcome"], last["reason"]) if at_once else ("ok", None))
    assert shop.app_status()["status"] == status


def fill(reason: str | None, agent: str, found: str | None) -> str | None:
    """A reason with the agent's id in it, and the assignment's as it was found."""
    if reason is None or found is None:
        return reason
    _, _, rest = reason.partition("{part}")
    place = found.removesuffix(rest.format(agent=agent)).rsplit(" ", 1)[-1] if rest else ""
    return reason.format(agent=agent, part=place)


def test_a_worker_without_a_place_failed(shop: Shop) -> None:
    """It was answered with a count, and recorded as if it ran."""
    agent = shop.join(cpu_cores=1)
    shop.post("", {"app_name": "shop", "services": [], "workers": [{"name": "w", "image": "w:1", "cpu_limit": 2000}]})
    assert shop.post("/shop/workers/w/run")["failed"] == 1
    entry = shop.operator.entries(1)[0]
    assert (entry["action"], entry["outcome"]) == ("app_run", "failed")
    assert entry["reason"] == f"no agent can take it: {agent} has 1000 of 2000 thousandths of a core free"


def test_of_many_agents_some_are_named(shop: Shop) -> None:
    """A reason stays readable."""
    for _ in range(10):
        shop.join(cpu_cores=4)
    shop.apply(BIG)
    reason = shop.operator.entries(1)[0]["reason"]
    assert reason.count("thousandths") == 8
    assert reason.endswith("; and 2 more")
