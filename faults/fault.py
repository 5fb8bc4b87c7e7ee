"""A fault: what it is called, what it does, and what it needs to be possible here."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from faults.judge import Undone
from faults.libraries import Library, has_compiler
from faults.load import Load
from faults.site import Database, Site

BOTH: tuple[Database, ...] = ("sqlite", "postgresql")


@dataclass
class Scene:
    """What a fault works on.

    `undone` are the ways in which restores may have ended: each a tuple of ranges of attempts whose changes are gone.
    """

    site: Site
    load: Load
    random: random.Random
    undone: list[Undone] = field(default_factory=lambda: [()])

    def wait(self, least: float, most: float) -> None:
        """Let the load go on for a while, in seconds; how long is not to be foreseen."""
        time.sleep(self.random.uniform(least, most))


@dataclass(frozen=True)
class Fault:
    """One way to hurt a site: `strike` is entered while the load goes on, and is undone when it is left."""

    name: str
    what: str
    strike: Callable[[Scene], AbstractContextManager[object]]
    on: tuple[Database, ...] = BOTH
    library: Library | None = None
    """It is preloaded into every process of the site."""
    disk: str | None = None
    """The data directory is on a disk of its own, of this size."""
    first: bool = False
    """It strikes before the first start."""

    def find_obstacle(self) -> str | None:
        """Say why it cannot be had on this machine, if so."""
        if self.library is not None and not has_compiler():
            return "there is no C compiler"
        if self.disk is not None and os.geteuid():
            return "only the superuser can make a small disk"
        return None
