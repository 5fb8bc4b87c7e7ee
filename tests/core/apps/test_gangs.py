"""Gangs: workloads of several parts, which look for the first of them where it is now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic import command as alembic

from tests.support.apps import Shop, manifest, service
from tests.support.door import behind
from yoq_web import db
from yoq_web.database.migrations import find_lineage, make_configuration, upgrade

TRAIN = service("train", gpu_mesh={"world_size": 3, "gpus_per_rank": 1}, cpu_limit=100)


def test_a_gang_follows_its_first_part(shop: Shop) -> None:
    """All parts of a gang know the address of the first one, also after that was placed anew."""
    agents = [shop.join(address=f"10.0.0.{number}:7000", gpu_count=2) for number in (1, 2)]
    mesh = {"world_size": 3, "gpus_per_rank": 1}
    assert shop.apply(service("train", gpu_mesh=mesh, cpu_limit=100))["placed"] == 3
    parts = [item for agent in agents for item in shop.assigned(agent)]
    assert sorted(item["gang_rank"] for item in parts) == [0, 1, 2]
    assert {item["gang_master_addr"] for item in parts} == {"10.0.0.1"}
    third = shop.join(address="10.0.0.3:7000", gpu_count=2)
    shop.lose(agents[0])
    parts = [item for agent in (agents[1], third) for item in shop.assigned(agent)]
    first = next(item for item in parts if item["gang_rank"] == 0)
    assert len(parts) == 3
    where = {agents[1]: "10.0.0.2", third: "10.0.0.3"}[first["agent_id"]]
    assert {item["gang_master_addr"] for item in parts} == {where}


class Gangs:
    """The gangs of a cluster, each with the assignments that were made for it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        room = {"gpu_count": 15, "cpu_cores": 64, "memory_mb": 65_536}
        hosts = [f"10.0.0.{number}" for number in range(1, 6)]
        self.agents = {shop.join(address=f"{host}:7000", **room): host for host in hosts}
        self.made: dict[str, set[str]] = {}
        self.make("service", lambda: shop.post("", manifest(TRAIN) | {"workers": [TRAIN]}))
        for name in ("first run", "second run"):
            self.make(name, lambda: shop.post("/shop/workers/train/run"))
        for name in ("without a name", "another without a name"):
            self.make(name, lambda: shop.operator("POST", "/deploy", json={"services": [TRAIN]}))

    def parts(self) -> dict[str, dict[str, Any]]:
        """All assignments by their ids."""
        return {item["id"]: item for agent in self.agents for item in self.shop.assigned(agent)}

    def make(self, name: str, act: Callable[[], object]) -> None:
        """Do something that makes one gang."""
        before = self.parts().keys()
        act()
        self.made[name] = self.parts().keys() - before
        assert len(self.made[name]) == 3

    def drain(self, agent: str) -> None:
        """Have an agent give away what it has, and take it back into service."""
        self.shop.operator("POST", f"/v1/agents/{agent}/drain")
        self.shop.run_due_work()
        self.shop.operator("POST", f"/v1/agents/{agent}/undrain")

    def masters(self) -> dict[str, tuple[str, set[str]]]:
        """Where the first part of each gang is, and where its parts look for it."""
        parts = self.parts()
        found = {}
        for name, made in self.made.items():
            [first] = [parts[key] for key in made if parts[key]["gang_rank"] == 0]
            found[name] = (self.agents[first["agent_id"]], {parts[key]["gang_master_addr"] for key in made})
        return found


def test_each_gang_follows_its_own_first_part(shop: Shop) -> None:
    """Whatever made them: a service, two runs of one worker, manifests without the name of an app."""
    gangs = Gangs(shop)
    moved = set()
    for agent in gangs.agents:
        before = gangs.masters()
        gangs.drain(agent)
        after = gangs.masters()
        assert {name: told for name, (_, told) in after.items()} == {name: {at} for name, (at, _) in after.items()}
        moved |= {name for name in after if before[name] != after[name]}
    assert moved == gangs.made.keys()


def test_gangs_of_an_older_database(shop: Shop) -> None:
    """They are told apart by the upgrade, those without their first part too, and wrong addresses are put right."""
    gangs = Gangs(shop)
    first = {key for key, item in gangs.parts().items() if item["gang_rank"] == 0}
    lost = first & gangs.made["first run"]
    with shop.app.app_context():
        alembic.downgrade(make_configuration(find_lineage("core")), "core004")
        db.engine.dispose()
    behind(
        shop.url,
        "UPDATE assignments SET master = '10.9.9.9' WHERE rank IS NOT NULL",
        f"DELETE FROM assignments WHERE id = '{lost.pop()}'",
    )
    with shop.app.app_context():
        upgrade()
    grouped = behind(shop.url, "SELECT gang, count(*) AS parts FROM assignments GROUP BY gang ORDER BY parts")
    assert [row["parts"] for row in grouped] == [2, 3, 3, 3, 3]
    del gangs.made["first run"]
    for agent in (None, *gangs.agents):
        if agent is not None:
            gangs.drain(agent)
        assert all(told == {at} for at, told in gangs.masters().values())
