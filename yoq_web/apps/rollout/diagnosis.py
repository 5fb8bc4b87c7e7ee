"""Diagnosis: why a workload found no place, and why what was placed did not come up, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from yoq_web.apps.manifest.document import Workload
from yoq_web.apps.rollout.assignment import Assignment
from yoq_web.apps.rollout.scheduler import Node, Usage, find_lacks, place_parts

MOST = 8
"""Of so many agents it is said why they were not taken; of others, how many they are."""


def explain_no_place(workload: Workload, nodes: Sequence[Node], freed: Mapping[str, Usage] | None = None) -> str:
    """Explain why place() finds nothing for a workload on these agents."""
    gone = freed or {}
    seats, left = place_parts(workload, nodes, gone)
    found = f"{len(seats)} of {workload.parts} parts found a place" if workload.parts > 1 else "no agent can take it"
    why = [
        f"{node.id} {', '.join(find_lacks(workload, node, node.compute_free(gone.get(node.id, Usage()))))}"
        for node in left
    ]
    return f"{found}: {_join(why)}" if why else "there are no agents"


def explain_not_ready(reason: str | None, parts: Iterable[Assignment], nodes: Sequence[Node]) -> str:
    """Explain why a target whose parts were placed failed: the reason, where, and how the agents are."""
    status = {node.id: node.status for node in nodes}
    where = [
        f"{part.id} {part.reason or part.status} on {part.agent_id or 'no agent'}"
        + ("" if status.get(part.agent_id or "", "active") == "active" else f", which is {status[part.agent_id or '']}")
        for part in parts
        if part.status != "running"
    ]
    return f"{reason or 'failed'}" + (f": {_join(where)}" if where else "")


def _join(said: Sequence[str]) -> str:
    return "; ".join(said[:MOST]) + (f"; and {len(said) - MOST} more" if len(said) > MOST else "")
