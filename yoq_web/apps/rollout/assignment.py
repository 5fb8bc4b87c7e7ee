"""Assignments as values: one part of a workload, and the agent that is to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from yoq_web.apps.manifest.document import Workload
from yoq_web.apps.rollout.scheduler import Node, Seat, add_workload

ALIVE = ("pending", "running")
"""The states in which an assignment takes room on its agent."""

DROPPED = "dropped"
"""Why an assignment was stopped whose service is not in the newest release any more."""

DRAINED = "drained"
"""Why an assignment was stopped whose agent was drained by force, while no other had room for it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """An assignment. Without `agent_id` it waits for a place; `replaced_by` is the rollout that may bring it back.

    The parts of a gang have its `gang`, their `rank` in it, and in `master` the address of the part with rank 0.
    """

    id: str
    release: int | None
    agent_id: str | None
    workload: Workload
    status: str = "pending"
    reason: str | None = None
    gang: str | None = None
    rank: int | None = None
    master: str | None = None
    replaced_by: int | None = None
    app: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it is to run, or does."""
        return self.status in ALIVE


def make_assignments(
    workload: Workload, seats: Iterable[Seat], release: int | None, make_id: Callable[[], str]
) -> dict[str, Assignment]:
    """Make the assignments of a workload that found these places; the parts of a gang bear the id of their first."""
    parts = [Assignment(make_id(), release, seat.node, workload, rank=seat.rank, master=seat.master) for seat in seats]
    gang = parts[0].id if parts and workload.ranks else None
    return {part.id: replace(part, gang=gang) for part in parts}


def add_assignments(nodes: Sequence[Node], assignments: Iterable[Assignment]) -> list[Node]:
    """Add these assignments to what the agents have; those that are over take no room."""
    found = {node.id: node for node in nodes}
    for one in assignments:
        if one.alive and one.agent_id in found:
            found[one.agent_id] = add_workload(found[one.agent_id], one.workload)
    return list(found.values())
