"""Private files: written whole or not at all, locked, and readable by their owner only.

What root makes in the data directory belongs to the directory's owner, as SQLite's own files do: a command
that root runs takes nothing away from a server that runs as another user.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from yoq_web.settings import SettingsError

OPEN_FILES = "/proc/self/fd"
"""Where the system shows a process its open files, those without a name, too."""

DRAFT = re.compile(r"\..+[.-][0-9a-f]{8}")
"""How an unfinished file or folder is called: `.NAME.` or `.NAME-`, and eight digits that nobody else has."""


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Read a private file; one that is missing is made with what `make` returns, once even if two processes start.

    Raises SettingsError if others may read the file, or if it cannot be read or written.
    """
    try:
        if not path.exists():
            with suppress(FileExistsError):
                create(path, make())
        return _read(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def read_if_there(path: Path) -> bytes | None:
    """Read a private file; None if there is none. Raises SettingsError as read_or_create() does."""
    try:
        return _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} is open to other users; close it with: chmod 600 {path}")
    return path.read_bytes()


def is_ours(path: Path) -> bool:
    """Tell whether a file belongs to this user, to its folder's owner or to root; nobody else can give one of his away.

    Raises OSError.
    """
    return path.stat().st_uid in (os.geteuid(), path.parent.stat().st_uid, 0)


def open_private(path: Path, flags: int) -> int:
    """Open a private file by these flags, made for its folder's owner if it is missing. Raises OSError."""
    while True:
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            with suppress(FileNotFoundError):  # it was removed meanwhile
                return os.open(path, flags | os.O_CLOEXEC)
        else:
            give_away(handle, path.parent)
            return handle


def make_folder(path: Path) -> bool:
    """Make a private folder for its parent's owner, if it is missing; returns whether it was. Raises OSError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.is_dir():
            return False
        raise
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        give_away(handle, path.parent)
    finally:
        os.close(handle)
    return True


def give_away(handle: int, folder: Path) -> None:
    """Give what root has made in somebody's folder to whom the folder belongs to. Raises OSError."""
    owner = folder.stat()
    if os.geteuid() == 0 != owner.st_uid:
        os.fchown(handle, owner.st_uid, owner.st_gid)


def create(path: Path, content: bytes) -> None:
    """Write a private file that is not there yet. Raises FileExistsError if it is, and other OSErrors."""
    with open_atomic(path, replace=False, given=True) as file:
        file.write(content)


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of a private file: after a crash it is the old or the new, never half of one."""
    with open_atomic(path, replace=True, given=True) as file:
        file.write(content)


@contextmanager
def open_atomic(path: Path, *, replace: bool, given: bool = False) -> Iterator[BinaryIO]:
    """Open a private file beside its place, into which it is put when the block has ended and all of it is on disk.

    If the block raises, or the process dies, the file is as it was. Without `replace` a file that is there by then is
    left alone. It is its maker's, or if `given` its folder's owner's. Raises FileExistsError for that, and other
    OSErrors.
    """
    if not replace and path.exists():
        raise FileExistsError(f"{path} is there already")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = _open_unnamed(path.parent)
    unnamed = handle is not None
    try:
        with os.fdopen(_open_draft(draft) if handle is None else handle, "wb") as file:
            if given:
                give_away(file.fileno(), path.parent)
            yield file
            file.flush()
            os.fsync(file.fileno())
            # Named while it is open and locked: a draft that is not is taken for a dead process's.
            if unnamed:
                _name(file.fileno(), draft if replace else path)
            if replace:
                draft.replace(path)
            elif not unnamed:
                os.link(draft, path)  # which, unlike a renaming, replaces nothing
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _open_unnamed(folder: Path) -> int | None:
    """Open a locked file that has no name and goes with its process; None where the system has none such."""
    if not Path(OPEN_FILES).is_dir():
        return None
    try:
        handle = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600)
    except (OSError, AttributeError):  # of the file system, or of the system
        return None
    lock_handle(handle)
    return handle


def _name(handle: int, path: Path) -> None:
    # With a descriptor for the folder, which an absolute path does not need, Python follows the link to the file.
    os.link(f"{OPEN_FILES}/{handle}", path, src_dir_fd=handle, follow_symlinks=True)


def _open_draft(draft: Path) -> int:
    """Make a draft that has a name, locked."""
    while True:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        if _lock_new(draft, handle):
            return handle


def _lock_new(path: Path, handle: int) -> bool:
    """Lock what was just made; False if it was taken for a dead process's before, and removed."""
    lock_handle(handle)
    if is_open_file(path, handle):
        return True
    os.close(handle)
    return False


@contextmanager
def make_draft_folder(base: Path, name: str) -> Iterator[Path]:
    """Make a private folder for what is made with `name`; it is there as long as the block, or its process, lasts."""
    while True:
        folder = base / f".{name}-{secrets.token_hex(4)}"
        make_folder(folder)
        handle = os.open(folder, os.O_RDONLY)
        if _lock_new(folder, handle):
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_drafts(folder: Path, names: re.Pattern[str] = DRAFT) -> None:
    """Remove what killed processes left unfinished in a folder; what a living one works on is locked, and stays.

    In a folder that others use, too, `names` says which drafts are ours.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if names.fullmatch(path.name):
                _remove_draft(path)


def _remove_draft(path: Path) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not lock_handle(handle, wait=False):
                return
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(handle)


def sync_folder(path: Path) -> None:
    """Have the names of a folder's files on disk, as fsync has a file's content."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_lock(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Hold a lock file of this machine, alone or `shared`; returns a handle that holds it until it is closed.

    None if somebody else has it and there is no `wait`. It goes with its process, however that ends.
    """
    handle = open_private(path, os.O_RDWR)
    if lock_handle(handle, shared=shared, wait=wait):
        return handle
    os.close(handle)
    return None


def lock_handle(handle: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file; returns whether it was to be had."""
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_bytes(handle: int, length: int, start: int) -> bool:
    """Lock some bytes of an open file as SQLite does, without waiting; returns whether that was had.

    Such a lock is the process's own: it ends as soon as any descriptor of the file is closed.
    """
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError:
        return False
    return True


def unlock_handle(handle: int) -> None:
    """Give the lock of an open file back, and keep it open."""
    fcntl.flock(handle, fcntl.LOCK_UN)


def is_open_file(path: Path, handle: int) -> bool:
    """Tell whether the open file bears this name, still."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


@contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file for as long as the block lasts; yields whether it was to be had."""
    handle = open_lock(path, shared=shared, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)
