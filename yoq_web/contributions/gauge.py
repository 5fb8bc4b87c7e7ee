"""Gauge: a number that `/metrics` reads when it is asked, contributed by a domain or a plugin."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

NAME = re.compile(r"yoq_[a-z][a-z0-9_]*")
"""How a metric of ours is called."""


@dataclass(frozen=True)
class Gauge:
    """A number that goes up and down: its name as Prometheus shows it, what it says, and the function that reads it.

    `read` returns the number, or None if there is none now; with a `label`, a number for each value that it has now,
    of which there must be few. It may read the database. Names end in their unit: `_seconds`, `_bytes`, and
    `_timestamp_seconds` for a moment since 1970. A plugin's begin with `yoq_`, its name and `_`.
    """

    name: str
    help: str
    read: Callable[[], float | Mapping[str, float] | None]
    label: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a metric: lower-case letters, digits and _ behind yoq_")
