"""A fault: what it is called, what it does, and what it needs to be possible here."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from faults.load import Load
from faults.site import Database, Site

BOTH: tuple[Database, ...] = ("sqlite", "postgresql")


@dataclass
class Scene:
    """What a fault works on. It may say with `cuts` that a restore took the state back to so many attempts."""

    site: Site
    load: Load
    random: random.Random
    cuts: list[int | None] = field(default_factory=lambda: [None])

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
    libraries: tuple[str, ...] = ()
    """C sources that are compiled and preloaded into every process of the site."""
    settings: Callable[[Path], Mapping[str, str]] = lambda _folder: {}
    """Further environment variables, given the site's folder."""
    disk: str | None = None
    """The data directory is on a disk of its own, of this size."""
    first: bool = False
    """It strikes before the first start."""
