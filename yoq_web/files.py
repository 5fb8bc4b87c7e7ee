"""Private files of the data directory: keys and tokens, mode 0600, made once even if two processes start together."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from yoq_web.settings import SettingsError


def private(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a private file; one that is missing is made with what `make` returns.

    Raises SettingsError if others may read the file, or if it cannot be read or written.
    """
    try:
        if not path.exists():
            _create(path, make())
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{path} is open to other users; close it with: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


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
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
