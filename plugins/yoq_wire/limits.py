"""What yoq's programs can take: with a body beyond 64 KiB, headers included, its agents and its CLI abort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from flask import Request

from yoq_web import dumps

Document = dict[str, Any]

CLIENT_LIMIT = 64 * 1024 - 1024
"""Bytes of a body for which yoq's programs have room beside the headers."""

NODE = ("id", "address", "status", "cpu_cores", "memory_mb", "cpu_used", "memory_used_mb", "containers")
"""What `yoq nodes` shows of an agent, and its address."""

PEER = ("node_id", "public_key", "endpoint", "overlay_ip")
"""What an agent reads of its peers."""

ASSIGNMENT = (
    *("id", "image", "command", "status", "cpu_limit", "memory_limit_mb", "app_name", "workload_kind"),
    *("workload_name", "health_check", "gang_rank", "gang_world_size", "gang_master_addr", "gang_master_port"),
)
"""What an agent reads of its assignments."""

URGENCY = ("pending", "running")
"""What an agent has to start, then what it may know already; it does nothing about the rest."""

REPEATING = ("rollout", "current_release", "previous_successful_release", "release")
"""The members of a release's document that hold nothing new; yoq's CLI reads none of them."""

GROWING = ("rollout_targets", "previous_successful_rollout_targets", "previous_successful_failure_details")
"""Those that grow with the number of services; yoq's CLI does without."""

FAILURES = 20
"""Of the details of failures yoq's CLI shows two, and the number of the others."""


def find_limit(request: Request) -> int | None:
    """Find how much the client of a request takes: yoq's programs, which alone send no User-Agent, not any length."""
    return None if "User-Agent" in request.headers else CLIENT_LIMIT


def fit(
    documents: Sequence[Document], shorten: Callable[[Document], Document], room: int = CLIENT_LIMIT
) -> list[Document]:
    """Return the documents whole if they fit into so many bytes, else each shortened, as many as fit."""
    if _measure(documents) <= room:
        return list(documents)
    short = [shorten(document) for document in documents]
    sizes = accumulate(_measure(document) + len(",") for document in short)
    # Two brackets, and no comma behind the last.
    return short[: sum(size + 1 <= room for size in sizes)]


def fit_nodes(agents: Sequence[Document]) -> list[Document]:
    """Return the agents, of many only what `yoq nodes` shows."""
    return fit(agents, lambda agent: _pick(agent, NODE))


def fit_peers(peers: Sequence[Document], room: int = CLIENT_LIMIT) -> list[Document]:
    """Return the members of the overlay network, of many only what an agent reads."""
    return fit(peers, lambda peer: _pick(peer, PEER), room)


def fit_assignments(assignments: Sequence[Document]) -> list[Document]:
    """Return an agent's assignments in their order if all fit, else those first about which it has to do something."""
    if _measure(assignments) <= CLIENT_LIMIT:
        return list(assignments)
    urgent = [assignment for status in URGENCY for assignment in assignments if assignment["status"] == status]
    return fit(urgent, lambda assignment: _pick(assignment, ASSIGNMENT))


def fit_releases(releases: Sequence[Document]) -> list[Document]:
    """Return status documents or entries of a history; see `fit_release` for what they lose."""
    return fit(releases, _shorten_release)


def fit_release(release: Document) -> Document:
    """Return the document of a release; where it is too long, without what only repeats, one level deeper, the rest.

    If it is too long all the same it loses its list of services, too, and the details of failures in the end.
    """
    return release if _measure([release]) <= CLIENT_LIMIT else _shorten_release(release)


def _shorten_release(release: Document) -> Document:
    short = {key: value for key, value in release.items() if key not in REPEATING}
    for failures in (FAILURES, 0):
        if _measure([short]) > CLIENT_LIMIT:
            short |= dict.fromkeys(short.keys() & set(GROWING))
            short["failure_details"] = (short["failure_details"] or [])[:failures] or None
    return short


def _pick(document: Document, needed: Sequence[str]) -> Document:
    return {name: document[name] for name in needed if name in document}


def _measure(value: object) -> int:
    return len(dumps(value).encode())
