"""Faults of files and disks: full, failing, torn, moved away."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.fault import Scene
from tests.support.limits import fill

KEYS = ("log.key", "log.head", "secrets.key", "spool.key")


@contextmanager
def full_disk(scene: Scene) -> Iterator[None]:
    """Fill the disk of the data directory to its last byte."""
    filler = fill(scene.site.data)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def full_disk_kill(scene: Scene) -> Iterator[None]:
    """Fill it, and kill the server while it is full."""
    with full_disk(scene):
        scene.wait(0.5, 1.5)
        scene.site.kill()
        yield


@contextmanager
def no_growth(scene: Scene) -> Iterator[None]:
    """Let no file of the server grow beyond what the database's has now, as a quota does."""
    grown = max(path.stat().st_size for path in scene.site.data.glob("yoq.db*"))
    pids = scene.site.workers()
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (grown, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def failing_disk(scene: Scene) -> Iterator[None]:
    """Have all writes fail after their first half arrived."""
    with _failing(scene, f"{errno.EIO} 100"):
        yield


@contextmanager
def faltering_disk(scene: Scene) -> Iterator[None]:
    """Have one write in five fail after its first half arrived."""
    with _failing(scene, f"{scene.random.choice((errno.EIO, errno.ENOSPC))} 20"):
        yield


@contextmanager
def torn_write(scene: Scene) -> Iterator[None]:
    """Have the process killed in the middle of a write, soon."""
    with _failing(scene, "-1 2"):
        scene.wait(1.0, 2.0)
        yield
    scene.site.kill()


@contextmanager
def _failing(scene: Scene, how: str) -> Iterator[None]:
    flag = scene.site.folder / "failing"
    flag.with_suffix(".new").write_text(how)
    flag.with_suffix(".new").rename(flag)
    try:
        yield
    finally:
        flag.unlink()


@contextmanager
def moved_database(scene: Scene) -> Iterator[None]:
    """Move the file of the database away, and back."""
    with _moved(scene.site.data, "yoq.db"):
        yield


@contextmanager
def lost_log(scene: Scene) -> Iterator[None]:
    """Delete SQLite's write-ahead log, or move it away, and kill the server a little later."""
    log = scene.site.data / "yoq.db-wal"
    if scene.random.random() < 0.5:
        log.unlink()
    else:
        log.replace(scene.site.data / "yoq.db-wal.away")
    scene.wait(2, 4)
    scene.site.kill()
    yield
    scene.site.start()


@contextmanager
def removed_locks(scene: Scene) -> Iterator[None]:
    """Remove the files that are only locked and hold nothing, as somebody who tidies up does."""
    for path in scene.site.data.glob("*.lock"):
        if not path.stat().st_size:
            path.unlink()
    yield


@contextmanager
def moved_keys(scene: Scene) -> Iterator[None]:
    """Move the keys and the log's head away, and back."""
    name = scene.random.choice([name for name in KEYS if (scene.site.data / name).exists()])
    with _moved(scene.site.data, name):
        yield


@contextmanager
def _moved(folder: Path, name: str) -> Iterator[None]:
    path = folder / name
    path.rename(folder / f"{name}.away")
    try:
        yield
    finally:
        (folder / f"{name}.away").replace(path)
