"""A world in memory for the pure parts of apps: agents, assignments, and what agents and operators may do in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from yoq_web.apps.manifest.document import Policy, Workload
from yoq_web.apps.rollout.machine import Rollout, begin, controlled
from yoq_web.apps.rollout.reconcile import Row, Scene, with_rows
from yoq_web.apps.rollout.scheduler import Node


def service(name: str, *, cpu: int = 1000, labels: tuple[str, ...] = (), ranks: int = 0) -> Workload:
    """A service that asks for so much."""
    return Workload("service", name, "image", cpu=cpu, labels=labels, ranks=ranks, gpus=1 if ranks else 0)


def node(name: str, cores: int = 4, memory_mb: int = 4096, **more: object) -> Node:
    """An agent with so much to give."""
    return replace(Node(name, f"10.0.0.{name[-1]}", cores * 1000, memory_mb), **more)  # type: ignore[arg-type]


def over_capacity(nodes: Sequence[Node], rows: Mapping[str, Row]) -> list[str]:
    """The agents that were given more than they have."""
    used = with_rows(nodes, (row for row in rows.values() if row.replaced_by is None))
    return [found.id for found in used if min(found.free().cpu, found.free().memory_mb, found.free().gpus) < 0]


class World:
    """One app on some agents: release after release, driven by hand."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self.rows: dict[str, Row] = {}
        self.now = 1000
        self.number = 0
        self.rollout: Rollout | None = None
        self.services: dict[str, Workload] = {}
        self._ids = count(1)

    def apply(self, policy: Policy, *services: Workload) -> Rollout:
        """Begin a release and take its first steps."""
        self.number += 1
        self.services = {item.name: item for item in services}
        self.rollout = begin(policy, [(item.name, item.parts) for item in services])
        return self.step()

    def step(self) -> Rollout:
        """Take every step that can be taken now."""
        assert self.rollout is not None
        scene = Scene(
            number=self.number,
            rollout=self.rollout,
            services=self.services,
            named=frozenset(self.services),
            rows=dict(self.rows),
            nodes=self.nodes,
            new_id=lambda: f"{next(self._ids):012x}",
        )
        scene.run(self.now)
        self.rollout, self.rows = scene.rollout, scene.rows
        return self.rollout

    def command(self, control: str) -> Rollout:
        """What an operator says."""
        assert self.rollout is not None
        self.rollout = controlled(self.rollout, control)  # type: ignore[arg-type]
        return self.step()

    def report(self, row: Row, status: str, reason: str | None = None) -> Rollout:
        """What an agent says."""
        self.rows[row.id] = replace(row, status=status, reason=reason)
        return self.step()

    def pass_time(self, seconds: int) -> Rollout:
        """Let time pass."""
        self.now += seconds
        return self.step()

    def of(self, name: str) -> list[Row]:
        """The assignments of a service that its agents see."""
        return [row for row in self.rows.values() if row.workload.name == name and row.replaced_by is None]
