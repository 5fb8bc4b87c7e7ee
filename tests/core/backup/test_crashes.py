"""Killed in the middle, or out of room: afterwards the database opens, holds what it held, and nothing is lost."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.backup import alone, backup, holds, names, restore, trail
from tests.support.commandline import failure, output
from tests.support.served import PROGRAM, environment
from yoq_web.operations.external import sweep

ROUNDS = {"sqlite": 2, "postgresql": 1}


def killed(folder: Path, seconds: float, *arguments: str, url: str) -> bool:
    """Run the program, kill it after so many seconds; returns whether it had ended before."""
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        env=environment(folder, YOQ_DATABASE_URL=url, YOQ_API_TOKEN="a" * 64),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return False
    return process.returncode == 0


def test_killed_at_random_moments(app: Flask, api: Api, tmp_path: Path, database_url: str, backend: str) -> None:
    """After a kill -9 a restore was done or not, a backup file is whole or not there, and the trail has everything."""
    api("POST", "/v1/secrets", json={"name": "old", "value": "v"})
    path = backup(app, tmp_path / "b")
    api("POST", "/v1/secrets", json={"name": "new", "value": "v"})
    alone(app)
    started = time.monotonic()
    assert killed(tmp_path, 60, "restore", str(path), "--yes", url=database_url)
    whole = time.monotonic() - started
    assert names(api) == ["old"]
    generator = random.Random()  # noqa: S311 - where it is killed is not to be foreseen
    for number in range(ROUNDS[backend]):
        api("POST", "/v1/secrets", json={"name": f"n{number}", "value": "v"})
        before = names(api)
        rows = trail(app)
        alone(app)
        done = killed(
            tmp_path, whole * generator.uniform(0.5, 1.0), "restore", str(path), "--yes", "--no-keep", url=database_url
        )
        assert names(api) in ([["old"]] if done else [before, ["old"]])
        assert trail(app)[: len(rows)] == rows
        with app.app_context():
            sweep()
        assert holds(app)
        target = tmp_path / f"killed{number}"
        alone(app)
        killed(tmp_path, whole * generator.uniform(0.5, 1.0), "backup", "--output", str(target), url=database_url)
        if target.exists():
            assert "can be restored" in output(app, "restore", str(target), "--verify")
    # What was left open is settled, and what was left lying about is gone with the next one.
    restore(app, path)
    assert not list(tmp_path.glob(".yoq-work-*"))
    with app.app_context():
        sweep()
    ended = [outcome for action, _, outcome in trail(app) if action in ("backup", "restore")]
    assert ended.count("started") == len(ended) - ended.count("started")
    assert holds(app)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """A disk on which no file may grow beyond so many bytes, as if it were full."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_full_disk(app: Flask, api: Api, tmp_path: Path) -> None:
    """A backup or a restore that the disk has no room for says so, leaves nothing behind and changes nothing."""
    api("POST", "/v1/secrets", json={"name": "a", "value": "v"})
    path = backup(app, tmp_path / "b")
    output(app, "secret", "set", "b", "--value", "v")
    alone(app)
    there = sorted(found.name for found in tmp_path.iterdir())
    for arguments in (
        ("backup", "--output", str(path), "--overwrite"),
        ("restore", str(path), "--yes"),
    ):
        was = path.read_bytes()
        with no_file_beyond(200_000):
            assert "disk" in failure(app, *arguments)
        assert path.read_bytes() == was
        alone(app)
        assert sorted(found.name for found in tmp_path.iterdir()) == there
    assert names(api) == ["a", "b"]
    assert [outcome for action, _, outcome in trail(app) if action == "backup"] == [
        "started",
        "ok",
        "started",
        "failed",
    ]
    assert holds(app)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_room_where_it_is_to_go(app: Flask, small: Path) -> None:
    """If the file's own disk is full, what was there before is still there."""
    output(app, "secret", "set", "a", "--value", "v")
    path = small / "b"
    path.write_bytes(b"earlier")
    assert "the disk is full" in failure(app, "backup", "--output", str(path), "--overwrite")
    assert [(found.name, found.read_bytes()) for found in small.iterdir()] == [("b", b"earlier")]
    assert "cannot be read or written" in failure(app, "backup", "--output", str(small / "none" / "b"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; only the superuser can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs the superuser")
    yield folder
    subprocess.run(["/usr/bin/env", "umount", "-l", folder], check=True)
