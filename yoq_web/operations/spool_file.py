"""The spool's file and its lock, kept open with room set aside, for the end of the descriptors or of the disk."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yoq_web import files

FILE = "spool.jsonl"
LOCK = "spool.lock"

ROOM = 1024 * 1024
"""Bytes of the disk that are set aside behind what the file holds, while the disk has them."""

SPARE = 64 * 1024
"""Of these, what is left for settlements: changes that are about to commit can say how they ended on a full disk."""

NOTE_BYTES = 1024
"""Most that is kept in the lock's file."""

UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)
"""How a file system says that it sets no room aside."""

_KEEP_SIZE = 1
"""A flag of fallocate(): the file stays as long as it is."""

_fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
if _fallocate is not None:  # as on Linux
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)


class SpoolFile:
    """The file of one data directory. Whoever changes it holds its lock, among all threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock_path = folder / LOCK
        self._handle: int | None = None
        self._lock_handle: int | None = None
        self._threads = threading.Lock()
        _in_use.add(self)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the descriptors; whatever is done next opens them again."""
        for handle in (self._handle, self._lock_handle):
            if handle is not None:
                os.close(handle)
        self._handle = self._lock_handle = None

    def forget(self) -> None:
        """Let go of what a fork has from its parent: an open file that they share would be locked for both."""
        self.close()
        self._threads = threading.Lock()

    @property
    def size(self) -> int:
        """How many bytes the file has; none if it is missing."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Have the file, open, to oneself for as long as the block lasts. Raises OSError."""
        with self._threads:
            handle = self._take_lock()
            try:
                if self._handle is None or not files.is_open_file(self._path, self._handle):
                    self._open()
                yield
            finally:
                files.unlock_handle(handle)

    def read(self) -> bytes:
        """Read the file; for whoever does not have the lock the last line may be half there. Raises OSError."""
        handle = self._handle
        try:
            if handle is not None and files.is_open_file(self._path, handle):
                return os.pread(handle, os.fstat(handle).st_size, 0)
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def read_note(self) -> bytes:
        """Read what the lock's file holds, which is short. Empty if it cannot be read."""
        handle = self._lock_handle
        with suppress(OSError):
            if handle is not None and files.is_open_file(self._lock_path, handle):
                return os.pread(handle, NOTE_BYTES, 0)
            return self._lock_path.read_bytes()[:NOTE_BYTES]
        return b""

    def write_note(self, note: bytes) -> None:
        """Write over what the lock's file holds, and have it on disk. Raises OSError. For whoever has the lock."""
        assert self._lock_handle is not None  # noqa: S101 - whoever has the lock has it open
        os.pwrite(self._lock_handle, note, 0)
        os.fsync(self._lock_handle)

    def append(self, content: bytes, *, spare: int) -> None:
        """Write behind what is there and have it on disk, if `spare` bytes of room are left behind it.

        Raises OSError, and leaves the file as it was, if not. For whoever has the lock, as all that follows.
        """
        handle = self._get_handle()
        size = os.fstat(handle).st_size
        self.set_room_aside(len(content) + spare)
        # After a power cut the last line may be half there: it must not swallow this one.
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        left = memoryview(b"\n" + content if torn else content)
        try:
            at = size
            while left:
                written = os.pwrite(handle, left, at)
                at, left = at + written, left[written:]
            os.fsync(handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, size)
            raise

    def replace(self, content: bytes) -> None:
        """Put this in the place of what the file holds. Raises OSError."""
        if content:
            files.replace(self._path, content)
            self._open()
        else:
            # In place: that needs neither a descriptor nor room.
            os.ftruncate(self._get_handle(), 0)
            os.fsync(self._get_handle())

    def set_room_aside(self, least: int) -> None:
        """Have blocks of the disk behind the file's end, ROOM of them or as many as `least`. Raises OSError."""
        handle = self._get_handle()
        end = os.fstat(handle).st_size
        try:
            _allocate(handle, end, max(ROOM, least))
        except OSError:
            _allocate(handle, end, least)

    def _get_handle(self) -> int:
        assert self._handle is not None  # noqa: S101 - whoever has the lock has it open
        return self._handle

    def _take_lock(self) -> int:
        while True:
            if self._lock_handle is None:
                self._lock_handle = files.open_lock(self._lock_path)
            else:
                files.lock_handle(self._lock_handle)
            assert self._lock_handle is not None  # noqa: S101 - it was waited for
            if files.is_open_file(self._lock_path, self._lock_handle):
                return self._lock_handle
            os.close(self._lock_handle)  # another one bears its name
            self._lock_handle = None

    def _open(self) -> None:
        """Open the file that bears the name, a new one if there is none."""
        new = not self._path.exists()
        handle = files.open_private(self._path, os.O_RDWR)
        if self._handle is None:
            self._handle = handle
        else:
            # The same number: it may just be read from, without the lock.
            os.dup2(handle, self._handle, inheritable=False)
            os.close(handle)
        if new:
            files.sync_folder(self._path.parent)


_in_use: weakref.WeakSet[SpoolFile] = weakref.WeakSet()


def _forget_parents() -> None:
    for file in list(_in_use):
        file.forget()


os.register_at_fork(after_in_child=_forget_parents)


def _allocate(handle: int, start: int, size: int) -> None:
    """Give a file blocks of the disk beyond its end. Raises OSError if the disk has none."""
    while _fallocate is not None and _fallocate(handle, _KEEP_SIZE, start, size):
        number = ctypes.get_errno()
        if number in UNSUPPORTED:
            return
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
