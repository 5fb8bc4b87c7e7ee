"""Faults of processes: killed with SIGKILL, or frozen for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from faults.fault import Scene


@contextmanager
def kill_server(scene: Scene) -> Iterator[None]:
    """Kill all processes of the server at once; they are started again."""
    scene.site.kill()
    yield
    scene.site.start()


@contextmanager
def kill_worker(scene: Scene) -> Iterator[None]:
    """Kill the serving process only; the one that was started makes another."""
    for pid in scene.site.workers():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    scene.wait(1.0, 2.5)
    yield


@contextmanager
def freeze_worker(scene: Scene) -> Iterator[None]:
    """Stop the serving process, as a debugger or a snapshot of the machine does; it goes on later."""
    pids = scene.site.workers()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        scene.wait(0.5, 2.0)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
