"""Intents: which external operations are under way on this machine, for whoever comes after a crash.

One file an operation, in the data directory, signed with its key, and locked by the process that runs it for as long
as it lives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.app_local import AppLocal
from yoq_web.jsontext import dumps
from yoq_web.operations.mac import INTENT, INTENTS, MacKey
from yoq_web.operations.spool import Spool, current_spool
from yoq_web.operations.spool_chain import Finding, read_object
from yoq_web.settings import current_settings

log = get_logger("yoq_web")


class Intents:
    """The intents of one data directory, shared by all processes that use it."""

    def __init__(self, data_dir: Path, spool: Spool) -> None:
        self._folder = data_dir / INTENTS
        self._spool = spool

    def create(self, event: dict[str, Any]) -> Intent:
        """Have on disk that the event of this document is under way. Raises OSError if that is not possible."""
        if files.make_folder(self._folder):
            files.sync_folder(self._folder.parent)
        path = self._folder / f"{event['id']}.json"
        document = self._spool.load_key().sign(INTENT, dumps(event)).encode()
        while True:
            handle = files.open_private(path, os.O_RDWR)
            try:
                files.lock_handle(handle)
                if files.is_open_file(path, handle):  # else it was taken for a dead process's before it was locked
                    with open(handle, "wb", closefd=False) as file:
                        file.write(document)
                    os.fsync(handle)
                    files.sync_folder(self._folder)
                    return Intent(path, handle)
            except OSError:
                with suppress(OSError):
                    path.unlink()
                os.close(handle)
                raise
            os.close(handle)

    def is_under_way(self, event_id: str) -> bool:
        """Tell whether this machine runs the operation of this event, or has still to close it."""
        return any(path.name == f"{event_id}.json" for path in self._folder.glob("*.json"))

    def claim_abandoned(self) -> Iterator[tuple[Intent, dict[str, Any]]]:
        """Yield each intent whose process is gone, with its event's document, locked until the next is asked for.

        What is none, or was not signed with the directory's key, is set aside.
        """
        try:
            paths = [path for path in sorted(self._folder.iterdir()) if path.suffix == ".json"]
            key = self._spool.load_key() if paths else None
        except OSError:  # there is no folder, so nothing was ever begun; or no key
            return
        for path in paths:
            try:
                handle = os.open(path, os.O_RDWR)
            except OSError:
                continue
            try:
                if not files.lock_handle(handle, wait=False) or not files.is_open_file(path, handle):
                    continue  # it is under way, or somebody else closes it
                intent = Intent(path, handle)
                document = self._read(path, intent, key)
                if document is not None:
                    yield intent, document
            except OSError:
                continue
            finally:
                os.close(handle)

    def _read(self, path: Path, intent: Intent, key: MacKey | None) -> dict[str, Any] | None:
        raw = path.read_bytes()
        document = read_object(raw)
        if document is None:  # the crash came before the intent was on disk: nothing was begun
            intent.set_aside() if raw else intent.remove()
        elif key is None or key.verify(INTENT, raw) is None or document.get("id") != path.stem:
            self._spool.report(Finding("an intent was altered or added", raw))
            intent.remove()
        else:
            return document
        return None


current_intents: AppLocal[Intents] = AppLocal(
    "intents", lambda app: Intents(current_settings(app).data_dir, current_spool(app))
)
"""The operations with an effect outside the database that are under way on this machine."""


class Intent:
    """One operation under way, until its outcome is known."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    def remove(self) -> None:
        """Forget it: its outcome is stored, or on disk. If that fails the next sweep finds the outcome stored."""
        with suppress(OSError):
            self._path.unlink()

    def set_aside(self) -> None:
        """Put it where a person can look at it, and no sweep."""
        log.error("an intent cannot be read", audit_id=self._path.stem)
        with suppress(OSError):
            self._path.rename(self._path.with_suffix(".unreadable"))

    def release(self) -> None:
        """Let go of the lock."""
        os.close(self._handle)
