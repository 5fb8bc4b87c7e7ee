"""Faults of what a process may have, and of the clock: no descriptors, no threads, another time."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from faults.fault import Scene

JUMPS = (-10 * 365 * 86400, -86400, -5, 5, 86400, 10 * 365 * 86400)
"""Seconds."""


@contextmanager
def no_descriptors(scene: Scene) -> Iterator[None]:
    """Let the server have no descriptor beyond those that it has."""
    before: dict[int, tuple[int, int]] = {}
    for pid in scene.site.workers():
        taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208 - the numbers are all we want
        limit = next(number for number in count() if number not in taken)
        before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[pid][1]))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@contextmanager
def no_threads(scene: Scene) -> Iterator[None]:
    """Let no process of the server begin a thread."""
    flag = scene.site.folder / "no-threads"
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


@contextmanager
def another_time(scene: Scene) -> Iterator[None]:
    """Have the clock jump by seconds, a day or ten years, forwards or back, and then to the right time."""
    _set_clock(scene, scene.random.choice(JUMPS))
    try:
        yield
    finally:
        _set_clock(scene, 0)


def _set_clock(scene: Scene, seconds: int) -> None:
    file = scene.site.folder / "clock"
    file.with_suffix(".new").write_text(str(seconds))
    file.with_suffix(".new").rename(file)
