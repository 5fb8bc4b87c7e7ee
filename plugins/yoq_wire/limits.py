"""Lists that yoq's programs can take, however much there is: beyond 64 KiB its agents and its CLI abort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoq_web import dumps
from yoq_wire.answers import CLIENT_BYTES

Document = dict[str, Any]

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


def within(documents: Sequence[Document], needed: Sequence[str], room: int = CLIENT_BYTES) -> list[Document]:
    """The documents whole if they fit into so many bytes, else with what the client needs alone, as many as fit."""
    if _size(documents) <= room:
        return list(documents)
    kept, size = [], 2
    for document in documents:
        short = {name: document[name] for name in needed if name in document}
        size += _size(short) + 1
        if size > room:
            break
        kept.append(short)
    return kept


def assignments(documents: Sequence[Document]) -> list[Document]:
    """An agent's assignments in their order if all fit, else those first about which it has to do something."""
    if _size(documents) <= CLIENT_BYTES:
        return list(documents)
    urgent = [document for status in URGENCY for document in documents if document["status"] == status]
    return within(urgent, ASSIGNMENT)


def _size(value: object) -> int:
    return len(dumps(value).encode())
