"""Placement: which agent takes a workload. Pure: agents and what is assigned to them go in, decisions come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from yoq_web.apps.manifest.document import Workload


@dataclass(frozen=True, slots=True)
class Usage:
    """What is taken of an agent: thousandths of a core, MB and GPUs."""

    cpu: int = 0
    memory_mb: int = 0
    gpus: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.memory_mb + other.memory_mb, self.gpus + other.gpus)

    def __sub__(self, other: Usage) -> Usage:
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

    def compute_free(self, freed: Usage = Usage()) -> Usage:
        """Compute what can still be assigned, once what `freed` counts is gone."""
        # Agents report nothing for what they have not started yet, and some never report anything.
        used = self.assigned - freed
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


def compute_usage(workload: Workload) -> Usage:
    """Compute what one part of a workload takes."""
    return Usage(workload.cpu, workload.memory_mb, workload.gpus)


def place(workload: Workload, nodes: Sequence[Node], freed: Mapping[str, Usage] | None = None) -> tuple[Seat, ...]:
    """Find places for all parts of a workload, or for none at all.

    `nodes` come in the order of their registration: of equal candidates the earliest wins. `freed` is what goes away,
    by agent, once the workload is there.
    """
    seats, _ = place_parts(workload, nodes, freed or {})
    return tuple(replace(seat, master=seats[0].master) for seat in seats) if len(seats) == workload.parts else ()


def place_parts(workload: Workload, nodes: Sequence[Node], freed: Mapping[str, Usage]) -> tuple[list[Seat], list[Node]]:
    """Find places for as many parts as there are places for; returns them, and the agents as they are then."""
    left = list(nodes)
    seats: list[Seat] = []
    for rank in range(workload.parts):
        chosen = _choose_node(workload, left, freed)
        if chosen is None:
            break
        left = [add_workload(node, workload) if node.id == chosen.id else node for node in left]
        seats.append(Seat(chosen.id, rank, chosen.address) if workload.ranks else Seat(chosen.id))
    return seats, left


def add_workload(node: Node, workload: Workload) -> Node:
    """Return the agent as it is once it has one part of the workload."""
    return replace(node, assigned=node.assigned + compute_usage(workload))


def fits(workload: Workload, node: Node, free: Usage) -> bool:
    """Tell whether an agent with so much free may take one part of the workload."""
    return next(find_lacks(workload, node, free), None) is None


def find_lacks(workload: Workload, node: Node, free: Usage) -> Iterator[str]:
    """Find what keeps an agent with so much free from taking one part of the workload."""
    if node.status != "active":
        yield f"is {node.status}"
    if node.role == "server":
        yield "runs no services"
    if free.cpu < workload.cpu:
        yield f"has {max(0, free.cpu)} of {workload.cpu} thousandths of a core free"
    if free.memory_mb < workload.memory_mb:
        yield f"has {max(0, free.memory_mb)} of {workload.memory_mb} MB free"
    if workload.gpus:
        if free.gpus < workload.gpus:
            yield f"has {max(0, free.gpus)} of {workload.gpus} GPUs free"
        if workload.gpu_model is not None and node.gpu_model != workload.gpu_model:
            yield f"has no {workload.gpu_model}"
        if node.gpu_vram_mb < workload.gpu_vram_mb:
            yield f"has {node.gpu_vram_mb} of {workload.gpu_vram_mb} MB on a GPU"
    if lacking := set(workload.labels) - node.labels:
        yield f"lacks {', '.join(sorted(lacking))}"


def _choose_node(workload: Workload, nodes: Iterable[Node], gone: Mapping[str, Usage]) -> Node | None:
    best: Node | None = None
    most = -1
    for node in nodes:
        free = node.compute_free(gone.get(node.id, Usage()))
        if not fits(workload, node, free):
            continue
        # yoq's measure; with it equal agents take turns, since what is assigned counts.
        score = free.cpu + free.memory_mb + (1000 * free.gpus if workload.gpus else 0)
        if score > most:
            best, most = node, score
    return best
