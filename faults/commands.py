"""Faults of commands and of starts: killed at a moment that nobody foresees."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from faults.fault import Scene
from faults.load import Attempt
from faults.site import COMMAND_SECONDS, Broken, kill_group

_numbers = count()


@contextmanager
def kill_command(scene: Scene) -> Iterator[None]:
    """Set a secret and take a backup at the command line beside the server, and kill both commands."""
    number = next(_numbers)
    name, value = f"command-{number}", f"value {number}"
    setting = Attempt("secrets", "secret_set", name, None, makes=True, value=value)
    _attempt(scene, setting, 4.0, "secret", "set", name, "--value", value)
    _take_backup(scene, 5.0)
    yield


@contextmanager
def kill_restore(scene: Scene) -> Iterator[None]:
    """Take a backup, go on, stop the server, and kill the restore of the backup; the load begins again behind it."""
    scene.load.end()
    backed_up = len(scene.load.history)
    backup = _take_backup(scene, None)
    scene.load.begin()
    scene.wait(0.5, 1.5)
    scene.load.end()
    scene.site.stop()
    began = time.monotonic()
    if scene.site.command("restore", backup, "--verify").returncode:
        raise Broken("the backup that was just taken cannot be restored")
    whole = 1.5 * (time.monotonic() - began)
    restoring = Attempt("restores", "restore", backup, None)
    undone = (backed_up, len(scene.load.history))
    _attempt(scene, restoring, whole, "restore", backup, "--yes")
    before = scene.undone.copy()
    scene.undone[:] = [*([] if restoring.acknowledged else before), *((*ranges, undone) for ranges in before)]
    scene.site.start()
    scene.load.begin()
    yield


@contextmanager
def kill_first_start(scene: Scene) -> Iterator[None]:
    """Start on an empty data directory and an empty database, and be killed before all is made."""
    if scene.site.database == "postgresql":
        _run_killed(scene, 4.0, "db", "upgrade")
    server = scene.site.launch_server()
    try:
        server.wait(scene.random.uniform(0.3, 4.0))
    except subprocess.TimeoutExpired:
        scene.site.kill()
    yield


def _take_backup(scene: Scene, within: float | None) -> str:
    path = str(scene.site.folder / f"backup-{next(_numbers)}")
    taking = Attempt("commands", "backup", path, None)
    _attempt(scene, taking, within, "backup", "--output", path)
    if within is None and not taking.acknowledged:
        raise Broken("no backup can be taken")
    return path


def _attempt(scene: Scene, attempt: Attempt, within: float | None, *arguments: str) -> None:
    """Run a command that is killed at some moment, unless it ended; write down whether it said that it was done."""
    scene.load.history.append(attempt)
    if _run_killed(scene, within, *arguments) == 0:
        attempt.status = 200


def _run_killed(scene: Scene, within: float | None, *arguments: str) -> int | None:
    process = scene.site.launch(*arguments)
    try:
        return process.wait(COMMAND_SECONDS if within is None else scene.random.uniform(0.3, within))
    except subprocess.TimeoutExpired:
        kill_group(process)
        return None
