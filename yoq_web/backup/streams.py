"""From a database's copy to a backup file, and back: the archive through the encryption, in constant memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from yoq_web import files
from yoq_web.backup.age import ByteReader, ByteWriter, NotOpened, Transform
from yoq_web.backup.archive import ArchiveContent, BytesCallback, NotABackup, Stream, unpack

PIECE = 1024 * 1024


def copy_unchanged(reader: ByteReader, writer: ByteWriter) -> None:
    """Copy, as the transform of a plain backup."""
    while piece := reader.read(PIECE):
        writer.write(piece)
    writer.flush()


def write_file(path: Path, archive: Iterator[bytes], encrypt: Transform, *, replace: bool, given: bool) -> int:
    """Write a backup file, whole or not at all, readable by its owner only. Returns its size. Raises OSError.

    Without `replace` that is a FileExistsError where a file is there already. See files.open_atomic() for `given`.
    """
    with files.open_atomic(path, replace=replace, given=given) as file:
        kept = _WatchedFile(file)
        try:
            encrypt(Stream(archive), kept)
            kept.flush()
        except Exception:
            # The library hands an error of the disk on as one of its own.
            if kept.error is not None:
                raise kept.error from None
            raise
        return file.tell()


def read_file(path: Path, decrypt: Transform, folder: Path, progress: BytesCallback) -> ArchiveContent:
    """Open a backup file and put its database into `folder`.

    Raises NotOpened or NotABackup for a file that is not a whole, undamaged backup for us; OSError.
    """
    with path.open("rb") as file, _pipe_through(file, decrypt) as source:
        return unpack(source, folder, progress)


class _WatchedFile:
    """A file that remembers the error of a write."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise


@contextmanager
def _pipe_through(file: BinaryIO, transform: Transform) -> Iterator[ByteReader]:
    """Yield what a transform makes of a file, while it works on a thread of its own. Raises what it raises."""
    reading, writing = os.pipe()
    failed: list[Exception] = []

    def work() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=PIECE) as target:
                transform(file, target)
        except BrokenPipeError:
            pass  # nobody wants the rest
        except Exception as error:  # noqa: BLE001 - raised again where it was waited for
            failed.append(error)

    worker = threading.Thread(target=work, name="open backup", daemon=True)
    with os.fdopen(reading, "rb", buffering=PIECE) as source:
        worker.start()
        broken: Exception | None = None
        try:
            yield source
        except NotABackup as error:
            broken = error
        finally:
            source.close()
            worker.join()
        # What the reader made of a stream that ended too early is the lesser news.
        for cause in failed:
            if isinstance(cause, NotOpened | OSError) or broken is None:
                raise cause from None
        if broken is not None:
            raise broken
