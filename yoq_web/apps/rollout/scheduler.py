"""Placement: which agent takes a workload. Pure: agents and what is assigned to them go in, decisions come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from yoq_web.apps.manifest.document import Workload


@dataclass(frozen=True, slots=True)
class Usage:
    """What is taken of an agent: thousandths of a core, MB and GPUs."""

    cpu: int = 0
    memory_mb: int = 0
    gpus: int = 0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(self.cpu + other.cpu, self.memory_mb + other.memory_mb, self.gpus + other.gpus)

    def minus(self, other: Usage) -> Usage:
        """What remains without `other`."""
        return Usage(self.cpu - other.cpu, self.memory_mb - other.memory_mb, self.gpus - other.gpus)


@dataclass(frozen=True, slots=True)
class Node:
    """An agent as the scheduler sees it. `reported` is what it says is in use, `assigned` what it was given."""

    id: str
    address: str
    cpu: int
    memory_mb: int
    status: str = "active"
    role: str = "both"
    labels: frozenset[str] = frozenset()
    gpus: int = 0
    gpu_model: str | None = None
    gpu_vram_mb: int = 0
    reported: Usage = Usage()
    assigned: Usage = Usage()

    @property
    def open(self) -> bool:
        """Whether it takes anything new at all."""
        return self.status == "active" and self.role != "server"

    def free(self, freed: Usage = Usage()) -> Usage:
        """What can still be assigned, once what `freed` counts is gone."""
        # Agents report nothing for what they have not started yet, and some never report anything.
        used = self.assigned.minus(freed)
        return Usage(
            self.cpu - max(used.cpu, self.reported.cpu - freed.cpu),
            self.memory_mb - max(used.memory_mb, self.reported.memory_mb - freed.memory_mb),
            self.gpus - max(used.gpus, self.reported.gpus - freed.gpus),
        )


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for one part of a workload. `rank` and the address of rank 0 are given for the parts of a gang."""

    node: str
    rank: int | None = None
    master: str | None = None


def needs(workload: Workload) -> Usage:
    """What one part of a workload takes."""
    return Usage(workload.cpu, workload.memory_mb, workload.gpus)


def place(workload: Workload, nodes: Sequence[Node], freed: Mapping[str, Usage] | None = None) -> tuple[Seat, ...]:
    """The places for all parts of a workload, or none at all.

    `nodes` come in the order of their registration: of equal candidates the earliest wins. `freed` is what goes away,
    by agent, once the workload is there.
    """
    gone = freed or {}
    left = list(nodes)
    seats: list[Seat] = []
    for rank in range(workload.parts):
        chosen = _best(workload, left, gone)
        if chosen is None:
            return ()
        left = [taken(node, workload) if node.id == chosen.id else node for node in left]
        seats.append(Seat(chosen.id, rank, chosen.address) if workload.ranks else Seat(chosen.id))
    return tuple(replace(seat, master=seats[0].master) for seat in seats)


def taken(node: Node, workload: Workload) -> Node:
    """The agent once it has one part of the workload."""
    return replace(node, assigned=node.assigned.plus(needs(workload)))


def fits(workload: Workload, node: Node, free: Usage) -> bool:
    """Whether an agent with so much free may take one part of the workload."""
    needed = needs(workload)
    return (
        node.open
        and free.cpu >= needed.cpu
        and free.memory_mb >= needed.memory_mb
        and (needed.gpus == 0 or free.gpus >= needed.gpus)
        and (workload.gpu_model is None or needed.gpus == 0 or node.gpu_model == workload.gpu_model)
        and (needed.gpus == 0 or node.gpu_vram_mb >= workload.gpu_vram_mb)
        and node.labels.issuperset(workload.labels)
    )


def _best(workload: Workload, nodes: Iterable[Node], gone: Mapping[str, Usage]) -> Node | None:
    best: Node | None = None
    most = -1
    for node in nodes:
        free = node.free(gone.get(node.id, Usage()))
        if not fits(workload, node, free):
            continue
        # yoq's measure; with it equal agents take turns, since what is assigned counts.
        score = free.cpu + free.memory_mb + (1000 * free.gpus if workload.gpus else 0)
        if score > most:
            best, most = node, score
    return best
