"""Private files of the data directory: keys and tokens, mode 0600, made once even if two processes start together."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yoq_web.settings import SettingsError


def private(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a private file; one that is missing is made with what `make` returns.

    Raises SettingsError if others may read the file, or if it cannot be read or written.
    """
    try:
        if not path.exists():
            _create(path, make())
        return _content(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def existing(path: Path) -> bytes | None:
    """The content of a private file, or None if there is none. Raises SettingsError as private() does."""
    try:
        return _content(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def _content(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} is open to other users; close it with: chmod 600 {path}")
    return path.read_bytes()


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of a private file: after a crash it is the old or the new, never half of one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write_new(draft, content)
    draft.replace(path)
    sync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, alone among all processes of this machine."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make_data_dir(path: Path) -> None:
    """Make the data directory, open to its owner only. Raises SettingsError if that is not possible."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"the data directory {path} cannot be made: {error.strerror}") from error


def make_private(path: str | None) -> None:
    """Make an empty file for a database that is not there yet, so that SQLite's own files are private like it."""
    if path and path != ":memory:" and not Path(path).exists():
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise SettingsError(f"the database {path} cannot be made: {error.strerror}") from error


def _create(path: Path, content: bytes) -> None:
    # Written whole and synced under another name, then linked: nobody ever reads half a key, and the first one wins.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_new(draft, content)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write_new(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Have the names of a folder's files on disk, as fsync has a file's content."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
