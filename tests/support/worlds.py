"""A world in memory for the pure parts of apps: agents, assignments, and what agents and operators may do in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from yoq_web.apps.manifest.document import RolloutPolicy, Workload
from yoq_web.apps.rollout.assignment import Assignment, add_assignments
from yoq_web.apps.rollout.machine import set_control
from yoq_web.apps.rollout.reconciler import Reconciler
from yoq_web.apps.rollout.scheduler import Node
from yoq_web.apps.rollout.state import Rollout, start_rollout


def service(name: str, *, cpu: int = 1000, labels: tuple[str, ...] = (), ranks: int = 0) -> Workload:
    """A service that asks for so much."""
    return Workload("service", name, "image", cpu=cpu, labels=labels, ranks=ranks, gpus=1 if ranks else 0)


def node(name: str, cores: int = 4, memory_mb: int = 4096, **more: object) -> Node:
    """An agent with so much to give."""
    return replace(Node(name, f"10.0.0.{name[-1]}", cores * 1000, memory_mb), **more)  # type: ignore[arg-type]


def over_capacity(nodes: Sequence[Node], assignments: Mapping[str, Assignment]) -> list[str]:
    """The agents that were given more than they have."""
    used = add_assignments(nodes, (one for one in assignments.values() if one.replaced_by is None))
    free = {found.id: found.compute_free() for found in used}
    return [node for node, left in free.items() if min(left.cpu, left.memory_mb, left.gpus) < 0]


class World:
    """One app on some agents: release after release, driven by hand."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self.assignments: dict[str, Assignment] = {}
        self.now = 1000
        self.number = 0
        self.rollout: Rollout | None = None
        self.services: dict[str, Workload] = {}
        self._ids = count(1)

    def apply(self, policy: RolloutPolicy, *services: Workload) -> Rollout:
        """Begin a release and take its first steps."""
        self.number += 1
        self.services = {item.name: item for item in services}
        self.rollout = start_rollout(policy, [(item.name, item.parts) for item in services])
        return self.step()

    def step(self) -> Rollout:
        """Take every step that can be taken now."""
        assert self.rollout is not None
        reconciler = Reconciler(
            number=self.number,
            rollout=self.rollout,
            services=self.services,
            named=frozenset(self.services),
            assignments=dict(self.assignments),
            nodes=self.nodes,
            make_id=lambda: f"{next(self._ids):012x}",
        )
        reconciler.run(self.now)
        self.rollout, self.assignments = reconciler.rollout, reconciler.assignments
        return self.rollout

    def command(self, control: str) -> Rollout:
        """What an operator says."""
        assert self.rollout is not None
        self.rollout = set_control(self.rollout, control)  # type: ignore[arg-type]
        return self.step()

    def report(self, one: Assignment, status: str, reason: str | None = None) -> Rollout:
        """What an agent says."""
        self.assignments[one.id] = replace(one, status=status, reason=reason)
        return self.step()

    def pass_time(self, seconds: int) -> Rollout:
        """Let time pass."""
        self.now += seconds
        return self.step()

    def of(self, name: str) -> list[Assignment]:
        """The assignments of a service that its agents see."""
        return [one for one in self.assignments.values() if one.workload.name == name and one.replaced_by is None]
