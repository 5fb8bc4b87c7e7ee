"""A process that has come to the end of something: of its descriptors, of its disk."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from yoq_web.operations.spool_file import FILE


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Every descriptor that this process may have is in use."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(held[0] + 64, before[0]), before[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for handle in held:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size at `folder`; only the superuser can make one."""
    folder.mkdir()
    mounting = ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs the superuser")
    try:
        yield folder
    finally:
        subprocess.run(["/usr/bin/env", "umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to its last byte; returns the file that does."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler


def break_spool(folder: Path) -> Path:
    """Put a folder in the place of the spool, which takes no record; returns it, to be removed again."""
    path = folder / FILE
    path.unlink(missing_ok=True)
    path.mkdir()
    return path
